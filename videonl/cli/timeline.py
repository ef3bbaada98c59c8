"""``videonl timeline VIDEO --checkpoint CKPT --out match.html``: what happens when in a long video."""

from pathlib import Path

from videonl.cli.configuration import expand
from videonl.cli.parsing import Parser
from videonl.cli.progress import status
from videonl.cli.refusals import require_at_least, require_video
from videonl.data.transforms import MOST_VIEWS
from videonl.errors import MOST_SECONDS, UserError, require_within
from videonl.evaluation import Average
from videonl.evaluation.views import ONE_LABEL, SEVERAL_LABELS, average_for
from videonl.inference import Model
from videonl.inference.loading import Precision, find_trained
from videonl.inference.timeline import STRIDE_SECONDS, Timeline, timeline_of
from videonl.inference.videos import FRAME_SECONDS
from videonl.models.execution import keep_freed_memory_on
from videonl.outputs import check_file
from videonl.runtime.progress import progress_bar
from videonl.terminal import Console, printable
from videonl.visualization.timeline import SUFFIXES, THRESHOLD, check_suffix, copy_beside


def parse(words: list[str]) -> None:
    """Runs a command line: only the video is positional."""
    about = "Scores windows all along a video, and writes what happens when."
    parser = Parser(prog="videonl timeline", description=about)
    parser.add_argument("video", type=str, help="A video file or its URL, or a folder of frames.")
    parser.add_argument("--config", action="config", help="A file of these options.")
    what = f"What to write, by its suffix: {', '.join(SUFFIXES)}. May be given several times."
    parser.add_argument("--out", type=list[Path], required=True, help=what)
    parser.add_function_arguments(timeline, skip={"video", "out"})
    given = parser.parse_args(expand(_one_word_each(words), lambda path, content: None)).as_dict()
    timeline(given.pop("video"), given.pop("out"), **{name: given[name] for name in given if name != "config"})


def _one_word_each(words: list[str]) -> list[str]:
    """Keeps ``--out``, as a list, from taking the video that may follow its word.

    >>> _one_word_each(["--out", "a.html", "match.mp4"])
    ['--out=a.html', 'match.mp4']
    """
    spelled: list[str] = []
    for word in words:
        if spelled[-1:] == ["--out"] and not word.startswith("--"):
            spelled[-1] = f"--out={word}"
        else:
            spelled.append(word)
    return spelled


def timeline(
    video: str,
    out: list[Path],
    checkpoint: Path,
    stride_seconds: float = STRIDE_SECONDS,
    threshold: float = THRESHOLD,
    min_seconds: float = 0.0,
    num_crops: int = 1,
    average: Average | None = None,
    embed: bool = False,
    classes: str | None = None,
    batch_size: int | None = None,
    decoder: str = "auto",
    device: str = "auto",
    precision: Precision = "auto",
    trust_code: bool = False,
    time_limit: float = FRAME_SECONDS,
) -> None:
    """Scores windows all along a video, and writes the probabilities and the segments of one class.

    Args:
        video: A video file or its URL, or a folder of frames.
        out: What to write, by its suffix: a page (.html), the segments (.csv), everything (.json), subtitles (.srt,
            .vtt), or the video with the classes drawn into it (.mp4).
        checkpoint: A checkpoint of videonl fit, the folder of a run, converted weights, or a published name such as
            kinetics400/i3d_r50. Its clips must be dense.
        stride_seconds: Time from the start of a window to the next.
        threshold: Least probability of the most probable class in a segment.
        min_seconds: Shorter segments are dropped.
        num_crops: Crops of each window, evenly spaced along its longer side.
        average: What is averaged over the crops, softmax or logits; of several labels sigmoid, or max for the largest
            one. By default the first.
        embed: Put the video into the page; by default the page plays the file from its place.
        classes: Names of the classes where the checkpoint has none: a file with one name per line, or kinetics400,
            kinetics600, kinetics700.
        batch_size: Windows in one forward pass; by default 1 on a CPU, and as many as make 8 views on a GPU.
        decoder: auto, pyav, decord or torchcodec.
        device: cpu, cuda, cuda:1; auto takes the GPU where there is one.
        precision: float32, bfloat16, or float16 on a GPU; auto is float32.
        trust_code: Allow the checkpoint to run any code; only for files you trust.
        time_limit: Seconds that opening the video, which lists its frames, or decoding the next frame may take. 0 sets
            no limit, and decodes in the main process.
    """
    require_at_least(1, MOST_VIEWS, num_crops=num_crops)
    require_at_least(1, batch_size=batch_size)
    require_at_least(0, MOST_SECONDS, time_limit=time_limit)
    require_within(0, 1, **{"--threshold": threshold})
    require_within(0, **{"--min-seconds": min_seconds})
    _check_outputs(out, [Path(require_video(video)), checkpoint])
    trained = find_trained(checkpoint, classes, trust_code)
    average = average_for(SEVERAL_LABELS if trained.has_several_labels else ONE_LABEL, average)
    model = Model(trained, device, precision)
    recognizer, class_names = model.recognizer, model.class_names
    keep_freed_memory_on(recognizer.device)
    del model, trained  # the network as it was trained, which is another copy of the weights
    with progress_bar("scoring windows") as progress:
        found = timeline_of(
            recognizer,
            class_names,
            video,
            stride_seconds=stride_seconds,
            num_crops=num_crops,
            average=average,
            decoder=decoder,
            batch_size=batch_size,
            progress=progress,
            time_limit_seconds=time_limit or None,
        )
    _write(found, out, threshold, min_seconds, embed)


def _check_outputs(out: list[Path], inputs: list[Path]) -> None:
    """Refuses what cannot be written, before any work is done."""
    for path in out:
        check_suffix(path)
        check_file(path, inputs)
    written = [*out, *(copy_beside(path) for path in out if path.suffix.lower() == ".html")]
    for place, path in enumerate(written):
        if path in written[:place]:
            raise UserError(f"{path} would be written twice; give each --out a name of its own")


def _write(found: Timeline, out: list[Path], threshold: float, min_seconds: float, embed: bool) -> None:
    console = Console()
    num_segments = len(found.segments(threshold, min_seconds))
    counts = ", ".join(_counted(*each) for each in ((len(found), "window"), (num_segments, "segment")))
    _say(console, f"{printable(found.video)}: {counts}")
    for path in out:
        with status(f"writing {path.name}"):
            written, *copies = found.save(path, threshold, min_seconds, embed)
        _say(console, str(written))
        for copy in copies:
            _say(console, f"{copy}: a small copy that browsers can play; keep it beside the page")


def _counted(number: int, what: str) -> str:
    """How many there are.

    >>> _counted(1, "segment"), _counted(0, "window")
    ('1 segment', '0 windows')
    """
    return f"{number} {what}{'s' * (number != 1)}"


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)
