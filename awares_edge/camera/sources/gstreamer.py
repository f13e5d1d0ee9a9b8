"""GStreamer pipelines, CSI cameras among them, run by `gst-launch-1.0` as a process of its own.

OpenCV's wheel has no GStreamer, and GObject's bindings belong to the system's Python. A process
needs neither, and it can be ended when its camera hangs. Frames come through a pipe as YUV4MPEG2
(https://wiki.multimedia.cx/index.php/YUV4MPEG2): a line with the size, then planes of 4:2:0.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import shlex
import shutil
import subprocess
import threading
from contextlib import suppress
from time import monotonic

import numpy as np

from awares_edge.camera.frames import Pixels
from awares_edge.camera.sources.base import Source, SourceInfo
from awares_edge.camera.sources.opencv import NEEDS, Mode
from awares_edge.errors import CameraError, InputError, RuntimeUnavailable
from awares_edge.extras import require

LAUNCH = "gst-launch-1.0"
# Widths and heights whose planes have no padding; others are scaled to the nearest.
_SIZES = "width=[8,8192,8],height=[2,8192,2]"
_TAIL = (
    "! queue leaky=downstream max-size-buffers=1 ! videoconvert ! videoscale "
    f"! video/x-raw,format=I420,colorimetry=bt601,{_SIZES} ! y4menc ! fdsink sync=false fd="
)
_START_SECONDS = 8.0  # a CSI camera takes some
_SILENCE_SECONDS = 1.5
_PIPE_BYTES = 1 << 20
_LONGEST_LINE = 256


class GStreamerSource(Source):
    """What a pipeline shows.

    Args:
        pipeline: as for `gst-launch-1.0`, without a sink. A last `! appsink ...`, as in strings
            for OpenCV, is left out.
    """

    def __init__(self, pipeline: str, info: SourceInfo | None = None) -> None:
        if shutil.which(LAUNCH) is None:
            raise RuntimeUnavailable(
                f"GStreamer pipelines need {LAUNCH}: apt install gstreamer1.0-tools "
                "gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
            )
        require("this source", NEEDS)
        source = re.sub(r"\s*!\s*appsink\b[^!]*$", "", pipeline).strip().rstrip("! ")
        try:
            self._words = shlex.split(source)
        except ValueError as error:
            raise InputError(f"the pipeline cannot be read: {error}") from error
        self.info = info or SourceInfo(pipeline, "GStreamer pipeline", "gstreamer")
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = self._pipe = -1
        self._size = (0, 0)
        self._planes = bytearray()

    def open(self) -> None:
        self.close()
        self._stopped.clear()
        reader, writer = os.pipe()
        self._pipe = reader
        with suppress(OSError):
            fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._errors = os.memfd_create("gstreamer-errors")
        command = [LAUNCH, "-q", *self._words, *f"{_TAIL}{writer}".split()]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(writer,),
                start_new_session=True,  # Ctrl-C is for this process
            )
        except OSError as error:
            raise CameraError(f"{LAUNCH} cannot be started: {error.strerror}") from error
        finally:
            os.close(writer)
        self._size = self._header(monotonic() + _START_SECONDS)

    def _header(self, deadline: float) -> tuple[int, int]:
        """The size that the stream's first line gives."""
        words = self._line(deadline).split()
        sizes = {word[:1]: word[1:] for word in words[1:]}
        if words[:1] != [b"YUV4MPEG2"] or not sizes.get(b"W") or not sizes.get(b"H"):
            raise CameraError(f"{self.info.name} does not give pictures")
        width, height = int(sizes[b"W"]), int(sizes[b"H"])
        self._planes = bytearray(width * height * 3 // 2)
        return width, height

    def grab(self) -> None:
        deadline = monotonic() + _SILENCE_SECONDS
        if not self._line(deadline).startswith(b"FRAME"):
            raise CameraError(f"{self.info.name} changed its format")
        self._fill(memoryview(self._planes), deadline)

    def retrieve(self) -> Pixels:
        import cv2

        width, height = self._size
        planes = np.frombuffer(self._planes, np.uint8).reshape(height * 3 // 2, width)
        return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8)

    def _line(self, deadline: float) -> bytes:
        line, one = b"", bytearray(1)
        while not line.endswith(b"\n"):
            self._fill(memoryview(one), deadline)
            line += one
            if len(line) > _LONGEST_LINE:
                raise CameraError(f"{self.info.name} does not give pictures")
        return line

    def _fill(self, buffer: memoryview, deadline: float) -> None:
        at = 0
        while at < len(buffer):
            ready, _, _ = select.select([self._pipe], [], [], 0.1)
            if self._stopped.is_set():
                raise CameraError(f"{self.info.name} was stopped")
            if ready:
                read = os.readv(self._pipe, [buffer[at:]])
                if not read:
                    raise CameraError(self._why_ended())
                at += read
            elif monotonic() > deadline:
                raise CameraError(f"{self.info.name} sends no frames: {self._why_ended()}")

    def _why_ended(self) -> str:
        """The first error or warning of GStreamer, one line."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        written = os.pread(self._errors, 1 << 16, 0)
        for line in written.decode(errors="replace").splitlines():
            found = re.match(
                r"(?:ERROR|WARNING): (?:erroneous pipeline: |from element \S+: )?(.+)", line
            )
            if found:
                return f"GStreamer: {found[1].strip()}"
        return f"{self.info.name} has ended"

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        for descriptor in (self._pipe, self._errors):
            if descriptor >= 0:
                os.close(descriptor)
        self._pipe = self._errors = -1

    def stop(self) -> None:
        self._stopped.set()


def csi(sensor: int, mode: Mode) -> GStreamerSource:
    """A Jetson's CSI camera."""
    width, height, fps = mode.width or 1280, mode.height or 720, mode.fps or 30
    info = SourceInfo(f"csi:{sensor}", f"CSI camera {sensor}", "csi")
    return GStreamerSource(csi_pipeline(sensor, width, height, fps), info)


def csi_pipeline(sensor: int, width: int, height: int, fps: int) -> str:
    """NVIDIA's Argus source, its frames brought into ordinary memory."""
    return (
        f"nvarguscamerasrc sensor-id={sensor} "
        f"! video/x-raw(memory:NVMM),width={width},height={height},framerate={fps}/1 "
        "! nvvidconv ! video/x-raw,format=BGRx"
    )
