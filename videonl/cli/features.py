"""``videonl features SOURCE... --checkpoint CKPT``: what a layer makes of the windows of videos."""

from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from videonl import __version__
from videonl.cli.configuration import expand
from videonl.cli.parsing import Parser
from videonl.cli.predict import split_sources
from videonl.cli.refusals import require_at_least, require_video
from videonl.cli.together import own_device, together
from videonl.data.reading.decoding import check_decoder
from videonl.data.sources.videos import files_read, read_videos
from videonl.errors import MOST_SECONDS, IncompleteError, UserError
from videonl.inference import Model
from videonl.inference.feature_files import FeatureFormat, require_format
from videonl.inference.feature_folder import ABOUT, VIDEOS, Written, about_network, write_features
from videonl.inference.features import FeatureOptions
from videonl.inference.layer import POOL, Pool
from videonl.inference.loading import Precision, find_trained
from videonl.inference.videos import FRAME_SECONDS
from videonl.inference.windows import Last
from videonl.models.execution import keep_freed_memory_on
from videonl.models.locating import weights_file
from videonl.outputs import check_folder, refuse_inputs
from videonl.runtime.progress import progress_bar
from videonl.runtime.ranks import ALONE, Ranks
from videonl.terminal import Console

_USAGE = "videonl features SOURCE... --checkpoint CKPT [options]"


def parse(words: list[str]) -> None:
    """Runs a command line, in which sources stand anywhere; one of several processes does its share."""
    with together() as ranks:
        _run(words, ranks)


def _run(words: list[str], ranks: Ranks) -> None:
    parser = Parser(prog="videonl features", usage=_USAGE)
    parser.add_argument("--config", action="config", help="A file of these options.")
    parser.add_function_arguments(features, skip={"source", "ranks"})
    sources, options = split_sources(words, ("--trust_code", "--centered"))
    given = parser.parse_args(expand(options, lambda path, content: None))
    if not sources:
        raise UserError(f"name a video, a folder, a list or a pattern: {_USAGE}")
    options_given = {name: value for name, value in given.as_dict().items() if name != "config"}
    features(sources, **options_given, ranks=ranks)


def features(
    source: list[str],
    checkpoint: Path,
    out: Path = Path("features"),
    window_frames: int | None = None,
    stride_frames: int | None = None,
    layer: str = POOL,
    pool: Pool = "mean",
    last: Last = "repeat",
    centered: bool = False,
    crops: Literal[1, 3, 10] = 1,
    format: FeatureFormat = "npy",
    decoder: str = "auto",
    device: str = "auto",
    precision: Precision = "auto",
    trust_code: bool = False,
    columns: str | None = None,
    path_prefix: str | None = None,
    time_limit: float = FRAME_SECONDS,
    ranks: Ranks = ALONE,
) -> None:
    """Writes features of the windows of videos, one file for each video, named after it.

    Repeat an interrupted command to resume it.

    Args:
        source: Video files, folders of frames, folders of videos, their URLs, patterns, lists, indexes.
        checkpoint: A checkpoint of videonl fit, the folder of a run, converted weights, or a published name such as
            kinetics400/i3d_r50.
        out: The folder to write. Its features.json says what the features are of, videos.csv which file is whose.
        window_frames: Frames of a window, as far apart as in the clips that the network was trained on; by default as
            many as these have.
        stride_frames: From the start of a window to the next, in frames of the video; by default windows adjoin.
        layer: pool is what the linear head sees; or a stage (res4), a residual (res4.3), a module path.
        pool: mean averages a layer over time and space, none keeps its (C, T, H, W).
        last: repeat completes the last window by repeating the last frame, drop leaves it out.
        centered: One window about every stride_frames-th frame, from frame 0 on; edges are repeated.
        crops: 1 takes the center, 3 are along the longer side, 10 are corners and center, also mirrored.
        format: npy (with NAME.times.csv), npz, parquet, or hdf5, which needs h5py.
        decoder: auto, pyav, decord or torchcodec.
        device: cpu, cuda, cuda:1; auto takes the GPU where there is one.
        precision: float32, bfloat16, or float16 on a GPU; auto is float32.
        trust_code: Allow the checkpoint to run any code; only for files you trust.
        columns: What the columns of a list are called: path=filename,label=class,split=fold,start=from,end=to.
        path_prefix: OLD=NEW: paths in a list that begin with OLD begin with NEW here.
        time_limit: Seconds that opening a video, which lists its frames, or decoding the next frame may take; then its
            process is ended, and the video has no features. 0 sets no limit, and decodes in the main process.
        ranks: The processes that share the videos.
    """
    require_format(format)
    check_decoder(decoder)
    check_folder(out)
    require_at_least(0, MOST_SECONDS, time_limit=time_limit)
    options = FeatureOptions(window_frames, stride_frames, layer, pool, last, centered, crops)
    refuse_inputs([out / name for name in (ABOUT, VIDEOS)], [weights_file(checkpoint), *files_read(source)])
    entries = read_videos([require_video(name) for name in source], columns, path_prefix)
    model = Model(find_trained(checkpoint, None, trust_code), own_device(device, ranks), precision)
    recognizer, weights = model.recognizer, model.source
    keep_freed_memory_on(recognizer.device)
    del model  # the network as it was trained, which is another copy of the weights
    about = {"videonl": __version__, **about_network(recognizer, weights), "precision": precision}
    with progress_bar("features") if ranks.is_first else nullcontext(lambda done, total: None) as progress:
        written = write_features(
            recognizer, entries, out, options, about, format, decoder, progress, time_limit or None, ranks
        )
    if not ranks.is_first:
        return
    good = sum(not each.reason for each in written)
    Console().print(
        f"{out}: features of {good} of {len(written)} videos", soft_wrap=True, markup=False, highlight=False
    )
    _require_all(written)


def _require_all(written: list[Written]) -> None:
    """Says which videos have no features, if any.

    Raises:
        UserError: The only one has none.
        IncompleteError: Some have none.
    """
    failed = [each for each in written if each.reason]
    if failed and len(written) == 1:
        raise UserError(failed[0].reason)
    if failed:
        listed = "\n".join(
            f"  {each.reason if each.video in each.reason else f'{each.video}: {each.reason}'}" for each in failed
        )
        raise IncompleteError(f"{len(failed)} of {len(written)} videos have no features:\n{listed}")
