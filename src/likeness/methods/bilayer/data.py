"""Batches of head frames for training, validation and standing statistics."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from likeness.engine import Batches, permutation
from likeness.engine.batches import share
from likeness.errors import UserError
from likeness.formats import heads
from likeness.methods.bilayer import stickman
from likeness.methods.bilayer.config import BilayerConfig
from likeness.methods.bilayer.model import Pairs
from likeness.methods.bilayer.pairs import PairRule, Sample, Videos, read_samples


def load_frames(
    root: Path, phase: str, names: Sequence[str], reserve: Sequence[str], config: BilayerConfig
) -> tuple[torch.Tensor, ...]:
    """Read frames -> pictures (F, 3, S, S) in [-1, 1], poses (F, 136), stickmen (F, 3, S, S), masks (F, 1, S, S).

    A frame that cannot be read is replaced by the first of `reserve` that can, with a warning.

    Raises:
        UserError: neither the frame nor any of the reserve can be read.
    """
    size = config.image_size
    parts: list[tuple[np.ndarray, ...]] = []
    for name in names:
        frame = _read(root, phase, name, reserve, size)
        mask = frame.mask
        assert mask is not None
        if config.cutoff_shirt:
            rows = np.arange(size)[None, :, None]
            mask = mask * (rows <= frame.keypoints[:, 1].max())
        image = frame.image * 2 - 1
        if config.mask_source_and_target:
            image = mask * image - (1 - mask)
        pose = stickman.normalise(frame.keypoints, size)
        parts.append((image, pose, stickman.draw(pose, size, config.stickmen_thickness), mask.astype(np.float32)))
    return tuple(torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True))


def _read(root: Path, phase: str, name: str, reserve: Sequence[str], size: int) -> heads.HeadFrame:
    first: UserError | None = None
    for candidate in (name, *reserve):
        try:
            frame = heads.read_frame(root, phase, candidate, size)
        except UserError as error:
            first = first or error
            continue
        if first is not None:
            warnings.warn(f"{first}; frame {candidate} stands in for {name}", stacklevel=2)
        return frame
    assert first is not None
    raise first


class PairBatches(Batches[Pairs]):
    """The samples of each video in shuffled order; epochs of general data in between where asked for.

    Args:
        videos: the data set.
        rule: which frames of a video make a sample.
        config: sizes, seed and mixing.
        shuffle: permute the videos each epoch.
        general: data of many people, mixed in by whole epochs.
    """

    def __init__(
        self,
        videos: Videos,
        rule: PairRule,
        config: BilayerConfig,
        *,
        shuffle: bool,
        general: Videos | None = None,
        rank: int = 0,
        world: int = 1,
    ):
        self.own, self.general, self.rule, self.config = videos, general, rule, config
        self.shuffle, self.rank, self.world = shuffle, rank, world
        self.set_epoch(1)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.videos = self.general if self.general is not None and self.is_general(epoch) else self.own
        size = len(self.videos.frames) * self.config.samples_per_video
        self.order = permutation(size, self.config.seed, epoch) if self.shuffle else np.arange(size)

    def is_general(self, epoch: int) -> bool:
        """Whether the samples of `epoch` come from the general data."""
        config = self.config
        chance = config.general_ratio
        if config.general_mixing == "falling":
            chance = 1 - (epoch - 1) / max(config.epochs - 1, 1)
        return self.general is not None and np.random.default_rng([abs(config.seed), 7, epoch]).random() < chance

    def __len__(self) -> int:
        full, rest = divmod(len(self.order), self.config.batch_size)
        return full + (rest >= self.world and rest > 0 and not self.config.drop_last)

    def samples(self, position: int) -> list[Sample]:
        """The samples of the whole batch at `position`, of all processes."""
        size = self.config.batch_size
        samples = []
        for item in self.order[position * size : (position + 1) * size]:
            turn, video = divmod(int(item), len(self.videos.frames))
            samples.append(
                self.rule.draw(self.videos, video, (self.epoch - 1) * self.config.samples_per_video + turn + 1)
            )
        return samples

    def epoch_samples(self) -> list[Sample]:
        """The samples of the whole epoch in order."""
        return [sample for position in range(len(self)) for sample in self.samples(position)]

    def __getitem__(self, position: int) -> Pairs:
        size = self.config.batch_size
        items = self.order[position * size : (position + 1) * size]
        mine = share(np.arange(len(items)), self.rank, self.world)
        samples = self.samples(position)
        reserves = [self.videos.frames[items[i] % len(self.videos.frames)] for i in mine]
        return make_batch(self.videos.root, self.videos.phase, [samples[i] for i in mine], reserves, self.config)


class ListedBatches(Batches[Pairs]):
    """The samples of a written list, in its order; an epoch has one for each video that the list names."""

    def __init__(self, root: Path, phase: str, samples: list[Sample], config: BilayerConfig, rank: int, world: int):
        self.root, self.phase, self.listed, self.config = root, phase, samples, config
        self.rank, self.world = rank, world
        self.size = len({sample.sources[0].rsplit("/", 2)[0] for sample in samples})
        self.set_epoch(1)

    def __len__(self) -> int:
        return -(-self.size // self.config.batch_size)

    def samples(self, position: int) -> list[Sample]:
        """The samples of the whole batch at `position`, of all processes; the list starts anew at its end."""
        start = (self.epoch - 1) * self.size + position * self.config.batch_size
        stop = min(start + self.config.batch_size, self.epoch * self.size)
        return [self.listed[i % len(self.listed)] for i in range(start, stop)]

    def epoch_samples(self) -> list[Sample]:
        """The samples of the whole epoch in order."""
        return [sample for position in range(len(self)) for sample in self.samples(position)]

    def __getitem__(self, position: int) -> Pairs:
        samples = self.samples(position)
        mine = [samples[i] for i in share(np.arange(len(samples)), self.rank, self.world)]
        return make_batch(self.root, self.phase, mine, [sample.sources for sample in mine], self.config)


def make_batch(
    root: Path, phase: str, samples: Sequence[Sample], reserves: Sequence[Sequence[str]], config: BilayerConfig
) -> Pairs:
    """Load samples into a typed batch."""
    columns: list[list[torch.Tensor]] = [[] for _ in range(8)]
    for sample, reserve in zip(samples, reserves, strict=True):
        loaded = [load_frames(root, phase, names, reserve, config) for names in (sample.sources, sample.targets)]
        for column, value in zip(columns, (*loaded[0], *loaded[1]), strict=True):
            column.append(value)
    return Pairs(*(torch.stack(column) for column in columns))


def make_batches(
    config: BilayerConfig, split: str, rank: int = 0, world: int = 1
) -> PairBatches | ListedBatches | None:
    """The batches of a split, or None where the data set has no such phase.

    Raises:
        UserError: the data set or the list is missing or empty.
    """
    training = split == "train"
    phase = config.train_phase if training else config.test_phase
    listed = config.train_load_from if training else config.test_load_from
    if listed is not None:
        root, samples = read_samples(listed)
        return ListedBatches(root or config.data_root, phase, samples, config, rank, world)
    if not training and phase not in heads.list_phases(config.data_root):
        return None
    rule = PairRule(
        config.pairs if training else config.test_pairs,
        config.num_source_frames,
        config.num_target_frames,
        config.seed,
        not training,
        config.yaw_root,
        config.abs_min_yaw,
        config.abs_max_yaw,
        config.min_distance,
    )
    general = None
    if training and config.general_data_root is not None:
        general = Videos.list(config.general_data_root, config.train_phase).some(config.general_videos, config.seed)
    videos = Videos.list(config.data_root, phase)
    shuffle = training and phase != "metrics"
    return PairBatches(videos, rule, config, shuffle=shuffle, general=general, rank=rank, world=world)
