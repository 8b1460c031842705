"""Which frames of a video make a sample: the published rules, each a function of (seed, epoch, item) alone."""

import re
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from likeness.errors import UserError
from likeness.formats import heads

TEST_START = 0.0


@dataclass(frozen=True)
class Sample:
    """Frame names (`PERSON/VIDEO/SEQUENCE/FRAME`) of one sample."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Videos:
    """The videos of one phase of a data set and their complete frames."""

    root: Path
    phase: str
    frames: tuple[tuple[str, ...], ...]
    """Frame names of each video, sorted as strings; videos without any are left out."""

    @classmethod
    def list(cls, root: Path, phase: str) -> "Videos":
        """List a phase.

        Raises:
            UserError: a tree is missing, or no frame is complete.
        """
        heads.require_tree(root, phase)
        listed = [tuple(heads.list_frames(root, phase, video)) for video in heads.list_videos(root, phase)]
        frames = tuple(names for names in listed if names)
        if not frames:
            raise UserError(
                f"no frame of phase {phase!r} has its image, keypoints and mask; {len(listed)} videos were found",
                path=root,
            )
        return cls(root, phase, frames)

    def some(self, count: int | None, seed: int) -> "Videos":
        """At most `count` of the videos, chosen by `seed`."""
        if count is None or count >= len(self.frames):
            return self
        chosen = np.random.default_rng([abs(seed), 22]).choice(len(self.frames), count, replace=False)
        return Videos(self.root, self.phase, tuple(self.frames[i] for i in sorted(chosen)))


def root_five(start: float, count: int, frames: int) -> list[int]:
    """Frame numbers below `frames`: `round(r * (frames - 1))`, then `r <- (r + sqrt 5) mod 1`, r from `start`."""
    numbers = []
    r = start
    for _ in range(count):
        numbers.append(round(r * (frames - 1)))
        r = (r + sqrt(5)) % 1
    return numbers


@dataclass(frozen=True)
class PairRule:
    """How the frames of a sample are drawn from one video."""

    mode: str
    """A name of `config.PairMode`."""
    sources: int = 1
    targets: int = 1
    seed: int = 0
    testing: bool = False
    """Start the paper's running number anew for every item: source is frame 0."""
    yaw_root: Path | None = None
    abs_min_yaw: float = 0.0
    abs_max_yaw: float = 90.0
    min_distance: float = 0.0

    def draw(self, videos: Videos, item: int, epoch: int) -> Sample:
        """The sample of video number `item` in `epoch` (from 1).

        Raises:
            UserError: no frames of this video satisfy the rule.
        """
        frames = videos.frames[item]
        count = self.sources + self.targets
        random = np.random.default_rng([abs(self.seed), epoch, item])
        if self.mode == "paper":
            drawn = ((epoch - 1) * len(videos.frames) + item) * count
            first = np.random.default_rng([abs(self.seed), 5]).random()
            start = TEST_START if self.testing else (first + drawn * sqrt(5)) % 1
            chosen = [frames[i] for i in root_five(start, count, len(frames))]
        elif self.mode == "metrics":
            chosen = [frames[min(i, len(frames) - 1)] for i in range(count)]
        elif self.mode == "same":
            chosen = [frames[int(random.integers(len(frames)))]] * count
        elif self.mode == "random":
            chosen = [frames[i] for i in random.integers(len(frames), size=count)]
        elif self.mode == "distance":
            chosen = self._distant(videos, frames, random, count)
        else:
            chosen = self._by_yaw(videos, frames, random, count)
        return Sample(tuple(chosen[: self.sources]), tuple(chosen[self.sources :]))

    def _distant(self, videos: Videos, frames: tuple[str, ...], random: np.random.Generator, count: int) -> list[str]:
        clip = _random_clip(frames, random)
        points = [heads.read_keypoints(heads.frame_path(videos.root, "keypoints", videos.phase, f)) for f in clip]
        distances = np.stack([((p[None] - np.stack(points)) ** 2).sum((1, 2)) for p in points])
        pairs = np.argwhere(distances >= self.min_distance)
        if len(pairs) == 0:
            raise UserError(
                f"no two frames of {clip[0].rsplit('/', 1)[0]} lie {self.min_distance:g} apart; the largest sum of "
                f"squared landmark distances is {distances.max():.0f}: lower --min-distance"
            )
        first, second = pairs[random.integers(len(pairs))]
        return [clip[first]] * self.sources + [clip[second]] * (count - self.sources)

    def _by_yaw(self, videos: Videos, frames: tuple[str, ...], random: np.random.Generator, count: int) -> list[str]:
        if self.yaw_root is None:
            raise UserError(f"pairs by yaw ({self.mode}) need --yaw-root: PHASE/PERSON/VIDEO/CLIP/FRAME.npy in degrees")
        clips = _clips(frames)
        if self.mode == "yaw_close_uniform":
            bins: dict[int, dict[str, list[str]]] = {}
            for name, members in clips.items():
                for frame, yaw in zip(members, self._yaws(videos, members), strict=True):
                    bins.setdefault(_bin(yaw), {}).setdefault(name, []).append(frame)
            by_clip = bins[_pick(sorted(bins), random)]
            usable = by_clip[_pick(sorted(by_clip), random)]
        else:
            members = clips[_pick(sorted(clips), random)]
            yaws = self._yaws(videos, members)
            if self.mode == "yaw_min_max":
                usable = [
                    f for f, y in zip(members, yaws, strict=True) if self.abs_min_yaw <= abs(y) <= self.abs_max_yaw
                ]
            else:
                chosen = _pick(sorted({_bin(y) for y in yaws}), random)
                usable = [f for f, y in zip(members, yaws, strict=True) if _bin(y) == chosen]
        if not usable:
            raise UserError(
                f"no frame of {frames[0].rsplit('/', 2)[0]} has a yaw between {self.abs_min_yaw:g} and "
                f"{self.abs_max_yaw:g} degrees: widen the limits"
            )
        return [usable[i] for i in random.integers(len(usable), size=count)]

    def _yaws(self, videos: Videos, names: list[str]) -> list[float]:
        assert self.yaw_root is not None
        yaws = []
        for name in names:
            path = self.yaw_root / videos.phase / f"{name}.npy"
            if not path.is_file():
                raise UserError("this frame has no yaw file: extract the yaws of this phase", path=path)
            yaws.append(float(np.load(path, allow_pickle=False).reshape(-1)[0]))
        return yaws


def _bin(yaw: float) -> int:
    """10-degree bins from -90 to 90."""
    return int(np.clip(yaw // 10, -9, 8))


def _pick(values, random: np.random.Generator):
    return values[int(random.integers(len(values)))]


def _clips(frames: tuple[str, ...]) -> dict[str, list[str]]:
    clips: dict[str, list[str]] = {}
    for frame in frames:
        clips.setdefault(frame.rsplit("/", 1)[0], []).append(frame)
    return clips


def _random_clip(frames: tuple[str, ...], random: np.random.Generator) -> list[str]:
    clips = _clips(frames)
    return clips[_pick(sorted(clips), random)]


def format_samples(samples: list[Sample]) -> str:
    """Samples as lines `source <i>:<frame>.jpg` and `target <i>:<frame>.jpg`."""
    lines = []
    for sample in samples:
        lines += [f"source {i}:{name}.jpg" for i, name in enumerate(sample.sources)]
        lines += [f"target {i}:{name}.jpg" for i, name in enumerate(sample.targets)]
    return "".join(f"{line}\n" for line in lines)


def read_samples(path: Path) -> tuple[Path | None, list[Sample]]:
    """Read a file of samples: a line `data-root:PATH`, then `source 0:NAME` or `source1: NAME`, and targets.

    Returns:
        The root that the file names, and its samples in order.

    Raises:
        UserError: no such file, or a line of another kind.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError("no such list of frames: `--save-dataset-filenames True` writes one", path=path) from None
    root: Path | None = None
    samples: list[Sample] = []
    sources: list[str] = []
    targets: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if line.startswith("data-root:"):
            root = Path(line.removeprefix("data-root:").strip())
            continue
        match = re.fullmatch(r"(source|target) ?(\d+): *(.+)", line)
        if match is None:
            raise UserError(
                f"line {number}: expected `source 0:NAME` or `target 0:NAME`, found {line[:80]!r}", path=path
            )
        if match[1] == "source" and targets:
            samples.append(Sample(tuple(sources), tuple(targets)))
            sources, targets = [], []
        # Lists written with whole paths name the frame in their last four parts.
        name = "/".join(match[3].strip().removesuffix(".jpg").split("/")[-4:])
        (sources if match[1] == "source" else targets).append(name)
    if sources and targets:
        samples.append(Sample(tuple(sources), tuple(targets)))
    if not samples:
        raise UserError("holds no pair of frames", path=path)
    return root, samples
