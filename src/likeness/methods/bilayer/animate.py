"""`likeness animate bilayer`: a photograph moves as a driving video does."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.geometry.head_crop import crop_head
from likeness.media.video import Frame, VideoWriter, probe, read_frames
from likeness.methods.bilayer import stickman
from likeness.methods.bilayer.avatar import Avatar, Identity, pack
from likeness.methods.bilayer.prepare import Preparer
from likeness.methods.bilayer.stream import h264_rate
from likeness.perception.smoothing import OneEuroFilter


@dataclass(frozen=True)
class AnimateConfig:
    """Drive the head of a photograph by the landmarks of a video."""

    run: Path
    """Trained or imported run, or `shipped`."""
    source: tuple[Path, ...]
    """Photographs of the person to animate, combined where there are several; a video gives its first frame."""
    driving: str
    """Video whose motion is taken, or `webcam:0`."""
    out: Path
    """MP4 to write; the driving video's sound is kept."""
    which: str = "last"
    """Checkpoint of the run."""
    side_by_side: bool = False
    """Show the driving crop, and the source, beside the result."""
    relative: bool = False
    """Add the driver's motion to the source's own pose, in place of taking over the driver's pose and proportions."""
    smooth: bool = True
    """Steady the landmarks."""
    frames: int | None = None
    """Drive by this many frames; the video must have them. A webcam goes on until Ctrl-C otherwise."""
    background: Literal["white", "black"] = "white"
    """What the person is put on."""
    bitrate: bool = False
    """Also say what the driver's head, cut out at the avatar's size, takes as H.264 at the same frame rate."""
    device: str = "cpu"
    """Where to compute."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the frames; bfloat16 is faster on processors that have it (AVX-512 BF16, AMX), and within 0.05 of float32."""


@dataclass(frozen=True)
class Drive:
    """One driving frame."""

    frame: Frame
    pose: np.ndarray | None
    """(136,) normalised landmarks; None where no face was found."""
    crop: np.ndarray
    """(S, S, 3) uint8, the driver's head, black where no face was found."""


def follow(driving: str, preparer: Preparer, smooth: bool, frames: int | None = None) -> Iterator[Drive]:
    """The poses of a driving video, frame by frame, each normalised in its own crop."""
    held: list[Frame] = []

    def images() -> Iterator[np.ndarray]:
        for frame in read_frames(driving):
            if frames is not None and frame.index >= frames:
                return
            held.append(frame)
            yield frame.image

    steady = OneEuroFilter()
    for face in preparer.faces.follow(images()):
        frame = held.pop(0)
        if face is None:
            yield Drive(frame, None, np.zeros((preparer.size, preparer.size, 3), np.uint8))
            continue
        points = steady(face.landmarks, frame.time, face.eye_distance) if smooth else face.landmarks
        crop, keypoints = crop_head(frame.image, points, preparer.size)
        yield Drive(frame, stickman.normalise(keypoints, preparer.size), crop)


def animate(config: AnimateConfig) -> None:
    """Write a video of the source person moving as the driver does.

    Raises:
        UserError: no face in the source or in the whole driving video, or fewer driving frames than asked for.
    """
    precision = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    avatar = Avatar.from_run(config.run, config.which, config.device, precision=precision)
    preparer = Preparer(avatar.options.image_size)
    sources = [preparer.from_file(path) for path in config.source]
    identity = avatar.identify([s.image for s in sources], [s.keypoints for s in sources], [s.mask for s in sources])
    camera = config.driving.startswith("webcam:")
    info = None if camera else probe(config.driving)
    rate = Fraction(25) if info is None else info.rate
    audio = config.driving if info is not None and info.has_audio else None
    count = missed = 0
    crops: list[np.ndarray] = []
    with VideoWriter(config.out, rate, synthetic=True, audio=audio) as writer:
        drives = follow(config.driving, preparer, config.smooth, config.frames)
        shown = frames_of(identity, drives, sources[0].pose if config.relative else None, config.background)
        try:
            for drive, picture in shown:
                if config.side_by_side:
                    crop = torch.from_numpy(drive.crop.copy()).permute(2, 0, 1).float() / 255
                    picture = torch.cat((torch.from_numpy(sources[0].image), crop, picture), 2)
                writer.write(picture, drive.frame.time)
                if config.bitrate:
                    crops.append(drive.crop)
                count += 1
                missed += drive.pose is None
        except KeyboardInterrupt:
            if not camera:
                raise
        if config.frames is not None and count < config.frames:
            raise UserError(f"{config.frames} frames were asked for, the video has {count}", path=config.driving)
        if count == missed:
            raise UserError("no face was found in any frame of the driving video", path=config.driving)
    if missed:
        print(f"{missed} of {count} driving frames showed no face; the last picture was held")
    size = len(pack(np.zeros(136), 0))
    print(
        f"{config.out}: {count} frames; as landmarks {size} bytes a frame, {size * 8 * float(rate) / 1000:.0f} kbit/s"
    )
    if config.bitrate:
        print(f"the driver's head as H.264 at the same size: {h264_rate(crops, float(rate)):.0f} kbit/s (crf 28)")


def frames_of(
    identity: Identity, drives: Iterator[Drive], source_pose: np.ndarray | None, background: str
) -> Iterator[tuple[Drive, Tensor]]:
    """Each driving frame with the picture (3, S, S) it causes; frames without a face hold the last picture.

    Args:
        source_pose: (136,) for relative motion, to which the change since the first found face is added.
    """
    level = 1.0 if background == "white" else 0.0
    rest: np.ndarray | None = None
    size = identity.get_buffer("texture").shape[-1]
    last = torch.full((3, size, size), level)
    for drive in drives:
        if drive.pose is not None:
            rest = drive.pose if rest is None else rest
            pose = drive.pose if source_pose is None else source_pose + drive.pose - rest
            last = identity.drive(pose).over(level).cpu()
        yield drive, last
