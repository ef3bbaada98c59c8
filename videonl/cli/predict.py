"""``videonl predict SOURCE... --checkpoint CKPT``: the best classes of videos."""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from videonl.cli.configuration import expand
from videonl.cli.parsing import Parser
from videonl.cli.refusals import require_at_least, require_video
from videonl.cli.together import own_device, together
from videonl.data.loader import Loading
from videonl.data.reading.shard_member import is_url
from videonl.data.sources.videos import files_read, read_videos
from videonl.data.transforms import MOST_VIEWS, Views
from videonl.errors import MOST_SECONDS, MOST_WORKERS, IncompleteError, UserError
from videonl.evaluation import Average
from videonl.evaluation.views import ONE_LABEL, SEVERAL_LABELS, average_for
from videonl.inference import VIEWS_PER_STEP, Model, Prediction, Predictions
from videonl.inference.loading import Precision, find_trained
from videonl.inference.predicting import Asked, predict_videos
from videonl.inference.predictions import format_of
from videonl.models.execution import keep_freed_memory_on
from videonl.models.locating import weights_file
from videonl.outputs import check_file, refuse_within
from videonl.runtime.ranks import ALONE, Ranks
from videonl.runtime.time_limit import TimeLimited
from videonl.terminal import Console, printable

_FEW = 8  # videos, which one process reads before a second would have started; each has a table of its own
_HELP = ("-h", "--help")


def parse(words: list[str]) -> None:
    """Runs a command line, in which sources stand anywhere: the parser's own would have to stand together.

    One of several processes does its share.
    """
    with together() as ranks:
        _run(words, ranks)


def _run(words: list[str], ranks: Ranks) -> None:
    parser = Parser(prog="videonl predict", usage="videonl predict SOURCE... --checkpoint CKPT [options]")
    parser.add_argument("--config", action="config", help="A file of these options.")
    parser.add_function_arguments(predict, skip={"source", "ranks"})
    sources, options = split_sources(words)
    given = parser.parse_args(expand(options, lambda path, content: None))
    if not sources:
        raise UserError("name a video, a folder, a list or a pattern: videonl predict SOURCE... --checkpoint CKPT")
    options_given = {name: value for name, value in given.as_dict().items() if name != "config"}
    predict(sources, **options_given, ranks=ranks)


def split_sources(words: Sequence[str], switches: Sequence[str] = ("--trust_code",)) -> tuple[list[str], list[str]]:
    """The sources, and the options, of which ``switches`` need no value.

    >>> split_sources(["a.mp4", "--top", "3", "b.mp4", "--trust_code", "--video", "c.mp4", "d.mp4"])
    (['a.mp4', 'b.mp4', 'c.mp4', 'd.mp4'], ['--top', '3', '--trust_code'])
    """
    sources: list[str] = []
    options: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name == "--video":  # as version 0.1 had them
            sources += [value] if equals else []
            if not equals and (not rest or rest[0].startswith("--")):
                sources.append("")
        elif not word.startswith("-"):
            sources.append(word)
        elif equals or name in (*switches, *_HELP) or not rest:
            options.append(word)
            if not equals and name in switches and rest and rest[0].lower() in ("true", "false"):
                options.append(rest.pop(0))
        else:
            options += [word, rest.pop(0)]
    return sources, options


def predict(
    source: list[str],
    checkpoint: Path,
    out: Path | None = None,
    top: int = 5,
    num_clips: int = 10,
    num_crops: int = 3,
    average: Average | None = None,
    classes: str | None = None,
    views_per_step: int = VIEWS_PER_STEP,
    num_workers: int | None = None,
    decoder: str = "auto",
    device: str = "auto",
    precision: Precision = "auto",
    time_limit: float = Loading.time_limit_seconds,
    trust_code: bool = False,
    columns: str | None = None,
    path_prefix: str | None = None,
    ranks: Ranks = ALONE,
) -> None:
    """Prints the most probable classes of videos, averaged over the views of each, or writes them to a file.

    Args:
        source: Video files, folders of frames, folders of videos, their URLs, patterns, lists, indexes.
        checkpoint: A checkpoint, the folder of a run or of videonl share, converted weights, hf://user/name, or a
            published name such as kinetics400/i3d_r50.
        out: The file to write: .csv and .json hold the best classes, .parquet every view. Interrupted, the command goes
            on where it stopped when it is given again.
        top: How many classes to print, and to write to .csv and .json.
        num_clips: Clips, evenly spaced in time.
        num_crops: Crops of each clip, evenly spaced along its longer side.
        average: What is averaged over the views of a video, softmax or logits; of several labels sigmoid, or max for
            the largest one. By default the first.
        classes: Names of the classes where the checkpoint has none: a file with one name per line, or kinetics400,
            kinetics600, kinetics700.
        views_per_step: Most views scored in one forward pass.
        num_workers: Processes that decode; by default 1 for a few videos, else 2. 0 decodes in the main process without
            a time limit; so do a few videos outside of Linux, or with no limit.
        decoder: auto, pyav, decord or torchcodec.
        device: cpu, cuda, cuda:1; auto takes the GPU where there is one.
        precision: float32, bfloat16, or float16 on a GPU; auto is float32.
        time_limit: Seconds that reading a clip may take in a process that decodes. 0 sets no limit.
        trust_code: Allow the checkpoint to run any code; only for files you trust.
        columns: What the columns of a list are called: path=filename,label=class,split=fold,start=from,end=to.
        path_prefix: OLD=NEW: paths in a list that begin with OLD begin with NEW here.
        ranks: The processes that share the videos.
    """
    require_at_least(1, top=top)
    require_at_least(1, MOST_VIEWS, num_clips=num_clips, num_crops=num_crops, views_per_step=views_per_step)
    require_at_least(0, MOST_WORKERS, num_workers=num_workers)
    require_at_least(0, MOST_SECONDS, time_limit=time_limit)
    if out is None and ranks.world_size > 1:
        raise UserError(f"{ranks.world_size} processes cannot print their predictions; write them to a file by --out")
    if out is not None:
        format_of(out)
        check_file(out, [weights_file(checkpoint), *files_read(source)])
    sources = [require_video(name) for name in source]
    if out is not None:
        refuse_within(out.parent, [Path(name) for name in sources if not is_url(name)])
    many = len(read_videos(sources, columns, path_prefix)) > _FEW
    limit = time_limit or None
    few_workers = int(limit is not None and TimeLimited.is_available())
    workers = (2 if many else few_workers) if num_workers is None else num_workers
    trained = find_trained(checkpoint, classes, trust_code)
    model = Model(trained, own_device(device, ranks), precision, views_per_step)
    keep_freed_memory_on(model.recognizer.device)
    average = average_for(SEVERAL_LABELS if trained.has_several_labels else ONE_LABEL, average)
    views = Views(num_clips, num_crops)
    asked = Asked(sources, views, average, decoder, workers, limit, trained.threshold, columns, path_prefix)
    console = Console()
    predictions = predict_videos(model.recognizer, model.class_names, asked, out, top=top, ranks=ranks)
    if not ranks.is_first:
        return
    scored = asked.views.describe(model.clip)
    if out is not None:
        _say(console, f"{out}: {len(predictions)} videos, {scored}")
    elif many:
        console.print(_overview(predictions, scored))
    else:
        for prediction in predictions:
            console.print(_table(prediction, scored, top))
    if len(predictions) and not trained.are_classes_named:
        _say(console, "the checkpoint does not name its classes; --classes FILE does, or --classes kinetics400")
    _require_all(predictions)


def _require_all(predictions: Predictions) -> None:
    """Says which videos could not be read, if any.

    Raises:
        UserError: The only one could not.
        IncompleteError: Some could not.
    """
    unreadable = predictions.unreadable
    if not unreadable:
        return
    listed = "\n".join(f"  {path}: {reason}" for path, reason in unreadable.items())
    if len(predictions.names) == 1:
        raise UserError(listed.strip())
    raise IncompleteError(f"{len(unreadable)} of {len(predictions.names)} videos could not be read:\n{listed}")


def _table(prediction: Prediction, scored: str, top: int) -> Table:
    table = Table(title=f"{escape(printable(Path(prediction.video).name))}: {scored}")
    table.add_column("class")
    table.add_column("probability", justify="right")
    for name, probability in prediction.top(top):
        table.add_row(escape(name), f"{100 * probability:.2f} %")
    return table


def _overview(predictions: Predictions, scored: str) -> Table:
    table = Table(title=f"{len(predictions)} videos: {scored}")
    for column in ("video", "class"):
        table.add_column(column, overflow="fold")
    table.add_column("probability", justify="right")
    for prediction in predictions:
        cells = (escape(printable(prediction.video)), escape(prediction.label))
        table.add_row(*cells, f"{100 * prediction.probability:.2f} %")
    return table


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)
