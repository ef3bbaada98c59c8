"""A thousand damaged files: each gives a clip or a reason; none a crash, a hang, or memory that stays behind."""

import random
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from videonl.data.dataset import read_views
from videonl.data.reading.decoding import DecodingError
from videonl.data.transforms import ClipFormat, Views
from videonl.data.video import Video
from videonl.runtime.time_limit import TimeLimited

NUM_FILES = 1000
CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)
ENCODINGS = {
    "h264.mp4": "libx264",
    "h264.mkv": "libx264",
    "h264.avi": "libx264",
    "mpeg4.avi": "mpeg4",
    "mpeg4.mov": "mpeg4",
    "mpeg2.mpg": "mpeg2video",
    "vp9.webm": "libvpx-vp9",
}


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Cut off, overwritten, moved, or with bits turned, here and there or in the header alone."""
    changed = bytearray(data)
    reach = len(changed) if dice.random() < 0.6 else min(len(changed), 400)
    way = dice.choice(("bits", "bytes", "zeros", "cut", "remove", "repeat"))
    start = dice.randrange(reach)
    end = min(start + dice.choice((1, 4, 37, 503)), len(changed))
    if way in ("bits", "bytes"):
        for _ in range(dice.choice((1, 3, 31))):
            place = dice.randrange(reach)
            changed[place] = changed[place] ^ 1 << dice.randrange(8) if way == "bits" else dice.randrange(256)
    elif way == "zeros":
        changed[start:end] = bytes(end - start)
    elif way == "cut":
        del changed[start:]
    elif way == "remove":
        del changed[start:end]
    else:
        changed[start:start] = changed[start:end]
    return bytes(changed)


def read(path: str) -> torch.Tensor:
    torch.set_num_threads(1)  # as in a worker; a fork does not have the threads of OpenMP that its parent started
    if path == "memory":
        resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
        return torch.tensor(list((resident_pages * resource.getpagesize()).to_bytes(8, "little")), dtype=torch.uint8)
    return read_views(Video(Path(path), 0), CLIP, Views(num_clips=2))


@pytest.mark.slow
@pytest.mark.skipif(not TimeLimited.is_available(), reason="there is no time limit here")
def test_a_thousand_damaged_files(tmp_path: Path, encode_video: Callable[..., Path]) -> None:
    originals = [encode_video(tmp_path / name, codec=codec).read_bytes() for name, codec in ENCODINGS.items()]
    shared = Path(__file__).resolve().parents[3] / "shared" / "clips" / "odd"
    if shared.is_dir():
        originals += [path.read_bytes() for path in sorted(shared.iterdir()) if path.stat().st_size < 40_000]
    limited: TimeLimited[str] = TimeLimited(read, seconds=30)
    outcomes: Counter[str] = Counter()
    memory: list[int] = []
    for number in range(NUM_FILES):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(damaged(originals[number % len(originals)], random.Random(number)))
        try:
            limited(str(path))  # EndedCallError here is a crash or a hang, and any other error one that we did not name
            outcomes["clip"] += 1
        except DecodingError as error:
            outcomes["reason" if error.path == str(path) else "reason of another file"] += 1
        path.unlink()
        if number % 100 == 99:
            memory.append(int.from_bytes(limited("memory").numpy().tobytes(), "little"))
    limited.close()
    print(f"\n{dict(outcomes)}; memory in MiB: {[round(size / 2**20) for size in memory]}")
    assert outcomes["clip"] + outcomes["reason"] == NUM_FILES
    assert min(outcomes["clip"], outcomes["reason"]) > NUM_FILES // 10
    assert memory[-1] < 1.1 * memory[4]
