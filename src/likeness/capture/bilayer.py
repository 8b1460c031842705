"""The head avatars' data set: clips of talking heads as crops with keypoints and masks, and as videos."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from likeness.capture.light import draw_light
from likeness.capture.options import CaptureConfig, chosen, claim, contact_sheet
from likeness.capture.performance import talking_clip
from likeness.capture.person import make_person
from likeness.capture.stage import Frame, portrait_camera, take
from likeness.formats.heads import frame_path, read_image, write_frame
from likeness.media.video import VideoWriter
from likeness.work import run_all

FULL_FRAME = 1.5
"""Side of the whole picture in crop sides."""


@dataclass(frozen=True, kw_only=True)
class BilayerCapture(CaptureConfig):
    """Write OUT/{imgs,keypoints,segs}/{train,test}/PERSON/VIDEO/SEQUENCE and OUT/videos/PERSON/VIDEO/SEQUENCE.mp4."""

    people: int | None = None
    """Identities (presets: 2, 8, 200)."""
    videos: int | None = None
    """Lights that each person is taken under (1, 2, 5)."""
    sequences: int | None = None
    """Clips a video; the last one is the phase `test` where there are two or more (2, 3, 5)."""
    frames: int | None = None
    """Frames a clip (6, 20, 40)."""
    size: int = 256
    """Side of the crops in pixels."""
    rate: float = 25.0
    """Frames a second: a few frames at a low rate show more of what a head does."""
    mp4: bool = True
    """Also write the clips as videos, to try the extraction on."""


@dataclass(frozen=True)
class Clip:
    """One sequence, and all that its pixels depend on."""

    out: Path
    seed: int
    person: int
    video: int
    sequence: int
    phase: str
    frames: int
    size: int
    rate: float
    mp4: bool

    @property
    def name(self) -> str:
        """PERSON/VIDEO/SEQUENCE."""
        return f"id{self.seed + self.person:05d}/v{self.video:03d}/{self.sequence:04d}"

    @property
    def video_file(self) -> Path:
        """Where the clip's video lies."""
        return self.out / "videos" / f"{self.name}.mp4"

    def done(self) -> bool:
        """Whether the clip is whole: its last frame's image is written last."""
        last = frame_path(self.out, "imgs", self.phase, f"{self.name}/{self.frames - 1}")
        return last.exists()


def capture_bilayer(config: BilayerCapture) -> None:
    """Write a data set of talking heads with exact keypoints and masks."""
    people = chosen(config.people, config.preset, 2, 8, 200)
    videos = chosen(config.videos, config.preset, 1, 2, 5)
    sequences = chosen(config.sequences, config.preset, 2, 3, 5)
    frames = chosen(config.frames, config.preset, 6, 20, 40)
    claim(
        config,
        "bilayer",
        people=people,
        videos=videos,
        sequences=sequences,
        frames=frames,
        size=config.size,
        rate=config.rate,
        mp4=config.mp4,
    )
    clips = [
        Clip(
            config.out,
            config.seed,
            person,
            video,
            sequence,
            "test" if sequence and sequence == sequences - 1 else "train",
            frames,
            config.size,
            config.rate,
            config.mp4,
        )
        for person in range(people)
        for video in range(videos)
        for sequence in range(sequences)
    ]
    run_all(write_clip, [clip for clip in clips if not clip.done()], config.workers, "clips")
    if config.contact_sheet:
        shown = [(clip, number) for clip in clips[:16] for number in (0, frames // 2)]
        files = [frame_path(clip.out, "imgs", clip.phase, f"{clip.name}/{number}") for clip, number in shown]
        contact_sheet(config, [torch.from_numpy(read_image(file)) for file in files])
    print(f"{config.out}: {len(clips)} clips of {frames} frames")


def write_clip(clip: Clip) -> None:
    """Write one clip: a pure function of the clip's own numbers."""
    person = make_person(clip.seed + clip.person)
    light = draw_light(np.random.default_rng([clip.seed, clip.person, clip.video, 11]))
    rng = np.random.default_rng([clip.seed, clip.person, clip.video, clip.sequence, 12])
    side = 2 * round(FULL_FRAME * clip.size / 2)
    camera = portrait_camera(
        person, (side, side), yaw=rng.normal(0, 0.25), pitch=rng.normal(0.03, 0.06), distance=rng.uniform(1.0, 2.0)
    )
    acts = talking_clip(clip.frames, rng, clip.rate)
    shots = (take(person, act, camera, light, seed=number) for number, act in enumerate(acts))
    if not clip.mp4:
        for number, shot in enumerate(shots):
            _write(clip, number, shot)
        return
    with VideoWriter(clip.video_file, clip.rate, synthetic=True, reproducible=True) as video:
        for number, shot in enumerate(shots):
            video.write(shot.image)
            if number < clip.frames - 1:
                _write(clip, number, shot)
            else:
                last = shot
    # The last frame marks the clip as whole, so it waits for the video.
    _write(clip, clip.frames - 1, last)


def _write(clip: Clip, number: int, shot: Frame) -> None:
    image, keypoints, mask = head_crop(shot, clip.size)
    write_frame(clip.out, clip.phase, f"{clip.name}/{number}", image, keypoints, mask)


def head_crop(shot: Frame, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a head as the extraction from videos does.

    Centre c of the box about the 68 points (rounded half to even), h its larger side (truncated), c_y moved up by
    h // 6; the square [c - h, c + h), black outside of the picture, resampled bicubically.

    Returns:
        Image (3, size, size) float32, keypoints (68, 2) in its pixels, mask (1, size, size).
    """
    points = shot.pixels.numpy()
    low, high = points.min(0), points.max(0)
    half = int((high - low).max())
    centre = np.round((low + high) / 2).astype(int)
    left, top = int(centre[0]) - half, int(centre[1]) - half // 6 - half
    stacked = torch.cat([shot.image, shot.alpha])
    square = torch.nn.functional.pad(stacked, _padding(stacked, left, top, 2 * half))
    left, top = max(left, 0), max(top, 0)
    square = square[:, top : top + 2 * half, left : left + 2 * half]
    picture = Image.fromarray((square[:3].movedim(0, -1).numpy() * 255 + 0.5).astype(np.uint8))
    mask = Image.fromarray(square[3].numpy(), "F")
    image = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255
    soft = np.clip(np.asarray(mask.resize((size, size), Image.Resampling.BICUBIC)), 0, 1)
    offset = np.array([centre[0] - half, centre[1] - half // 6 - half])
    return image.transpose(2, 0, 1), (points - offset) * (size / (2 * half)), soft[None].astype(np.float32)


def _padding(image: Tensor, left: int, top: int, side: int) -> tuple[int, int, int, int]:
    height, width = image.shape[1:]
    return (
        max(-left, 0),
        max(left + side - width, 0),
        max(-top, 0),
        max(top + side - height, 0),
    )
