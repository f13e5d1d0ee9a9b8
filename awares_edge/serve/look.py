"""The MCP tool: ask about a picture, or about a region of it at its native pixels."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from awares_edge.controller import AskOptions, Model
from awares_edge.errors import ImageError, InputError
from awares_edge.schema import shown
from awares_edge.serve.images import Box, ImageData, Sheet, make_sheet, read_images
from awares_edge.serve.options import ServeOptions
from awares_edge.serve.replies import crops
from awares_edge.serve.saved import SavedPictures
from awares_edge.serve.store import PictureStore

DESCRIPTION = """Ask a question about a picture. The model looks at it in low resolution first and \
zooms into the parts that it needs by itself, so small text can be read without cropping. Give \
`region` to ask about only one part, at its native pixels."""


class Looker:
    """Answers `look` calls with one model, one at a time.

    Args:
        root: the only folder that pictures are read from.
        options: limits; its timeout bounds each answer.
    """

    def __init__(self, model: Model, root: Path, options: ServeOptions) -> None:
        self._root, self._options = root.resolve(), options
        self._store = PictureStore(
            model,
            most=options.keep_pictures,
            most_bytes=options.keep_bytes,
            cell_bytes=options.cell_bytes,
            saved=SavedPictures.of(model, options),
        )
        self._lock = threading.Lock()

    def look(
        self, image: str, question: str, region: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """Ask.

        Args:
            image: path of a picture under the root, or a `data:image/...;base64,` URL.
            region: (left, top, right, bottom) in pixels of the picture.

        Returns:
            answer; size of what was looked at; crops that the model zoomed into, with boxes in
            pixels of the whole picture; confidence, how likely the answer is right; rtr, the share
            of visual tokens that were spent.

        Raises:
            AwaresError: the picture, the region or the question cannot be used.
        """
        data = self._read(image)
        box = None if region is None else _box(region)
        digest = hashlib.sha256(f"{data.digest} {box}".encode()).hexdigest()
        options = AskOptions(max_new_tokens=self._options.max_tokens, timeout=self._options.timeout)
        with self._lock, self._store.borrow(digest, lambda: self._open(data, box)) as kept:
            answer = kept.picture.ask(question, options)
            self._store.answered(kept, answer)
            size = kept.picture.image.size
        left, top = box[:2] if box else (0, 0)
        moved = [replace(crop, box=_moved(crop.box, left, top)) for crop in answer.crops]
        return {
            "answer": answer.text,
            "size": list(size),
            "crops": crops(moved),
            "confidence": _rounded(answer.confidence),
            "rtr": round(answer.rtr, 4),
            "ms": round(answer.total_ms, 1),
        }

    def close(self) -> None:
        """Close the kept pictures; waits for a call that is being answered."""
        with self._lock:
            self._store.close()

    def _read(self, image: str) -> ImageData:
        if image.startswith("data:"):
            return read_images([image], self._options)
        path = (self._root / image).resolve()
        # After links are followed, so that none leads out of the root.
        if not path.is_relative_to(self._root):
            raise InputError(
                f"{shown(image)} is outside {self._root}, the only folder that is read"
            )
        if not path.is_file():
            raise ImageError(f"no such picture: {shown(image)}")
        if path.stat().st_size > self._options.max_body:
            raise ImageError(f"{shown(image)} has over {self._options.max_body:,} bytes")
        data = path.read_bytes()
        return ImageData((data,), hashlib.sha256(data).hexdigest())

    def _open(self, data: ImageData, box: Box | None) -> Sheet:
        sheet = make_sheet(data, self._options.max_pixels)
        if box is None:
            return sheet
        width, height = sheet.image.size
        if box[2] > width or box[3] > height:
            raise InputError(
                f"region {list(box)} is outside the picture of {width}x{height} pixels"
            )
        return Sheet(sheet.image.crop(box), (box,))


def _box(region: Sequence[int]) -> Box:
    if len(region) != 4 or not (0 <= region[0] < region[2] and 0 <= region[1] < region[3]):
        raise InputError("region must be [left, top, right, bottom] in pixels, and not empty")
    left, top, right, bottom = region
    return left, top, right, bottom


def _moved(box: Box, left: int, top: int) -> Box:
    return box[0] + left, box[1] + top, box[2] + left, box[3] + top


def make_server(looker: Looker) -> Any:
    """The MCP server with its one tool."""
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    from awares_edge._version import __version__
    from awares_edge.errors import AwaresError

    server = MCPServer("awares-edge", version=__version__, log_level="WARNING")

    def look(image: str, question: str, region: list[int] | None = None) -> dict[str, Any]:
        try:
            return looker.look(image, question, region)
        except AwaresError as error:
            raise ToolError(str(error)) from None

    server.add_tool(look, description=DESCRIPTION, structured_output=True)
    return server


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
