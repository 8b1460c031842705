"""Videos: frames in with their times and rotation, MP4 (H.264) out with the sound kept, by PyAV."""

import contextlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image
from torch import Tensor

from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.media.image import to_uint8
from likeness.media.synthetic import SYNTHETIC_NOTE

MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
"""Audio codecs that are copied into an MP4 as they are; others are encoded as AAC."""

TIME_BASE = Fraction(1, 90000)


@dataclass(frozen=True)
class Frame:
    """One frame as it should be seen: rotation applied, pixels square."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    index: int
    """Number of the frame in the file, from 0."""
    time: float
    """Seconds since the first frame of the file; not even where the frame rate varies."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header says of its pictures."""

    size: tuple[int, int]
    """(height, width) as seen: after rotation, with square pixels."""
    rate: Fraction
    """Mean frames a second."""
    frames: int
    """Frames stated or estimated by the header; `count_frames` counts them."""
    duration: float
    """Seconds."""
    has_audio: bool


def probe(path: str | Path) -> VideoInfo:
    """Read the header of a video and its first frame.

    Raises:
        UserError: missing, empty or damaged file, or one without pictures.
    """
    with _opened(path) as (container, stream):
        duration = float(stream.duration * stream.time_base) if stream.duration else 0.0
        if not duration and container.duration:
            duration = container.duration / av.time_base
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        has_audio = bool(container.streams.audio)
        frames = stream.frames or round(duration * rate)
    first = next(read_frames(path))
    return VideoInfo(first.image.shape[:2], rate, frames, duration or frames / float(rate), has_audio)


def read_frames(path: str | Path, step: int = 1, start: int = 0) -> Iterator[Frame]:
    """Yield frames number `start`, `start` + `step`, ... of a video, one in memory at a time.

    Args:
        path: a file, or `webcam:N` for the N-th camera of this machine (endless).
        step: frames between are decoded but not converted.
        start: the same holds for frames before this one.

    Raises:
        UserError: missing, empty or damaged file, or one without pictures, at the moment this is found.
    """
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        origin: float | None = None
        index = 0
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        try:
            for frame in container.decode(stream):
                time = frame.time if frame.time is not None else index / rate
                origin = time if origin is None else origin
                if index >= start and (index - start) % step == 0:
                    yield Frame(_upright(frame, stream), index, time - origin)
                index += 1
        except FFmpegError as error:
            raise UserError(f"damaged after {index} frames ({error.strerror}): copy it again", path=path) from error
    if index == 0:
        raise UserError("not one frame could be decoded: the file is damaged or cut off", path=path)


def count_frames(path: str | Path) -> int:
    """Number of frames of a video, counted packet by packet without decoding them."""
    with _opened(path) as (container, stream):
        try:
            return sum(1 for packet in container.demux(stream) if packet.size)
        except FFmpegError as error:
            raise UserError(f"damaged ({error.strerror}): copy it again", path=path) from error


def at_constant_rate(frames: Iterable[Frame], rate: float | Fraction) -> Iterator[Frame]:
    """Repeat or leave out frames of a variable-rate video so that they come `rate` times a second."""
    held: Frame | None = None
    made = 0
    for frame in frames:
        while held is not None and made / rate < frame.time - 1e-6:
            yield Frame(held.image, made, float(made / rate))
            made += 1
        held = frame
    if held is not None:
        yield Frame(held.image, made, float(made / rate))


class VideoWriter:
    """Writes an MP4 (H.264, yuv420p, playable in browsers); the file appears when the context ends well.

    Pictures of odd size are padded by their last row or column, since the format wants even sizes.

    Args:
        path: the .mp4 file.
        rate: frames a second; it places frames that are written without a time.
        synthetic: whether the pictures were computed; the file then says so in its metadata.
        audio: a video or sound file whose first sound track is added; silently none where it has none.
        audio_start: second of `audio` at which the first frame lies.
        crf: quality, 0 (lossless) to 51.
        preset: x264's trade of speed against size.
        reproducible: equal frames make equal files, which are larger: x264's macroblock tree, left out here, reads
            memory that nothing was written to.

    Raises:
        UserError: wrong suffix, full disk, a folder that cannot be written, unreadable `audio`, or no frame written.
    """

    def __init__(
        self,
        path: str | Path,
        rate: float | Fraction,
        *,
        synthetic: bool,
        audio: str | Path | None = None,
        audio_start: float = 0.0,
        crf: int = 18,
        preset: str = "veryfast",
        reproducible: bool = False,
    ):
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise UserError(f"videos are written as .mp4, not {self.path.suffix!r}", path=path)
        self.rate = Fraction(rate).limit_denominator(100000)
        self._audio, self._audio_start = audio, audio_start
        self._options = {"crf": str(crf), "preset": preset} | ({"x264-params": "mbtree=0"} if reproducible else {})
        self._synthetic = synthetic
        self._stack = contextlib.ExitStack()
        self._stream: av.VideoStream | None = None
        self._written = 0
        self._end = 0.0

    def __enter__(self) -> "VideoWriter":
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._container = stack.enter_context(av.open(str(temporary), "w", options={"movflags": "+faststart"}))
            self._sound = stack.enter_context(_Sound(self._container, self._audio, self._audio_start))
            self._stack = stack.pop_all()
        if self._synthetic:
            self._container.metadata["comment"] = SYNTHETIC_NOTE
        return self

    def write(self, image: Tensor | np.ndarray, time: float | None = None) -> None:
        """Add one frame.

        Args:
            image: (3, H, W) float in [0, 1], or uint8 (H, W, 3); all of one size.
            time: seconds since the first frame, rising from frame to frame; default: the next at the constant rate.
        """
        array = to_uint8(image) if isinstance(image, Tensor) else image
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self.rate, options=self._options)
            self._stream.height, self._stream.width = (side + side % 2 for side in array.shape[:2])
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = TIME_BASE
            self._sound.add_stream()
        height, width = self._stream.height, self._stream.width
        padding = ((0, height - array.shape[0]), (0, width - array.shape[1]), (0, 0))
        if min(min(pair) for pair in padding) < 0 or max(max(pair) for pair in padding) > 1:
            raise ValueError(f"a frame of {array.shape[:2]} in a video of {(height, width)}")
        frame = av.VideoFrame.from_ndarray(np.pad(array, padding, mode="edge"), format="rgb24")
        at = self._written / float(self.rate) if time is None else time
        frame.pts, frame.time_base = round(at / TIME_BASE), TIME_BASE
        self._container.mux(self._stream.encode(frame))
        self._written += 1
        self._end = at + 1 / float(self.rate)
        self._sound.copy(at)

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                if self._stream is None:
                    raise UserError("no frame was written: there is nothing to save", path=self.path)
                self._container.mux(self._stream.encode())
                self._sound.copy(self._end)
        except BaseException as failure:
            if not self._stack.__exit__(type(failure), failure, failure.__traceback__):
                raise
        else:
            self._stack.__exit__(kind, error, trace)


def write_video(
    path: str | Path,
    frames: Iterable[Tensor | np.ndarray],
    rate: float | Fraction = 25,
    *,
    synthetic: bool,
    audio: str | Path | None = None,
) -> None:
    """Write `frames` (as in `VideoWriter.write`) at a constant rate."""
    with VideoWriter(path, rate, synthetic=synthetic, audio=audio) as writer:
        for frame in frames:
            writer.write(frame)


class _Sound:
    """The sound track of another file on its way into an MP4: copied where MP4 takes its codec, else made AAC."""

    def __init__(self, output, source: str | Path | None, start: float):
        self._output, self._start = output, start
        self._source = None if source is None else _open_container(source)
        self._pending: Iterator[tuple[float, av.Packet]] = iter(())
        self._next: tuple[float, av.Packet] | None = None

    def __enter__(self) -> "_Sound":
        return self

    def add_stream(self) -> None:
        """Declare the track: the header is written with the first packet, so every stream must be known before."""
        if self._source is None or not self._source.streams.audio:
            return
        track = self._source.streams.audio[0]
        origin = track
        if self._source.streams.video and self._source.streams.video[0].start_time is not None:
            origin = self._source.streams.video[0]
        first = float((origin.start_time or 0) * origin.time_base) + self._start
        if track.codec_context.name in MP4_AUDIO:
            out = self._output.add_stream_from_template(track)
            self._pending = _copied_packets(self._source.demux(track), out, first)
        else:
            # A wav file may leave its layout unnamed, which the encoder refuses.
            out = self._output.add_stream("aac", rate=track.rate, layout="mono" if track.channels == 1 else "stereo")
            self._pending = _encoded_packets(self._source.decode(track), out, first)
        self._next = next(self._pending, None)

    def copy(self, end: float) -> None:
        """Write the sound up to second `end` of the pictures."""
        while self._next is not None and self._next[0] < end:
            self._output.mux(self._next[1])
            self._next = next(self._pending, None)

    def __exit__(self, *_) -> None:
        if self._source is not None:
            self._source.close()


def _copied_packets(packets, out, first: float) -> Iterator[tuple[float, av.Packet]]:
    for packet in packets:
        if packet.pts is None:
            continue
        at = float(packet.pts * packet.time_base) - first
        if at < 0:
            continue
        packet.pts -= math.floor(first / packet.time_base)
        packet.dts = packet.pts
        packet.stream = out
        yield at, packet


def _encoded_packets(frames, out, first: float) -> Iterator[tuple[float, av.Packet]]:
    resampler = av.AudioResampler(format="fltp", layout=out.layout, rate=out.rate)
    rate = out.rate
    for frame in frames:
        begin = round(((frame.time or 0.0) - first) * rate)
        for part in resampler.resample(frame):
            samples = part.to_ndarray().astype(np.float32, copy=False)[:, max(0, -begin) :]
            if samples.shape[1]:
                kept = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=out.layout.name)
                kept.sample_rate, kept.pts, kept.time_base = rate, max(0, begin), Fraction(1, rate)
                for packet in out.encode(kept):
                    yield float(packet.pts * packet.time_base), packet
            begin += part.samples
    for packet in out.encode():
        yield float(packet.pts * packet.time_base), packet


@contextlib.contextmanager
def _opened(path: str | Path):
    with _open_container(path) as container:
        pictures = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not pictures:
            kinds = sorted({s.type for s in container.streams}) or ["nothing"]
            raise UserError(f"has no pictures, only {', '.join(kinds)}: name a video", path=path)
        yield container, pictures[0]


def _open_container(path: str | Path):
    webcam = re.fullmatch(r"webcam:(\d+)", str(path))
    if webcam:
        try:
            return av.open(f"/dev/video{webcam[1]}", format="v4l2")
        except (FFmpegError, ValueError) as error:
            raise UserError(f"no camera there ({error}): plug one in, or name a video file", path=path) from error
    path = Path(path)
    if not path.is_file():
        raise UserError("no such video", path=path)
    if path.stat().st_size == 0:
        raise UserError("the file is empty, a video was expected: fetch or write it again", path=path)
    try:
        return av.open(str(path))
    except FFmpegError as error:
        raise UserError(
            f"cannot be read as a video ({error.strerror}): it is damaged, cut off or of another kind", path=path
        ) from error


def _upright(frame: av.VideoFrame, stream) -> np.ndarray:
    array = frame.to_ndarray(format="rgb24")
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        width = max(1, round(array.shape[1] * float(aspect)))
        array = np.asarray(Image.fromarray(array).resize((width, array.shape[0]), Image.Resampling.BICUBIC))
    # The display matrix counts anticlockwise, as numpy's rot90 does.
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(array, quarters)) if quarters else array
