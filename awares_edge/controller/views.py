"""What has been computed of one picture: its views and regions, encoded and kept in the cache."""

from __future__ import annotations

from collections import OrderedDict

from PIL import Image

from awares_edge.controller.cuts import PictureCuts
from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.shown import Edges, Shown
from awares_edge.controller.trace import TurnTrace, View
from awares_edge.controller.transcript import Transcript
from awares_edge.protocol.crops import Box
from awares_edge.protocol.sizes import Size
from awares_edge.runtimes.base import EncodedImage
from awares_edge.vision.patches import extract_patches

_KEPT_TOKENS = 16_384
"""Most visual tokens of encoded regions that are kept for later questions (the last one stays)."""


class PictureViews(PictureCuts):
    """What has been computed of one picture so far."""

    def __init__(self, model: LoadedModel, image: Image.Image) -> None:
        super().__init__(model.protocol, model.preprocessing.factor, image)
        self.model = model
        self._views: dict[View, Transcript] = {}
        self._regions: OrderedDict[tuple[Edges, Size, Box], EncodedImage] = OrderedDict()

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

    def encode(self, shown: Shown, trace: TurnTrace) -> EncodedImage:
        """A region after the vision tower; encoded once while there is room to keep it."""
        key = (shown.box, shown.region.size, shown.region.box)
        if key in self._regions:
            self._regions.move_to_end(key)
            trace.reused_regions += 1
            return self._regions[key]
        with trace.time("preprocess"):
            image = self.scaled(shown)
        encoded = self._regions[key] = self._encode(image, trace)
        while len(self._regions) > 1 and self._kept_tokens() > _KEPT_TOKENS:
            self._regions.popitem(last=False)
        return encoded

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

    def _kept_tokens(self) -> int:
        return sum(encoded.grid.tokens for encoded in self._regions.values())

    def _encode(self, image: Image.Image, trace: TurnTrace) -> EncodedImage:
        profile = self.profile
        with trace.time("preprocess"):
            patches = extract_patches(
                image,
                self.model.preprocessing,
                min_pixels=profile.min_pixels,
                max_pixels=profile.max_pixels,
            )
        with trace.time("vision"):
            return self.model.runtime.encode_image(patches)
