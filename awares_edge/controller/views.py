"""What has been computed of one picture: its views and regions, encoded and kept in the cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image

from awares_edge.controller.cuts import PictureCuts
from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.saved import RegionKey, SavedPicture, SavedRegion, SavedView
from awares_edge.controller.shown import Edges, Shown
from awares_edge.controller.trace import Answer, TurnTrace, View
from awares_edge.controller.transcript import Transcript
from awares_edge.errors import SessionError
from awares_edge.protocol.crops import Box
from awares_edge.protocol.sizes import Size
from awares_edge.runtimes.base import EncodedImage
from awares_edge.vision.geometry import Grid, smart_resize
from awares_edge.vision.patches import extract_patches

_KEPT_TOKENS = 16_384
"""Most visual tokens of encoded regions that are kept for later questions (the last one stays)."""


Same: TypeAlias = Callable[[Image.Image, Image.Image], bool]
"""Whether two pictures of one size, RGB, look the same."""


@dataclass(frozen=True, slots=True)
class _Region:
    """A region after the vision tower, and what it was computed from; None where it was restored
    and has not been cut since."""

    encoded: EncodedImage
    shown: Shown | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What looks the same in a newer picture.

    Attributes:
        newer: the newer picture.
        views: views whose KV is still right.
        regions: edges, in `source`, of regions whose features are still right.
    """

    newer: PictureCuts
    views: frozenset[View]
    regions: frozenset[Edges]

    def holds(self, answer: Answer) -> bool:
        """Whether all that the model saw for an answer looks the same, so that it stands."""
        boxes = {self.newer.to_image_box(edges) for edges in self.regions}
        return answer.view in self.views and all(crop.box in boxes for crop in answer.crops)


class PictureViews(PictureCuts):
    """What has been computed of one picture so far."""

    def __init__(self, model: LoadedModel, image: Image.Image) -> None:
        super().__init__(model.protocol, model.preprocessing.factor, image)
        self.model = model
        self._views: dict[View, Transcript] = {}
        self._seen: dict[View, Image.Image] = {}
        self._regions: OrderedDict[RegionKey, _Region] = OrderedDict()

    def cut(self, view: View) -> Image.Image:
        """The pixels of a view, as the model saw them where it has."""
        return self._seen[view] if view in self._seen else super().cut(view)

    def transcript(self, kind: View, trace: TurnTrace) -> Transcript:
        """The conversation about a view, made on first use."""
        if kind not in self._views:
            with trace.time("preprocess"):
                seen = self.cut(kind)
            encoded = self._encode(seen, trace)
            with trace.time("prefill"):
                session = self.model.open_session()
            self._views[kind] = Transcript(self.model, session, encoded)
            self._seen[kind] = seen
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
            encoded = self._regions[key].encoded
            self._regions[key] = _Region(encoded, shown)
            return encoded
        with trace.time("preprocess"):
            image = self.scaled(shown)
        encoded = self._encode(image, trace)
        self._regions[key] = _Region(encoded, shown)
        self._trim()
        return encoded

    def compare(self, image: Image.Image, same: Same) -> Unchanged:
        """What looks in a newer picture of the same size as it did when it was computed."""
        newer = PictureCuts(self.profile, self._factor, image)
        views = frozenset(v for v, seen in self._seen.items() if same(seen, newer.cut(v)))
        # A region inside another was cut from what the other showed then.
        tops = [shown for shown in self._cut() if not shown.region.picture]
        boxes = (s.box for s in tops if same(s.image, newer.show(s.region, ()).image))
        return Unchanged(newer, views, frozenset(boxes))

    def renew(self, unchanged: Unchanged) -> None:
        """Show a newer picture; keep the results for everything that looks the same.

        Conversations are forgotten.
        """
        for kind, transcript in list(self._views.items()):
            if kind in unchanged.views:
                transcript.rewind()
            else:
                transcript.close()
                del self._views[kind], self._seen[kind]
        for key, kept in list(self._regions.items()):
            shown = kept.shown
            if shown is None or shown.region.picture or shown.box not in unchanged.regions:
                del self._regions[key]
        newer = unchanged.newer
        self.image, self._limited, self.source = newer.image, newer._limited, newer.source

    def kept(self) -> dict[Box, Image.Image]:
        """Regions whose features are kept: pixels, as the model saw them, by box in `image`."""
        return {self.to_image_box(shown.box): shown.image for shown in self._cut()}

    @property
    def cached(self) -> frozenset[View]:
        """Views that are in a cache."""
        return frozenset(self._views)

    @property
    def contents(self) -> frozenset[View | RegionKey]:
        """Everything that `save` would save now, by name."""
        regions = self._regions if self.model.runtime.hidden else ()
        return frozenset((*self._views, *regions))

    def save(self) -> SavedPicture:
        """Copy the caches of views, and the features of regions that are arrays on the host.

        Conversations are forgotten.

        Raises:
            SessionError: the runtime cannot save sessions.
        """
        views = []
        for kind, transcript in self._views.items():
            # A pruned view is not as long as its size says.
            if transcript.image.kept is None and (session := transcript.save()) is not None:
                views.append(SavedView(kind, session))
        regions = self._regions if self.model.runtime.hidden else {}
        kept = (SavedRegion(key, region.encoded.features) for key, region in regions.items())
        return SavedPicture(tuple(views), tuple(kept))

    def restore(self, saved: SavedPicture) -> None:
        """Take what was saved of the same picture, under the same model and profile.

        Raises:
            ContextOverflow: a view is longer than the context.
            ImageError, SessionError: it is of another picture or model, or something has been
                computed already; nothing is restored.
        """
        if self._views or self._regions:
            raise SessionError("this picture has been asked about: restore a newly opened one")
        try:
            for view in saved.views:
                image = EncodedImage(None, self._grid(self.size(view.view)))
                self._views[view.view] = Transcript.restored(self.model, view.session, image)
                self._seen[view.view] = self.cut(view.view)
            for region in saved.regions:
                grid, features = self._grid(region.key[1]), region.features
                shape = (grid.tokens, self.model.runtime.hidden)
                if features.dtype != np.float32 or features.shape != shape:
                    raise SessionError("the saved region is of another model: compute it anew")
                self._regions[region.key] = _Region(EncodedImage(features, grid), None)
            self._trim()
        except BaseException:
            self.close()
            raise

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
        self._seen.clear()
        self._regions.clear()

    def _cut(self) -> list[Shown]:
        """Regions that are kept, as they were cut."""
        return [kept.shown for kept in self._regions.values() if kept.shown is not None]

    def _grid(self, size: Size) -> Grid:
        """A picture of this size in patches."""
        profile, pixels = self.profile, self.model.preprocessing
        width, height = smart_resize(
            *size,
            min_pixels=profile.min_pixels,
            max_pixels=profile.max_pixels,
            factor=pixels.factor,
        )
        side = pixels.patch_size
        return Grid(height // side, width // side, pixels.merge_size)

    def _trim(self) -> None:
        """Forget the regions that were used least recently, down to the most that are kept."""
        while len(self._regions) > 1 and self._kept_tokens() > _KEPT_TOKENS:
            self._regions.popitem(last=False)

    def _kept_tokens(self) -> int:
        return sum(kept.encoded.grid.tokens for kept in self._regions.values())

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
