"""One picture as its protocol cuts it: views, regions, their sizes and their cost. No model."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from awares_edge.controller.shown import Shown
from awares_edge.controller.trace import View
from awares_edge.protocol.crops import Box
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.regions import Region
from awares_edge.protocol.sizes import RESAMPLING, Size
from awares_edge.vision.geometry import MAX_ASPECT_RATIO, visual_tokens


class PictureCuts:
    """Views and regions of one picture.

    Args:
        factor: pixels per visual token along each side.

    Attributes:
        profile: the rules by which it is cut.
        image: upright RGB picture as loaded.
        source: what regions are cut from.
    """

    def __init__(self, profile: ProtocolProfile, factor: int, image: Image.Image) -> None:
        self.profile = profile
        self.image = image
        self._factor = factor
        self._limited = profile.limited_view(image)
        self.source = profile.source_view(self._limited)

    def cut(self, view: View) -> Image.Image:
        """The pixels of a view."""
        if view == "full":
            return self.source
        return self.profile.first_picture(self._limited)

    def size(self, view: View) -> Size:
        """Size of a view in pixels."""
        if view == "full":
            return self.source.size
        return self.profile.first_size(self._limited.size)

    def fits(self, size: Size) -> bool:
        """Whether the vision tower takes a picture of this size (width, height)."""
        return max(size) <= MAX_ASPECT_RATIO * min(size)

    def tokens(self, size: Size) -> int:
        """Visual tokens of a picture of this size (width, height) under the protocol's limits."""
        return visual_tokens(
            *size,
            min_pixels=self.profile.min_pixels,
            max_pixels=self.profile.max_pixels,
            factor=self._factor,
        )

    def show(self, region: Region, shown: Sequence[Shown]) -> Shown:
        """Cut a region out of the source picture, or out of a region that was shown before."""
        if region.picture == 0:
            left, top, right, bottom = map(float, region.box)
            return Shown(region, (left, top, right, bottom), self.source.crop(region.box))
        parent = shown[region.picture - 1]
        sent = self.profile.region.nested == "sent"
        image = self.scaled(parent) if sent else parent.image
        x, y, right, bottom = parent.box
        scale_x, scale_y = (right - x) / image.width, (bottom - y) / image.height
        x1, y1, x2, y2 = region.box
        edges = (x + x1 * scale_x, y + y1 * scale_y, x + x2 * scale_x, y + y2 * scale_y)
        return Shown(region, edges, image.crop(region.box))

    def scaled(self, shown: Shown) -> Image.Image:
        """A region at the size in which it is sent."""
        fit = self.profile.region.fit
        if fit is None or shown.image.size == shown.region.size:
            return shown.image
        return shown.image.resize(shown.region.size, RESAMPLING[fit.resampler])

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
