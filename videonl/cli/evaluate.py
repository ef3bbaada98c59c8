"""``videonl evaluate``: the accuracy of a checkpoint on any videos, without a configuration."""

from pathlib import Path

from videonl.cli.refusals import require_at_least
from videonl.data.dataset import EvaluationVideos
from videonl.data.loader import Loading
from videonl.data.reading.decoding import check_decoder
from videonl.data.reading.url_path import where
from videonl.data.sources.labeled import file_of_source, read_source
from videonl.data.sources.labels import assign_known
from videonl.data.transforms import MOST_VIEWS, ClipFormat, Views, ViewTransform
from videonl.errors import MOST_SECONDS, MOST_WORKERS, UserError
from videonl.evaluation import Average, EvaluationRecord
from videonl.evaluation.about import describe_checkpoint, describe_network, describe_source, digest, today
from videonl.evaluation.report import NUM_MISTAKES, names_of, print_evaluation, require_readable, write_evaluation
from videonl.evaluation.unfinished import UnfinishedEvaluation
from videonl.evaluation.views import ONE_LABEL, SEVERAL_LABELS, average_for
from videonl.files import LOCK, locked
from videonl.inference import VIEWS_PER_STEP, Recognizer, score_videos
from videonl.inference.loading import find_trained
from videonl.models.execution import keep_freed_memory_on
from videonl.models.locating import weights_file
from videonl.outputs import check_folder, refuse_inputs, refuse_within
from videonl.profiling import require_clip
from videonl.runtime.device import device_of
from videonl.runtime.progress import progress_bar
from videonl.terminal import Console


def evaluate(
    checkpoint: Path,
    source: str,
    out: Path = Path("runs/evaluation"),
    root: str | None = None,
    num_clips: int = 10,
    num_crops: int | None = None,
    crop_px: int | None = None,
    fully_convolutional: bool = False,
    average: Average | None = None,
    views_per_step: int = VIEWS_PER_STEP,
    num_workers: int = 2,
    decoder: str = "auto",
    device: str = "auto",
    num_mistakes: int = NUM_MISTAKES,
    time_limit: float = Loading.time_limit_seconds,
    max_failed_share: float = 0,
    trust_code: bool = False,
    classes: Path | None = None,
    columns: str | None = None,
    path_prefix: str | None = None,
) -> None:
    """Scores num_clips x num_crops views of every video; writes evaluation.parquet, .html and _confusion.png.

    Repeat an interrupted command to resume it.

    Args:
        checkpoint: A checkpoint, the folder of a run or of videonl share, converted weights, hf://user/name, or a
            published name such as kinetics400/i3d_r50; its clip format is used.
        source: The videos: a folder of class folders, a list, or one split of a list as clips.csv#val. Those without a
            label, as in a folder of videos, or of another class than the network's, are scored and have no accuracy.
        out: Folder for the results.
        root: Folder that a relative source, and relative paths in it, are relative to.
        num_clips: Clips of each video, evenly spaced in time.
        num_crops: Square crops of each clip, evenly spaced along its longer side; 3 by default.
        crop_px: Side of the crops, where it is not that of the training.
        fully_convolutional: Score whole frames instead of crops.
        average: What is averaged over the views of a video, softmax or logits; of several labels sigmoid, or max for
            the largest one. By default the first.
        views_per_step: Most views scored in one forward pass.
        num_workers: Processes that decode; 0 decodes in the main process.
        decoder: auto, pyav, decord or torchcodec.
        device: cpu, cuda, cuda:1; auto takes the GPU where there is one.
        num_mistakes: How many of the worst mistakes the report shows.
        time_limit: Seconds that reading a clip may take in a process that decodes; then its video counts as
            unreadable. 0 sets no limit.
        max_failed_share: Share of the videos that may be unreadable; beyond it the exit code is 1. The results are
            written in any case.
        trust_code: Allow the checkpoint to run any code; only for files you trust.
        classes: A file of the names that numeric labels of a list stand for; by default classes.txt beside it.
        columns: What the columns of a list are called: path=filename,label=class,split=fold,start=from,end=to.
        path_prefix: OLD=NEW: paths in a list that begin with OLD begin with NEW here.
    """
    console = Console()
    check_decoder(decoder)
    require_at_least(1, MOST_VIEWS, num_clips=num_clips, num_crops=num_crops, views_per_step=views_per_step)
    require_at_least(0, num_mistakes=num_mistakes)
    require_at_least(0, MOST_WORKERS, num_workers=num_workers)
    require_at_least(0, MOST_SECONDS, time_limit=time_limit)
    if not 0 <= max_failed_share <= 1:
        raise UserError(f"--max_failed_share must be in [0, 1], got {max_failed_share}")
    check_folder(out)
    folder = where(root) if root else None
    videos_of = file_of_source(source, folder)
    paths = [out / name for name in ("evaluation.part", *names_of("evaluation"))]
    weights = weights_file(checkpoint)
    refuse_inputs(paths, [weights, videos_of])
    refuse_within(out, [videos_of])
    trained = find_trained(checkpoint, trust_code=trust_code)
    clip = ClipFormat(**trained.clip)
    if num_crops is None:
        num_crops = 1 if fully_convolutional else 3
    views = Views(num_clips, num_crops, crop_px, fully_convolutional)
    side_px = clip.short_side_px if fully_convolutional else crop_px or clip.crop_px
    require_clip(trained.network, (clip.num_frames, side_px, side_px))
    ViewTransform(clip, views)  # raises for crops that do not fit, now rather than in a worker
    several = trained.has_several_labels
    average = average_for(SEVERAL_LABELS if several else ONE_LABEL, average)
    entries = read_source(source, folder, classes, keep_unreadable=True, columns=columns, path_prefix=path_prefix)
    videos = assign_known(entries, trained.class_names, several)
    about = {
        "checkpoint": describe_checkpoint(checkpoint, weights),
        "videos": describe_source(source, root),
        **describe_network(trained.network),
        "views": views.describe(clip),
        "clip": clip.describe(),
        **({} if trained.threshold is None else {"threshold": f"{trained.threshold:.6g}"}),
    }
    asked = {"average": average, "about": about, "videos": digest(repr(videos).encode())}
    num_classes = len(trained.class_names) if several else None
    data = EvaluationVideos(videos, clip, views, decoder, time_limit or None, num_classes)
    recognizer = Recognizer(trained.network.to(device_of(device)), clip, views_per_step)
    keep_freed_memory_on(recognizer.device)
    with locked(out / LOCK, f"an evaluation is written to {out}"):
        with UnfinishedEvaluation(out / "evaluation.part", trained.class_names, asked) as unfinished:
            if unfinished.scores:
                console.print(f"resuming: {len(unfinished.scores)} of {len(videos)} videos are scored already")
            with progress_bar("scoring") as progress:
                scores, unreadable = score_videos(recognizer, average, data, unfinished, num_workers, progress)
        record = EvaluationRecord(trained.class_names, scores, about | today(), unreadable)
        written = write_evaluation(out, "evaluation", record, num_mistakes)
        unfinished.path.unlink()
    if not scores:
        raise UserError(f"none of the {len(videos)} videos could be read")
    if record.labeled:
        print_evaluation(console, record.labeled, len(unreadable), record.threshold)
    if num_unlabeled := sum(not score.is_labeled for score in scores):
        console.print(f"{num_unlabeled} of {len(scores)} videos have an unknown class: they are scored but not counted")
    for path in filter(Path.is_file, written):
        console.print(str(path), soft_wrap=True, highlight=False, markup=False)
    require_readable(unreadable, len(scores), max_failed_share)
