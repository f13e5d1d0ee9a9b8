"""The views and regions of one picture: cut, encoded, and kept in the cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from PIL import Image

from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.shown import Edges, Shown
from awares_edge.controller.trace import TurnTrace, View
from awares_edge.controller.transcript import Transcript
from awares_edge.protocol.crops import Box
from awares_edge.protocol.regions import Region
from awares_edge.protocol.sizes import RESAMPLING, Size
from awares_edge.runtimes.base import EncodedImage
from awares_edge.vision.geometry import MAX_ASPECT_RATIO, visual_tokens
from awares_edge.vision.patches import extract_patches

_KEPT_TOKENS = 16_384
"""Most visual tokens of encoded regions that are kept for later questions (the last one stays)."""


class PictureViews:
    """What has been computed of one picture so far.

    Attributes:
        image: upright RGB picture as loaded.
        source: what regions are cut from.
    """

    def __init__(self, model: LoadedModel, image: Image.Image) -> None:
        self.model = model
        self.image = image
        self._limited = model.protocol.limited_view(image)
        self.source = model.protocol.source_view(self._limited)
        self._views: dict[View, Transcript] = {}
        self._regions: OrderedDict[tuple[Edges, Size, Box], EncodedImage] = OrderedDict()

    def cut(self, view: View) -> Image.Image:
        """The pixels of a view."""
        if view == "full":
            return self.source
        return self.model.protocol.first_picture(self._limited)

    def size(self, view: View) -> Size:
        """Size of a view in pixels."""
        if view == "full":
            return self.source.size
        return self.model.protocol.first_size(self._limited.size)

    def fits(self, size: Size) -> bool:
        """Whether the vision tower takes a picture of this size (width, height)."""
        return max(size) <= MAX_ASPECT_RATIO * min(size)

    def tokens(self, size: Size) -> int:
        """Visual tokens of a picture of this size (width, height) under the protocol's limits."""
        protocol = self.model.protocol
        return visual_tokens(
            *size,
            min_pixels=protocol.min_pixels,
            max_pixels=protocol.max_pixels,
            factor=self.model.preprocessing.factor,
        )

    def transcript(self, kind: View, trace: TurnTrace) -> Transcript:
        """The conversation about a view, made on first use."""
        if kind not in self._views:
            encoded = self.encode_view(kind, trace)
            with trace.time("prefill"):
                session = self.model.open_session()
            self._views[kind] = Transcript(self.model, session, encoded)
        return self._views[kind]

    def encode_view(self, kind: View, trace: TurnTrace) -> EncodedImage:
        """A view after the vision tower."""
        with trace.time("preprocess"):
            image = self.cut(kind)
        return self._encode(image, trace)

    def show(self, region: Region, shown: Sequence[Shown]) -> Shown:
        """Cut a region out of the source picture, or out of a region that was shown before."""
        if region.picture == 0:
            left, top, right, bottom = map(float, region.box)
            return Shown(region, (left, top, right, bottom), self.source.crop(region.box))
        parent = shown[region.picture - 1]
        sent = self.model.protocol.region.nested == "sent"
        image = self._scaled(parent) if sent else parent.image
        x, y, right, bottom = parent.box
        scale_x, scale_y = (right - x) / image.width, (bottom - y) / image.height
        x1, y1, x2, y2 = region.box
        edges = (x + x1 * scale_x, y + y1 * scale_y, x + x2 * scale_x, y + y2 * scale_y)
        return Shown(region, edges, image.crop(region.box))

    def encode(self, shown: Shown, trace: TurnTrace) -> EncodedImage:
        """A region after the vision tower; encoded once while there is room to keep it."""
        key = (shown.box, shown.region.size, shown.region.box)
        if key in self._regions:
            self._regions.move_to_end(key)
            trace.reused_regions += 1
            return self._regions[key]
        with trace.time("preprocess"):
            image = self._scaled(shown)
        encoded = self._regions[key] = self._encode(image, trace)
        while len(self._regions) > 1 and self._kept_tokens() > _KEPT_TOKENS:
            self._regions.popitem(last=False)
        return encoded

    def to_image_box(self, box: Sequence[float]) -> Box:
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

    def _kept_tokens(self) -> int:
        return sum(encoded.grid.tokens for encoded in self._regions.values())

    def _scaled(self, shown: Shown) -> Image.Image:
        fit = self.model.protocol.region.fit
        if fit is None or shown.image.size == shown.region.size:
            return shown.image
        return shown.image.resize(shown.region.size, RESAMPLING[fit.resampler])

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

    def abandon(self) -> None:
        """Forget a question that was not answered to its end."""
        for transcript in self._views.values():
            transcript.abandon()

    def forget(self) -> None:
        """Forget every conversation."""
        for transcript in self._views.values():
            transcript.rewind()

    def close(self) -> None:
        """Give the cache's memory back."""
        for transcript in self._views.values():
            transcript.close()
        self._views.clear()
        self._regions.clear()
