"""The views of one picture: cut, encoded, and kept in the cache."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.trace import TurnTrace, View
from awares_edge.protocol.crops import Box, Crop
from awares_edge.runtimes.base import EncodedImage, Mark, Session
from awares_edge.vision.geometry import MAX_ASPECT_RATIO, visual_tokens
from awares_edge.vision.patches import extract_patches


@dataclass(slots=True)
class ViewState:
    """One view of the picture in its own session.

    Attributes:
        session: holds the system prompt, then the view, then one question at a time.
        base: the point after the system prompt.
        image: the encoded view.
        mark: the point after the view, once it is in the cache.
    """

    session: Session
    base: Mark
    image: EncodedImage
    mark: Mark | None = None


class PictureViews:
    """What has been computed of one picture so far.

    Attributes:
        image: upright RGB picture as loaded.
        source: what the views are cut from: `image`, scaled down to the protocol's source limits.
    """

    def __init__(self, model: LoadedModel, image: Image.Image) -> None:
        self.model = model
        self.image = image
        self.source = model.protocol.source_view(image)
        self._views: dict[View, ViewState] = {}
        self._crops: dict[Crop, EncodedImage] = {}

    def cut(self, view: View) -> Image.Image:
        """The pixels of a view."""
        return self.source if view == "full" else self.model.protocol.low_res_view(self.source)

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether the vision tower takes a picture of this size (width, height)."""
        return max(size) <= MAX_ASPECT_RATIO * min(size)

    def tokens(self, size: tuple[int, int]) -> int:
        """Visual tokens of a picture of this size (width, height) under the protocol's limits."""
        protocol = self.model.protocol
        return visual_tokens(
            *size,
            min_pixels=protocol.min_pixels,
            max_pixels=protocol.max_pixels,
            factor=self.model.preprocessing.factor,
        )

    def view(self, kind: View, trace: TurnTrace) -> ViewState:
        """The session that holds this view, made on first use."""
        if kind not in self._views:
            with trace.time("preprocess"):
                image = self.cut(kind)
            encoded = self._encode(image, trace)
            with trace.time("prefill"):
                session = self.model.open_session()
            self._views[kind] = ViewState(session, session.mark(), encoded)
        return self._views[kind]

    def encode_crop(self, crop: Crop, trace: TurnTrace) -> EncodedImage:
        """A crop after the vision tower; each is encoded once per picture."""
        if crop not in self._crops:
            with trace.time("preprocess"):
                image = self.source.crop(crop.box)
            self._crops[crop] = self._encode(image, trace)
        return self._crops[crop]

    def to_image_box(self, box: Box) -> Box:
        """A box in `source` as pixels of `image`."""
        scale_x = self.image.width / self.source.width
        scale_y = self.image.height / self.source.height
        left, top, right, bottom = box
        return (
            round(left * scale_x),
            round(top * scale_y),
            round(right * scale_x),
            round(bottom * scale_y),
        )

    def _encode(self, image: Image.Image, trace: TurnTrace) -> EncodedImage:
        protocol = self.model.protocol
        with trace.time("preprocess"):
            patches = extract_patches(
                image,
                self.model.preprocessing,
                min_pixels=protocol.min_pixels,
                max_pixels=protocol.max_pixels,
            )
        with trace.time("vision"):
            return self.model.runtime.encode_image(patches)

    def rewind(self) -> None:
        """Forget every question: back to the pictures' own marks."""
        for view in self._views.values():
            view.session.rewind(view.mark or view.base)

    def close(self) -> None:
        """Give the cache's memory back."""
        for view in self._views.values():
            view.session.close()
        self._views.clear()
        self._crops.clear()
