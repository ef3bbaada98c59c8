"""Whether a file is a video, by its content."""

from pathlib import Path

import av

from videonl.data.reading.container import ATTACHED_PICTURE, open_file

# Containers that hold a video themselves: others make one of text, of single images, or of files at other places.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,ogg,mxf,dv,rm,nut,ivf,gif,wtv,yuv4mpegpipe,"
    "mpegts,mpeg,mpegvideo,mjpeg,h264,hevc,m4v"
)
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}


def opens_as_video(path: Path) -> bool:
    """Whether a demuxer finds a video in a file, whatever its name; pictures attached to sound are none."""
    if not path.is_file():  # to open a pipe may take for ever
        return False
    try:
        with open_file(path, options=_OPTIONS) as container:
            return any(
                stream.codec_context is not None and not stream.disposition & ATTACHED_PICTURE
                for stream in container.streams.video
            )
    except (av.FFmpegError, OSError):
        return False
