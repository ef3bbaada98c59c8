#!/usr/bin/env python
"""Times a whole evaluation against its network alone on the same views in memory, in turns, and compares the scores.

``python scripts/bench_evaluation.py CHECKPOINT VIDEOS`` scores 10 clips x 3 crops of some of the videos as ``videonl
evaluate`` does, from the first score on: processes that decode have started by then. The network alone is given the
normalized views, as many in a forward pass. ``--workers 0`` decodes in a thread of the same process, so that its
processor seconds tell what share the network has of all work, however busy the machine is.
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from videonl.benchmarks.busy import Others
from videonl.benchmarks.rounds import Rounds
from videonl.data.dataset import EvaluationVideos, read_views
from videonl.data.sources.labeled import read_source
from videonl.data.sources.labels import assign_known
from videonl.data.transforms import ClipFormat, Views
from videonl.data.video import Video
from videonl.evaluation import VideoScore
from videonl.inference import VIEWS_PER_STEP, Recognizer, score_videos
from videonl.inference.loading import find_trained
from videonl.models.execution import keep_freed_memory

VIEWS = Views(num_clips=10, num_crops=3)
Timed = tuple[float, float]  # seconds by the clock, and of this process's processors


def main() -> None:
    """Prints clips a second of both sides, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("videos", help="a list, an index or a folder of class folders")
    parser.add_argument("--number", type=int, default=12, help="of videos, evenly spaced in the list")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, help="by default what the checkpoint was trained on, as all others")
    parser.add_argument("--stride", type=int)
    parser.add_argument("--short-side", type=int)
    parser.add_argument("--crop", type=int)
    given = parser.parse_args()
    keep_freed_memory()
    trained = find_trained(given.checkpoint)
    asked = {
        "num_frames": given.frames,
        "stride_frames": given.stride,
        "short_side_px": given.short_side,
        "crop_px": given.crop,
    }
    clip = replace(ClipFormat(**trained.clip), **{name: value for name, value in asked.items() if value})
    videos = assign_known(read_source(given.videos), trained.class_names)
    videos = videos[:: max(1, len(videos) // given.number)][: given.number]
    recognizer = Recognizer(trained.network, clip)
    print(f"{VIEWS.describe(clip)}, {clip.describe()}; {torch.get_num_threads()} threads; {given.workers} workers")
    compare(recognizer, videos, given.workers, given.rounds)


def compare(recognizer: Recognizer, videos: Sequence[Video], workers: int, num_rounds: int) -> None:
    """Runs both sides in turns, after a forward pass that warms up, and prints what came out."""
    others = Others()
    recognizer.logits(read_views(videos[0], recognizer.clip, VIEWS)[:1])
    sides: dict[str, list[Timed]] = {"evaluation": [], "network": []}
    for _ in range(num_rounds):
        timed, scores = evaluated(recognizer, videos, workers)
        sides["evaluation"].append(timed)
        timed, expected = by_network_alone(recognizer, videos)
        sides["network"].append(timed)
        same = map(torch.equal, (score.logits for score in scores), expected)
        assert all(same), "other scores than by the network alone"
    num_views = VIEWS.num_views * (len(videos) - 1)
    for part, name in enumerate(("by the clock", "processors of this process")):
        rounds = Rounds(*(tuple(timed[part] for timed in sides[side]) for side in ("evaluation", "network")))
        ours, alone = (num_views / rounds.median[side] for side in ("ours", "plain"))
        spread = f"spread {rounds.spread:.0%}" if rounds.spread is not None else "one round"
        print(f"{alone and ours / alone:.3f} {name}: {ours:.2f} of {alone:.2f} clips/s, {spread}")
    print(others.shares().words or "the machine was idle otherwise", f"(load {os.getloadavg()[0]:.1f})")


def evaluated(recognizer: Recognizer, videos: Sequence[Video], workers: int) -> tuple[Timed, list[VideoScore]]:
    """All steps, as the command makes them; the time from the first score to the last."""
    data = EvaluationVideos(videos, recognizer.clip, VIEWS, time_limit_seconds=60.0)
    marks: list[Timed] = []
    told = partial(_mark, marks)
    scores, unreadable = score_videos(recognizer, "softmax", data, num_workers=workers, progress=told)
    assert not unreadable, unreadable
    return _since(marks[0], marks[-1]), scores


def by_network_alone(recognizer: Recognizer, videos: Sequence[Video]) -> tuple[Timed, list[Tensor]]:
    """The network's forward passes, without what comes before and after; the first video's do not count."""
    total, found = (0.0, 0.0), []
    for number, video in enumerate(videos):
        parts = [recognizer.inputs(part) for part in read_views(video, recognizer.clip, VIEWS).split(VIEWS_PER_STEP)]
        with torch.inference_mode():
            begun = _now()
            logits = torch.cat([recognizer.network(part) for part in parts])
            taken = _since(begun, _now())
        total = (total[0] + taken[0], total[1] + taken[1]) if number else total
        found.append(logits)
    return total, found


def _mark(marks: list[Timed], done: int, of: int) -> None:
    marks.append(_now())


def _now() -> Timed:
    return time.perf_counter(), time.process_time()


def _since(begun: Timed, now: Timed) -> Timed:
    return now[0] - begun[0], now[1] - begun[1]


if __name__ == "__main__":
    main()
