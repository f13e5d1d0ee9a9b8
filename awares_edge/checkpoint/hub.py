"""Checkpoints and adapters from the Hugging Face hub, through its own client.

The client keeps files in its cache, resumes interrupted downloads, and takes the token from its own
store (`hf auth login`) or `HF_TOKEN`; `HF_ENDPOINT` and `HF_HUB_OFFLINE` are honoured.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from awares_edge.errors import CheckpointError
from awares_edge.extras import require

# Weights, configuration and tokenizer: nothing that is code, and no pickles.
FILES = (
    *("config.json", "generation_config.json", "preprocessor_config.json"),
    *("processor_config.json", "tokenizer.json", "tokenizer_config.json", "README.md"),
    *("chat_template.json", "chat_template.jinja"),
    *("model.safetensors", "model-*.safetensors", "model.safetensors.index.json"),
    *("adapter_config.json", "adapter_model.safetensors"),
)
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True, slots=True)
class HubFolder:
    """A downloaded repository.

    Attributes:
        repository: "owner/name".
        commit: the revision that was downloaded, 40 hexadecimal digits.
        path: the folder in the client's cache.
    """

    repository: str
    commit: str
    path: Path

    @property
    def name(self) -> str:
        """The repository's name without its owner."""
        return self.repository.split("/")[1]


def is_hub_id(text: str) -> bool:
    """Whether this is the form of a repository's id, "owner/name", and no such path exists here."""
    return bool(_ID.fullmatch(text)) and not Path(text).exists()


def download(
    repository: str,
    revision: str | None = None,
    *,
    files: Sequence[str] = FILES,
    kind: Literal["model", "dataset"] = "model",
) -> HubFolder:
    """Download what an export needs of a repository, or find it in the cache.

    Args:
        repository: "owner/name".
        revision: a branch, tag or commit; None for the main branch.
        files: patterns of the files to download.

    Raises:
        RuntimeUnavailable: huggingface_hub is not installed.
        CheckpointError: there is no such repository or revision, access is denied, the hub cannot
            be reached and the files are not in the cache, or the disk is full.
    """
    require(
        f"{repository} is not a folder here, and downloading it from the Hugging Face hub",
        {"huggingface_hub": "huggingface-hub"},
    )
    from huggingface_hub import errors, snapshot_download

    where = f"{repository} at {revision}" if revision else repository
    try:
        path = Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=list(files), repo_type=kind
            )
        )
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{repository} is gated: accept its terms on its page on the hub, then log in "
            "(hf auth login)"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{repository} is neither a folder here nor a public repository on the hub: check the "
            "name, or log in if it is private (hf auth login)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{repository} has no revision {revision!r}") from error
    except errors.LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"the hub cannot be reached, and {where} is not in the local cache: check the "
            "connection, or give a folder"
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise CheckpointError(f"no space left to download {where}: free some") from error
        raise CheckpointError(f"cannot download {where}: {_first_line(error)}") from error
    # The client lets errors of the HTTP library through, which differs between its versions.
    except Exception as error:
        raise CheckpointError(f"cannot download {where}: {_first_line(error)}") from error
    return HubFolder(repository, path.name, path)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
