"""From a reply to what is sent next: the call in it, and the regions that it may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from awares_edge.controller.cuts import PictureCuts
from awares_edge.controller.dialogue import ShownBefore
from awares_edge.controller.policies import (
    ALREADY_SHOWN,
    INVALID_CALL,
    MUST_CALL,
    Policies,
    Room,
    select_crops,
)
from awares_edge.controller.shown import Shown
from awares_edge.protocol.call import Call, Request
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.regions import Region, RegionError, locate
from awares_edge.protocol.sizes import Size


def read_call(profile: ProtocolProfile, text: str, *, must_call: bool) -> Call | None:
    """The call in a complete reply; None for an answer.

    Args:
        must_call: whether the reply has to be a call: one that names no region is a call for the
            whole picture.
    """
    syntax = profile.call
    call = syntax.parse(text)
    if must_call and not call.requests:
        return Call(call.status, (Request(),), call.problem)
    if call.status == "none":
        if syntax.call_start(text) is None:
            return None
        return Call("invalid", problem="the call is not complete")
    return call


@dataclass(frozen=True, slots=True)
class Choice:
    """What is sent for a call: regions, or an error message, or nothing.

    Attributes:
        call: as it was understood; invalid where its regions cannot be cut.
        regions: what is sent; empty for nothing.
        error: whether an error message is sent to the model.
        policies: what policies decided instead of the model, as "policy:outcome".
    """

    call: Call
    regions: tuple[Shown, ...] = ()
    error: bool = False
    policies: tuple[str, ...] = ()


class Chooser:
    """Chooses the regions for the calls of one question.

    Args:
        context: the regions that are in context.
        progressive: whether the crop set applies to the crop that was sent last.
    """

    def __init__(
        self,
        cuts: PictureCuts,
        context: ShownBefore,
        policies: Policies,
        *,
        progressive: bool = False,
    ) -> None:
        self._cuts = cuts
        self._profile = cuts.profile
        self._context = context
        self._policies = policies
        self._progressive = progressive

    def choose(self, call: Call, *, room: Room, inner: bool) -> Choice:
        """What to send for a call.

        Args:
            room: visual tokens that may be spent, and KV cells that are free.
            inner: whether a region was sent for this question before.
        """
        applied: list[str] = []
        try:
            regions = self._locate(call.requests, within_last=inner and self._progressive)
        except RegionError as problem:
            call, regions = Call("invalid", problem=str(problem)), []
            if self._profile.limits.must_call and not inner:
                regions = self._locate((Request(),), within_last=False)
        if self._profile.limits.must_call and call.status in ("none", "invalid") and regions:
            applied.append(f"{MUST_CALL}:whole-image")
        if not regions and self._sends_errors():
            return Choice(call, error=True, policies=(f"{INVALID_CALL}:error",))
        new, seen = self._split(regions)
        if seen:
            names = ",".join(region.id or region.name for region in seen)
            applied.append(f"{ALREADY_SHOWN}:{f'dropped {names}' if new else 'answer'}")
            if not new:
                return Choice(call, policies=tuple(applied))
        selection = select_crops(
            [one.region for one in new],
            self._policies,
            whole=self._whole(),
            fits=lambda region: self._cuts.fits(region.size),
            tokens_of=lambda region: self._cuts.tokens(region.size),
            room=room,
        )
        applied += selection.applied
        cut = {one.region: one for one in new}
        # A policy may have replaced the request by the whole picture.
        others, seen = self._split([region for region in selection.crops if region not in cut])
        if seen:
            applied.append(f"{ALREADY_SHOWN}:answer")
        kept = [cut[region] for region in selection.crops if region in cut]
        return Choice(call, (*kept, *others), policies=tuple(applied))

    def _locate(self, requests: Sequence[Request], *, within_last: bool) -> list[Region]:
        pictures = self._pictures()
        within = len(pictures) - 1 if within_last else 0
        view = self._cuts.size("low")
        return [locate(self._profile, r, pictures, view, within=within) for r in requests]

    def _pictures(self) -> list[Size]:
        """Sizes that boxes refer to: the source's, and those of all regions in context."""
        sent = self._profile.region.nested == "sent"
        shown = self._context.shown()
        sizes = [one.region.size if sent else one.image.size for one in shown]
        return [self._cuts.source.size, *sizes]

    def _whole(self) -> Region:
        size = self._cuts.source.size
        return Region((0, 0, *size), size, id="all" if self._profile.tool.crops else "")

    def _sends_errors(self) -> bool:
        own = self._profile.tool.syntax != "crops"
        return own and self._policies.invalid_call == "protocol"

    def _split(self, regions: Sequence[Region]) -> tuple[list[Shown], list[Region]]:
        """The regions that are not in context yet, cut, and the regions that are."""
        before = self._context.shown()
        # Crops of a picture too small to cut are all the whole picture: send it once.
        by_box: dict[object, Shown] = {}
        for region in regions:
            shown = self._cuts.show(region, before)
            by_box.setdefault(shown.box, shown)
        new: list[Shown] = []
        seen: list[Region] = []
        for shown in by_box.values():
            if self._context.holds(shown):
                seen.append(shown.region)
            else:
                new.append(shown)
        return new, seen
