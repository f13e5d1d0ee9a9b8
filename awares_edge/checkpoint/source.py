"""Where a checkpoint or adapter is: a folder here, or a repository on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from awares_edge.checkpoint.hub import download, is_hub_id
from awares_edge.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Source:
    """A folder, and the repository that it was downloaded from.

    Attributes:
        path: the folder.
        name: of the folder; of the repository, without its owner, if there is one.
        hub: "owner/name@commit"; None for a folder that was here.
    """

    path: Path
    name: str
    hub: str | None = None


def find_source(
    place: str | Path, revision: str | None = None, *, what: str = "checkpoint"
) -> Source:
    """A checkpoint or adapter, downloaded where it is not in the client's cache.

    Args:
        place: a folder; or a repository's id, "owner/name", as a `str`. A folder of that name
            comes first.
        revision: of the repository: a branch, tag or commit; None for its main branch.
        what: is looked for, for messages: "checkpoint" or "adapter".

    Raises:
        CheckpointError: no such folder; a revision of a folder; see `hub.download`.
        RuntimeUnavailable: huggingface_hub is not installed.
    """
    if isinstance(place, str) and is_hub_id(place):
        found = download(place, revision)
        return Source(found.path, found.name, f"{found.repository}@{found.commit}")
    path = Path(place)
    if not path.is_dir():
        raise CheckpointError(f"no such {what} folder: {path}")
    if revision is not None:
        raise CheckpointError(f"{path} is a folder: only a repository on the hub has revisions")
    return Source(path, path.resolve().name)
