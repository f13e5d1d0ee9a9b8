"""Which files of a bundle are llama.cpp's, and whether they are of the model the bundle names."""

from __future__ import annotations

from pathlib import Path

from awares_edge.bundle.store import Bundle
from awares_edge.errors import BundleError
from awares_edge.runtimes.llamacpp.header import Header, Value, read_header
from awares_edge.spec import ModelSpec

# Names by llama.cpp's conventions, for the export too.
TEXT_ARCHITECTURE, VISION_ARCHITECTURE = "qwen2vl", "clip"
PROJECTOR = "qwen2.5vl_merger"
TOKEN_EMBEDDING = "token_embd.weight"
VISION_PREFIX = "mmproj"
SUFFIX = ".gguf"


def find_files(bundle: Bundle) -> tuple[Path, Path]:
    """Text file and vision file of a bundle, distinguished by llama.cpp's naming convention.

    Raises:
        BundleError: there is not exactly one of each.
    """
    names = [name for name in bundle.manifest.files if name.endswith(SUFFIX)]
    vision = [name for name in names if name.startswith(VISION_PREFIX)]
    text = [name for name in names if name not in vision]
    for found, what in ((text, "text model"), (vision, f"vision tower ({VISION_PREFIX}-*.gguf)")):
        if len(found) != 1:
            raise BundleError(
                f"the bundle in {bundle.root} lists {len(found)} GGUF files of a {what}, not 1: "
                "export the checkpoint to GGUF again"
            )
    return bundle.path(text[0]), bundle.path(vision[0])


def check_text(path: Path, spec: ModelSpec) -> None:
    """
    Raises:
        BundleError: the file is damaged, or is not the text model that the manifest describes.
    """
    header = read_header(path)
    prefix = f"{TEXT_ARCHITECTURE}."
    _compare(
        path,
        header,
        {
            "general.architecture": TEXT_ARCHITECTURE,
            prefix + "block_count": spec.layers,
            prefix + "embedding_length": spec.hidden_size,
            prefix + "feed_forward_length": spec.intermediate_size,
            prefix + "attention.head_count": spec.heads,
            prefix + "attention.head_count_kv": spec.kv_heads,
            prefix + "rope.dimension_sections": [*spec.mrope_section, 0],
        },
    )
    rows = header.shapes.get(TOKEN_EMBEDDING)
    if rows != (spec.vocabulary, spec.hidden_size):
        raise _foreign(path, TOKEN_EMBEDDING, rows, (spec.vocabulary, spec.hidden_size))


def check_vision(path: Path, spec: ModelSpec) -> None:
    """
    Raises:
        BundleError: the file is damaged, or is not the vision tower that the manifest describes.
    """
    v = spec.vision
    _compare(
        path,
        read_header(path),
        {
            "general.architecture": VISION_ARCHITECTURE,
            "clip.projector_type": PROJECTOR,
            "clip.vision.projection_dim": spec.hidden_size,
            "clip.vision.embedding_length": v.hidden_size,
            "clip.vision.feed_forward_length": v.intermediate_size,
            "clip.vision.block_count": v.depth,
            "clip.vision.attention.head_count": v.heads,
            "clip.vision.patch_size": v.patch_size,
        },
    )


def _compare(path: Path, header: Header, expected: dict[str, Value]) -> None:
    for key, value in expected.items():
        # By type too: llama.cpp aborts the process where a number has another type than it expects.
        if header.keys.get(key) != value or type(header.keys[key]) is not type(value):
            raise _foreign(path, key, header.keys.get(key), value)


def _foreign(path: Path, key: str, found: object, expected: object) -> BundleError:
    return BundleError(
        f"{path.name} has {key} {found!r}, the manifest's model {expected!r}: it is a file of "
        "another model; export the checkpoint again"
    )
