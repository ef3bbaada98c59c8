"""``videonl diagnose``: what each inserted block does, measured over many clips."""

import json as json_text
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch.utils.data import DataLoader

from videonl.cli.refusals import require_at_least
from videonl.data.batches import Failure
from videonl.data.loader import MOST_SEED, naming_shared_memory, worker_options
from videonl.data.located_clip import LocatedClip, MiddleClips
from videonl.data.reading.decoding import check_decoder
from videonl.data.reading.url_path import where
from videonl.data.sources.labeled import file_of_source, read_source
from videonl.data.sources.labels import assign
from videonl.data.synthetic.clues import find_clues, locate
from videonl.data.synthetic.dataset import Clue
from videonl.data.synthetic.frames import SHAPES
from videonl.data.transforms import ClipFormat
from videonl.data.video import Video
from videonl.diagnostics import DiagnosedClip, Diagnosis
from videonl.diagnostics.cue import Clued
from videonl.diagnostics.report import WRITTEN, DiagnosisReport, print_report, write_report
from videonl.errors import MOST_WORKERS, UserError
from videonl.evaluation import Average
from videonl.evaluation.about import describe_network, describe_source, today
from videonl.inference import Recognizer
from videonl.inference.loading import find_trained
from videonl.models.execution import keep_freed_memory_on
from videonl.models.locating import weights_file
from videonl.outputs import check_folder, refuse_inputs, refuse_within
from videonl.runtime.device import device_of
from videonl.runtime.progress import progress_bar
from videonl.terminal import Console

logger = logging.getLogger(__name__)


def diagnose(
    checkpoint: Path,
    source: str,
    out: Path = Path("runs/diagnosis"),
    root: str | None = None,
    num_clips: int = 100,
    num_queries: int = 64,
    seed: int = 0,
    num_workers: int = 2,
    decoder: str = "auto",
    device: str = "auto",
    json: bool = False,
    trust_code: bool = False,
    classes: Path | None = None,
    columns: str | None = None,
    path_prefix: str | None = None,
) -> None:
    """Measures where each block attends and what accuracy loses without it; writes diagnosis.json, .csv, .png, .html.

    It takes the middle clip and crop of each video, as an evaluation with one view does. For clips of ``videonl synth``
    it also measures whether the probe attends to the cue.

    Args:
        checkpoint: A checkpoint, the folder of a run or of videonl share, converted weights, hf://user/name, or a
            published name such as kinetics400/i3d_r50; its clip format is used.
        source: The videos: a folder of class folders, a list, or one split of a list as clips.csv#val.
        out: Folder for the results.
        root: Folder that a relative source, and relative paths in it, are relative to.
        num_clips: Number of videos, one clip of each, evenly spaced in the list; all if there are fewer.
        num_queries: Number of random query positions in each clip.
        seed: Seed of these positions.
        num_workers: Processes that decode; 0 decodes in the main process.
        decoder: auto, pyav, decord or torchcodec.
        device: cpu, cuda, cuda:1; auto takes the GPU if there is one.
        json: Print one JSON object, that of diagnosis.json, instead of tables.
        trust_code: Run any code that the checkpoint names; only for files that you trust.
        classes: A file of the names that numeric labels of a list stand for; by default classes.txt beside it.
        columns: What the columns of a list are called: path=filename,label=class,split=fold,start=from,end=to.
        path_prefix: OLD=NEW: paths in a list that begin with OLD begin with NEW here.
    """
    check_decoder(decoder)
    require_at_least(2, num_queries=num_queries)
    require_at_least(1, num_clips=num_clips)
    require_at_least(0, MOST_WORKERS, num_workers=num_workers)
    require_at_least(0, MOST_SEED, seed=seed)
    check_folder(out)
    folder = where(root) if root else None
    videos_of = file_of_source(source, folder)
    refuse_inputs([out / name for name in WRITTEN], [weights_file(checkpoint), videos_of])
    refuse_within(out, [videos_of])
    trained = find_trained(checkpoint, trust_code=trust_code)
    if not trained.network.blocks:
        raise UserError(
            f"the network of {checkpoint} has no attention blocks, so there is nothing to diagnose; `videonl "
            "attention --evidence` shows class evidence for any network"
        )
    recognizer = Recognizer(trained.network.to(device_of(device)), ClipFormat(**trained.clip))
    keep_freed_memory_on(recognizer.device)
    several = trained.has_several_labels
    entries = read_source(source, folder, classes, columns=columns, path_prefix=path_prefix)
    videos = spread_out(assign(entries, trained.class_names, several), num_clips)
    gains = {name: block.gain() for name, block in trained.network.blocks.items()}
    average: Average = "sigmoid" if several else "softmax"
    diagnosis = Diagnosis(recognizer.network, recognizer.blocks, trained.class_names, num_queries, seed, gains, average)
    unreadable = {}
    with progress_bar("diagnosing") as progress, naming_shared_memory():
        for number, clip in enumerate(_clips(recognizer, videos, decoder, num_workers)):
            if isinstance(clip, Failure):
                logger.warning("skipped %s: %s", clip.path, clip.reason)
                unreadable[clip.path] = clip.reason
            else:
                diagnosis.add(clip)
            progress(number + 1, len(videos))
    if not diagnosis.scores:
        raise UserError(f"none of the {len(videos)} videos could be read")
    about = {
        "checkpoint": str(checkpoint),
        "videos": describe_source(source, root),
        **describe_network(trained.network),
        "clips": f"the middle one of each video, {recognizer.clip.describe()}",
        "queries": f"{num_queries} of each clip, seed {seed}",
        **today(),
    }
    _show(_report(diagnosis, about, unreadable), out, json)


def spread_out(videos: Sequence[Video], num_videos: int) -> list[Video]:
    """A number of videos, evenly spaced in the list, each file once."""
    distinct = list({str(video.path): video for video in videos}.values())
    num_videos = min(num_videos, len(distinct))
    return [distinct[place * len(distinct) // num_videos] for place in range(num_videos)]


def _clips(
    recognizer: Recognizer, videos: Sequence[Video], decoder: str, num_workers: int
) -> Iterator[DiagnosedClip | Failure]:
    clues = find_clues([video.path for video in videos if isinstance(video.path, Path)])
    loader = DataLoader(MiddleClips(videos, recognizer.clip, decoder), batch_size=None, **worker_options(num_workers))
    for number, (video, clip) in enumerate(zip(videos, loader, strict=True)):
        if isinstance(clip, Failure):
            yield clip
            continue
        yield DiagnosedClip(
            number,
            str(video.path),
            video.label,
            recognizer.inputs(clip.pixels[None]),
            clip.seconds,
            _clued(clues[video.path], clip) if video.path in clues else None,
        )


def _clued(clue: Clue, clip: LocatedClip) -> Clued | None:
    cue, probe = locate(clue.cue, clip), locate(clue.probe, clip)
    kinds = f"cue {SHAPES[clue.cue.shape]}", f"probe {SHAPES[clue.probe.shape]}"
    return Clued(kinds, cue, probe) if cue and probe else None


def _report(diagnosis: Diagnosis, about: Mapping[str, str], unreadable: Mapping[str, str]) -> DiagnosisReport:
    scores = diagnosis.scores
    with_class = [score for score in scores if score.labels]
    top1 = sum(score.prediction in score.labels for score in with_class) / max(1, len(with_class))
    blocks = list(diagnosis.blocks_diagnosed())
    return DiagnosisReport(about, len(scores), top1, blocks, diagnosis.all_off(), unreadable)


def _show(report: DiagnosisReport, out: Path, json: bool) -> None:
    written = write_report(out, report)
    if json:
        print(json_text.dumps(report.plain()))
        return
    console = Console()
    print_report(console, report)
    for path in written:
        console.print(str(path), soft_wrap=True, highlight=False, markup=False)
