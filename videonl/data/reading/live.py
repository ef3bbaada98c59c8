"""Where a stream comes from: a camera, an address, a pipe, or a file. PyAV opens it."""

import contextlib
import os
import re
import select
import stat
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import av

from videonl.data.reading.container import ATTACHED_PICTURE, open_file
from videonl.data.reading.video_reader import DecodingError
from videonl.errors import UserError

Kind = Literal["camera", "live", "download", "pipe", "file", "growing file"]
STDIN = "-"
_CAMERAS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
_LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "srt", "tcp")
_DOWNLOADS = ("http", "https")
_LOOK_SECONDS = 0.05  # from one look at a pipe or a growing file to the next
_PASSWORD = re.compile(r"(?<=//)[^/?#]*@")
# RTP over UDP loses packets without a word; cameras that know no TCP are still read.
_OPTIONS = {"rtsp": {"rtsp_flags": "prefer_tcp"}, "rtsps": {"rtsp_flags": "prefer_tcp"}}


@dataclass(frozen=True)
class LiveSource:
    """A place that frames come from one after the other.

    Attributes:
        name: What it is called in messages, without a password.
        address: What FFmpeg opens.
        kind: ``camera``; ``live`` for addresses that never end, such as rtsp://; ``download`` for http://; ``pipe``;
            ``file``; or ``growing file``.
        format: FFmpeg's name of the format, where the address does not tell it.
    """

    name: str
    address: str
    kind: Kind
    format: str | None = None

    @property
    def reconnects(self) -> bool:
        """Whether it may be opened again after a fault, and then goes on."""
        return self.kind in ("camera", "live", "download")

    @property
    def waits(self) -> bool:
        """Whether it keeps its frames until they are asked for."""
        return self.kind not in ("camera", "live")


def find_source(source: int | str | Path, follow: bool = False) -> LiveSource:
    """Tells what a source is.

    Args:
        source: The index of a camera, a device, an address, a file, a named pipe, or ``-`` for standard input.
        follow: The file is still being written.

    Raises:
        UserError: There is no such camera or file.
    """
    text = str(source)
    scheme = urlsplit(text).scheme.lower() if "://" in text else ""
    if text.isdecimal() or text.startswith(("/dev/video", "video=")):
        found = _camera(text)
    elif scheme in _LIVE + _DOWNLOADS:
        found = LiveSource(_PASSWORD.sub("***@", text), text, "download" if scheme in _DOWNLOADS else "live")
    elif scheme:
        known = ", ".join(_LIVE + _DOWNLOADS)
        raise UserError(
            f"cannot read a stream from {scheme}://; known are {known}. Files in a bucket are read by videonl timeline"
        )
    elif text == STDIN:
        found = LiveSource("standard input", text, "pipe")
    else:
        found = _file(Path(text).expanduser(), follow)
    if follow and found.kind != "growing file":
        raise UserError(f"follow is for files that are still being written; {found.name} is none")
    return found


def _camera(text: str) -> LiveSource:
    if sys.platform not in _CAMERAS:
        raise UserError(f"there are no cameras known on {sys.platform}; give an address or a file")
    if sys.platform == "win32" and text.isdecimal():
        raise UserError("Windows knows cameras by name; give video=NAME, such as 'video=Integrated Camera'")
    address = f"/dev/video{text}" if sys.platform == "linux" and text.isdecimal() else text
    if sys.platform == "linux" and not os.path.exists(address):
        there = sorted(str(path) for path in Path("/dev").glob("video*"))
        raise UserError(f"camera {text} is not there: no {address}; " + _listed(there))
    return LiveSource(f"camera {text}", address, "camera", _CAMERAS[sys.platform])


def _listed(cameras: list[str]) -> str:
    return f"there are {', '.join(cameras)}" if cameras else "this machine shows no camera at all"


def _file(path: Path, follow: bool) -> LiveSource:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a camera, an address or a file") from error
    if stat.S_ISFIFO(mode):
        return LiveSource(str(path), str(path), "pipe")
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is no file, pipe or camera")
    return LiveSource(str(path), str(path), "growing file" if follow else "file")


@contextlib.contextmanager
def open_live(
    source: LiveSource, time_limit_seconds: float | None, options: Mapping[str, str], is_over: threading.Event
) -> Iterator[Any]:
    """Opens a source, and turns every error of FFmpeg while it is open into a DecodingError.

    Args:
        source: The source.
        time_limit_seconds: How long it may give nothing; ``None`` for ever.
        options: FFmpeg's, such as ``framerate`` of a camera.
        is_over: Once set, reading a pipe or a growing file ends.
    """
    given = {**_OPTIONS.get(urlsplit(source.address).scheme.lower(), {}), **options}
    try:
        with contextlib.ExitStack() as stack:
            file: Any = source.address
            if source.kind in ("pipe", "growing file"):
                file = stack.enter_context(_Bytes(source, time_limit_seconds, is_over))
            yield stack.enter_context(open_file(file, format=source.format, options=given, timeout=time_limit_seconds))
    except (av.ExitError, _StalledError) as error:
        raise DecodingError(source.name, f"gave nothing for {time_limit_seconds:g} s") from error
    except (av.FFmpegError, OSError) as error:
        raise DecodingError(source.name, f"cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # PyAV's word for options that the format does not know
        if isinstance(error, UserError):
            raise
        raise DecodingError(source.name, f"cannot be read ({error})") from error


def first_video(source: LiveSource, container: Any) -> Any:
    """The video stream, decoded in the calling thread.

    Raises:
        DecodingError: There is none.
    """
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & ATTACHED_PICTURE:
            stream.thread_type = "NONE"  # threads of FFmpeg hold frames back
            return stream
    raise DecodingError(source.name, "has no video stream that can be decoded")


class _StalledError(Exception):
    """Nothing came within the time limit."""


class _Bytes:
    """What PyAV reads pipes and growing files from: it waits for more, but not for ever.

    Args:
        source: A pipe or a growing file.
        time_limit_seconds: How long nothing may come: then a pipe is at fault, and a file is complete.
        is_over: Once set, there is no more.
    """

    def __init__(self, source: LiveSource, time_limit_seconds: float | None, is_over: threading.Event) -> None:
        self.name = source.address  # FFmpeg guesses formats by it, too
        self._growing, self._limit, self._is_over = source.kind == "growing file", time_limit_seconds, is_over
        is_stdin = source.address == STDIN
        # Opening a named pipe would wait for its writer.
        self._descriptor = os.dup(0) if is_stdin else os.open(source.address, os.O_RDONLY | os.O_NONBLOCK)
        self._polled = select.poll()
        self._polled.register(self._descriptor, select.POLLIN)

    def __enter__(self) -> "_Bytes":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end.

        Raises:
            _StalledError: Nothing came within the time limit.
        """
        began = time.monotonic()
        while not self._is_over.is_set():
            if (data := self._read_now(size)) is not None:
                return data
            if self._limit is not None and time.monotonic() - began > self._limit:
                if self._growing:
                    return b""
                raise _StalledError
        return b""

    def _read_now(self, size: int) -> bytes | None:
        """What is there, empty at the end of a pipe; None where something may come."""
        if self._growing:
            data = os.read(self._descriptor, size)
            if not data:
                self._is_over.wait(_LOOK_SECONDS)
            return data or None
        ready = self._polled.poll(1000 * _LOOK_SECONDS)
        return os.read(self._descriptor, size) if ready else None
