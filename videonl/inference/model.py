"""The front door: a trained network that is asked about files and frames."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from videonl.data.dataset import views_of
from videonl.data.located_clip import LocatedClip, middle_clip_of
from videonl.data.reading.array_reader import ArrayReader, Frames
from videonl.data.reading.video_reader import with_recount
from videonl.data.sources.videos import is_one_video
from videonl.data.transforms import ClipFormat, Views
from videonl.evaluation import Average, EvaluationRecord
from videonl.evaluation.several import THRESHOLD
from videonl.evaluation.views import ONE_LABEL, SEVERAL_LABELS, average_for
from videonl.inference.capture import Streaming
from videonl.inference.features import FeatureOptions, Features, features_of
from videonl.inference.layer import POOL, Pool
from videonl.inference.loading import Precision, dtype_of, find_trained
from videonl.inference.maps import Maps
from videonl.inference.predicting import Asked, predict_videos
from videonl.inference.prediction import Prediction
from videonl.inference.recognizer import VIEWS_PER_STEP, SharedRecognizer
from videonl.inference.seeing import attention_in, evidence_in, finite
from videonl.inference.stream import Stream
from videonl.inference.timeline import STRIDE_SECONDS, Timeline, timeline_of
from videonl.inference.videos import VideoLike, is_frames, name_of, open_any
from videonl.inference.windows import Last
from videonl.models.checkpoints import Trained
from videonl.runtime.device import device_of
from videonl.runtime.progress import progress_bar
from videonl.visualization import AttentionMap, EvidenceMap


def load(
    source: str | Path,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    batch_size: int | Literal["auto"] = "auto",
    classes: str | Path | Sequence[str] | None = None,
    trust_code: bool = False,
) -> "Model":
    """Loads a trained network to use it on videos.

    Nothing global changes: neither the number of threads, nor random states, nor the default dtype.

    Args:
        source: A checkpoint of ``videonl fit``, the folder of a run, weights that ``videonl convert`` wrote, a folder
            of ``videonl share``, ``hf://user/name`` on the Hugging Face Hub, or a published name such as
            ``kinetics400/i3d_r50``.
        device: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes the GPU where there is one.
        precision: ``float32``, ``bfloat16``, or ``float16`` on GPUs; ``auto`` is float32.
        batch_size: Most views in one forward pass; ``auto`` is 8, as in ``videonl evaluate``.
        classes: Names for the classes, where the file has none: a list, a file, or a published list such as
            ``kinetics400``.
        trust_code: Let the file name any code as its network, which is run; say so for your own files.

    Returns:
        The model, whose methods may be called from several threads.

    Raises:
        UserError: There is no such network, device or precision.
    """
    trained = find_trained(source, classes, trust_code)
    return Model(trained, device, precision, VIEWS_PER_STEP if batch_size == "auto" else batch_size)


class Model:
    """A trained network and what it needs to be used: it answers as every command does.

    Args:
        trained: The network, its classes and its clip format.
        device: Where it runs.
        precision: What it computes in.
        views_per_step: Most views in one forward pass; the last bit of the logits may depend on it.

    Attributes:
        network: The classifier as it was trained, in eval mode on its device; it takes what :meth:`preprocess` returns.
        recognizer: What scores clips, with batch norms folded into the convolutions before them.
        class_names: Names in the order of the logits.
        source: What it was loaded from.
        threshold: Of several labels, the probability from which a class counts as predicted, as the validation videos
            of its training chose it.

    Raises:
        UserError: There is no such device or precision, or the file does not tell the clip format.
    """

    def __init__(
        self,
        trained: Trained,
        device: str = "auto",
        precision: Precision = "auto",
        views_per_step: int = VIEWS_PER_STEP,
    ) -> None:
        where = device_of(device)
        dtype = dtype_of(precision, where)
        self.recognizer = SharedRecognizer(trained.network.to(where), ClipFormat(**trained.clip), views_per_step)
        self.recognizer.network.to(dtype)  # folded in float32, which loses less
        self.network: nn.Module = trained.network.to(dtype)
        self.class_names = trained.class_names
        self.source = trained.source
        self.threshold = trained.threshold
        self._averages = SEVERAL_LABELS if trained.has_several_labels else ONE_LABEL

    @property
    def clip(self) -> ClipFormat:
        """What the network expects of a clip."""
        return self.recognizer.clip

    def __repr__(self) -> str:
        settings = getattr(self.network, "settings", {})
        classes = f"{len(self.class_names)} classes"
        return f"Model({settings.get('backbone')} from {self.source}: {classes}, {self.clip.describe()})"

    def predict(
        self,
        video: Any,
        *,
        num_clips: int = 10,
        num_crops: int = 3,
        average: Average | None = None,
        decoder: str = "auto",
        fps: float | None = None,
        out: str | Path | None = None,
        num_workers: int = 0,
        progress: bool = True,
    ) -> Any:
        """Predicts the class of videos, averaged over views of each.

        Args:
            video: A video file, a folder of frames, or decoded frames, uint8 RGB (T, H, W, 3); or several videos: a
                list of such, a folder, a pattern, a list file, an index.
            num_clips: Clips, evenly spaced in time.
            num_crops: Crops of each clip, evenly spaced along its longer side.
            average: What is averaged over the views: ``softmax`` or ``logits``; of several labels ``sigmoid``, or
                ``max`` for the largest one.
            decoder: ``auto``, ``pyav``, ``decord`` or ``torchcodec``.
            fps: Of decoded frames, which matters for networks whose clips are in seconds.
            out: For several videos: the file to write, ``.parquet``, ``.csv`` or ``.json``. Interrupted, the same call
                goes on where it stopped.
            num_workers: For several videos: processes that decode; 0 decodes in a thread of this process. Processes
                need a script that guards its main part, as those of PyTorch's ``DataLoader`` do.
            progress: For several videos: show a bar, or lines where there is no terminal, on stderr.

        Returns:
            A :class:`Prediction` of a single video. Of several, :class:`Predictions`: a video that cannot be read has
            a reason there instead.

        Raises:
            UserError: A source is missing or malformed, an option has no such value, or scores are not finite.
            DecodingError: The single video cannot be read.
        """
        views, average = Views(num_clips, num_crops), average_for(self._averages, average)
        if isinstance(video, str | Path) and not is_one_video(str(video)):
            video = [video]
        if isinstance(video, list | tuple) and not is_frames(video):
            sources = [str(each) for each in video]
            asked = Asked(sources, views, average, decoder, num_workers, threshold=self.threshold)
            return predict_videos(self.recognizer, self.class_names, asked, out, progress)
        with open_any(video, decoder, fps) as reader:
            clips = views_of(reader, self.clip, views)
        name, logits = name_of(video), self.recognizer.logits(clips)
        threshold = self.threshold or THRESHOLD
        numbers = tuple(views.numbers)
        return Prediction(name, self.class_names, finite(logits, name), numbers, average, threshold=threshold)

    def evaluate(
        self,
        source: str,
        *,
        num_clips: int = 10,
        num_crops: int = 3,
        average: Average | None = None,
        decoder: str = "auto",
        num_workers: int = 0,
        progress: bool = True,
    ) -> EvaluationRecord:
        """Scores labeled videos.

        Args:
            source: A folder of class folders, a list, an index, or one split of these as ``clips.csv#val``.
            num_clips: As for :meth:`predict`, and so are all others.
            num_crops: Crops of each clip.
            average: What is averaged over the views.
            decoder: Who decodes.
            num_workers: Processes that decode.
            progress: Whether to show it.

        Returns:
            The record of ``videonl evaluate``, whose ``accuracies`` say how often the network is right.
        """
        average, views = average_for(self._averages, average), Views(num_clips, num_crops)
        asked = Asked([source], views, average, decoder, num_workers, threshold=self.threshold)
        return predict_videos(self.recognizer, self.class_names, asked, None, progress).record

    def stream(
        self,
        source: int | str | Path,
        stride_seconds: float = 0.5,
        *,
        realtime: bool = True,
        follow: bool = False,
        partial: bool = False,
        reconnect: bool = True,
        time_limit_seconds: float | None = 30,
        options: Mapping[str, str] | None = None,
    ) -> Stream:
        """Predicts the newest clip of a stream, over and over; it never queues more than one.

        The first prediction comes when the frames reach over a whole clip. After a gap, such as a lost connection, it
        is the same again.

        Args:
            source: The index of a camera, a device, ``rtsp://`` and other addresses, a file, a named pipe, or ``-`` for
                standard input.
            stride_seconds: From one clip to the next. Where the network takes longer, clips are skipped and counted.
            realtime: Read a file at the pace of its timestamps. ``False`` reads it as fast as the network follows, and
                skips nothing; a pipe and a download then wait, too.
            follow: The file is still being written. It ends when nothing was added for the time limit.
            partial: Predict from the first frame on, which stands for those before it.
            reconnect: Open a camera or an address again after a fault, in 1, 2, 4 and at most 30 s.
            time_limit_seconds: How long the source may give nothing, which then is a fault; ``None`` for ever.
            options: FFmpeg's own, such as ``{"framerate": "30"}`` of a camera.

        Returns:
            An iterator over :class:`StreamPrediction`, which a ``with`` block closes.

        Raises:
            UserError: There is no such source, or the network does not take clips of consecutive frames.
        """
        streaming = Streaming(
            stride_seconds, realtime, follow, partial, reconnect, time_limit_seconds, dict(options or {})
        )
        return Stream(self.recognizer, self.class_names, source, streaming, self._averages[0])

    def timeline(
        self,
        video: VideoLike,
        *,
        stride_seconds: float = STRIDE_SECONDS,
        num_crops: int = 1,
        average: Average | None = None,
        decoder: str = "auto",
        fps: float | None = None,
        progress: bool = True,
    ) -> Timeline:
        """What happens when in a long video: the probabilities of every class, window by window.

        Args:
            video: A video file, a folder of frames, or decoded frames.
            stride_seconds: Time from the start of a window to the next.
            num_crops: Crops of each window, evenly spaced along its longer side.
            average: What is averaged over the crops, as for :meth:`predict`.
            decoder: Who decodes a file.
            fps: Of decoded frames.
            progress: Show a bar, or lines where there is no terminal, on stderr.

        Raises:
            UserError: The network's clips are not dense, or the video is shorter than one.
            DecodingError: The video cannot be read.
        """
        with progress_bar("scoring windows") if progress else nullcontext() as told:
            return timeline_of(
                self.recognizer,
                self.class_names,
                video,
                stride_seconds=stride_seconds,
                num_crops=num_crops,
                average=average_for(self._averages, average),
                decoder=decoder,
                fps=fps,
                progress=told,
            )

    def attention(
        self,
        video: VideoLike,
        query: tuple[int, int, int] | None = None,
        *,
        decoder: str = "auto",
        fps: float | None = None,
    ) -> Maps[AttentionMap]:
        """What each inserted block attends to in the middle clip of a video.

        Args:
            video: A video file, a folder of frames, or decoded frames.
            query: The position that asks: frame of the clip, y and x in pixels of the crop. By default, for each block
                the position whose features it changed the most.
            decoder: Who decodes a file.
            fps: Of decoded frames.

        Raises:
            UserError: The network has no block with attention to show, or the query lies outside of the clip.
            DecodingError: The video cannot be read.
        """
        clip = self._middle_clip(video, decoder, fps)
        return attention_in(self.recognizer, self.class_names, clip, name_of(video), query)

    def evidence(
        self,
        video: VideoLike,
        *classes: str,
        layer: str | None = None,
        decoder: str = "auto",
        fps: float | None = None,
    ) -> Maps[EvidenceMap]:
        """Which places of the middle clip of a video speak for some classes, by Grad-CAM.

        Args:
            video: A video file, a folder of frames, or decoded frames.
            classes: Names of classes; none means the predicted one.
            layer: Whose output is weighed: a stage (``res4``), a residual (``res4.3``) or a module path; by default the
                last stage.
            decoder: Who decodes a file.
            fps: Of decoded frames.

        Raises:
            UserError: There is no such class or layer.
            DecodingError: The video cannot be read.
        """
        clip = self._middle_clip(video, decoder, fps)
        return evidence_in(self.recognizer, self.class_names, clip, name_of(video), classes, layer)

    def features(
        self,
        video: VideoLike,
        *,
        window_frames: int | None = None,
        stride_frames: int | None = None,
        layer: str = POOL,
        pool: Pool = "mean",
        last: Last = "repeat",
        centered: bool = False,
        crops: int = 1,
        decoder: str = "auto",
        fps: float | None = None,
    ) -> Features:
        """Features of the windows of a video, which is decoded once however much they overlap.

        Args:
            video: A video file, a folder of frames, or decoded frames.
            window_frames: Frames of a window, as far apart as in :attr:`clip`; by default as many as it has.
            stride_frames: From the start of a window to the next, in frames of the video; by default windows adjoin.
            layer: ``pool`` is what the linear head sees; or a stage (``res4``), a residual (``res4.3``), a module path.
            pool: ``mean`` averages a layer over time and space, ``none`` keeps its (C, T, H, W).
            last: ``repeat`` completes the last window by repeating the last frame, ``drop`` leaves it out.
            centered: One window about every ``stride_frames``-th frame, from frame 0 on; edges are repeated.
            crops: 1 takes the center, 3 are along the longer side, 10 are corners and center, also mirrored.
            decoder: Who decodes a file.
            fps: Of decoded frames.

        Returns:
            The features, float32 (windows, D), with the times of the windows.

        Raises:
            UserError: There is no such layer, an option has no such value, or no window fits.
            DecodingError: The video cannot be read.
        """
        options = FeatureOptions(window_frames, stride_frames, layer, pool, last, centered, crops)
        with open_any(video, decoder, fps) as reader:
            return with_recount(lambda: features_of(self.recognizer, reader, options))

    def preprocess(self, frames: Frames | Sequence[Frames], *, num_clips: int = 1, num_crops: int = 1) -> Tensor:
        """Decoded frames as the network was trained on them: sampled, resized, cropped, normalized.

        Args:
            frames: uint8 RGB (T, H, W, 3), an array of numpy or a tensor.
            num_clips: Clips, evenly spaced in time; a single one is centered.
            num_crops: Crops of each clip; a single one is centered.

        Returns:
            (V, 3, T, H, W) on the model's device, which :attr:`network` takes.
        """
        return self.recognizer.inputs(views_of(ArrayReader(frames), self.clip, Views(num_clips, num_crops)))

    def _middle_clip(self, video: VideoLike, decoder: str, fps: float | None) -> LocatedClip:
        with open_any(video, decoder, fps) as reader:
            return middle_clip_of(reader, self.clip)
