"""Sources by name, and the cameras connected to this machine."""

from __future__ import annotations

import re
from pathlib import Path

from awares_edge.camera.sources.base import Source, SourceInfo
from awares_edge.camera.sources.folder import FolderSource
from awares_edge.camera.sources.gstreamer import GStreamerSource, csi
from awares_edge.camera.sources.opencv import DeviceSource, Mode, VideoFile, stream
from awares_edge.camera.sources.pushed import PushedSource
from awares_edge.camera.sources.synthetic import SyntheticSource
from awares_edge.errors import InputError

SPECS = (
    "synthetic; browser; 0 or /dev/video0, with a size: 0,1280x720@30; csi or csi:0,1280x720@30 "
    "(Jetson); rtsp://... or http://...; a GStreamer pipeline without its sink; a video file; "
    "a folder of pictures"
)

_MODE = r"(?:,(?P<width>\d{2,4})x(?P<height>\d{2,4})(?:@(?P<fps>\d{1,3}))?)?"
_DEVICE = re.compile(rf"(?P<place>\d{{1,3}}|/dev/[\w/.:-]+){_MODE}")
_CSI = re.compile(rf"csi(?::(?P<sensor>\d))?{_MODE}")


def open_source(spec: str) -> Source:
    """The source that a text names; `Camera` opens it.

    Raises:
        InputError: it names none.
        RuntimeUnavailable: a package is missing that it needs.
    """
    if spec == "synthetic":
        return SyntheticSource()
    if spec == "browser":
        return PushedSource()
    if match := _CSI.fullmatch(spec):
        return csi(int(match["sensor"] or 0), _mode(match))
    if match := _DEVICE.fullmatch(spec):
        return DeviceSource(match["place"], _mode(match))
    if re.match(r"(rtsps?|https?)://.", spec):
        return stream(spec)
    if re.search(r"\s!\s", spec):
        return GStreamerSource(spec)
    path = Path(spec).expanduser()
    if spec and path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return VideoFile(str(path))
    raise InputError(f"no source {spec!r}: give one of {SPECS}")


def _mode(match: re.Match[str]) -> Mode:
    return Mode(*(int(match[name]) if match[name] else None for name in ("width", "height", "fps")))


def find_sources(root: Path = Path("/")) -> tuple[SourceInfo, ...]:
    """Sources that can be found: the synthetic scene, the browser's camera, V4L2 cameras.

    Args:
        root: where /dev and /sys are found; another folder in tests.
    """
    found = [SyntheticSource.info, PushedSource.info]
    for node in sorted(root.glob("dev/video*"), key=lambda path: (len(path.name), path.name)):
        about = root / "sys/class/video4linux" / node.name
        # A camera has several nodes; those behind the first carry metadata.
        if _text(about / "index") not in ("", "0"):
            continue
        name = _text(about / "name")
        path = f"/dev/{node.name}"
        found.append(SourceInfo(path, f"{name} ({path})" if name else path, "device"))
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
