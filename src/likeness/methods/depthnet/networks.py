"""The networks of DepthNet: two generators and the conditional critic (Moniz et al. 2018, section 3.2).

Landmarks are (N, 66, 2) in units of the picture's size. The state keys are those of the published checkpoints.
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn

from likeness.nets.batchnorm import BatchNorm1d

LANDMARKS = 66
TRUNK = (4 * LANDMARKS, 512, 512, 512, 256, 256, 256, 128)
CRITIC = (3 * LANDMARKS, 512, 512, 256, 256)


class Prediction(NamedTuple):
    """What a generator says of a pair."""

    depth: Tensor
    """(N, 66), unbounded."""
    affine: Tensor | None
    """(N, 2, 4) from (x, y, depth, 1) of the source to the target's x, y; None where it is fitted in closed form."""


def dense_blocks(widths: tuple[int, ...]) -> list[nn.Module]:
    """Linear, BatchNorm, ReLU for each step between two widths."""
    blocks: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        blocks += [nn.Linear(before, after), BatchNorm1d(after), nn.ReLU()]
    return blocks


def pair_input(source_xy: Tensor, target_xy: Tensor) -> Tensor:
    """The channels source x, source y, target x, target y of (N, 66, 2) landmarks, flattened to (N, 264)."""
    return torch.cat([source_xy.transpose(1, 2), target_xy.transpose(1, 2)], dim=1).flatten(1)


def critic_input(depth: Tensor, xy: Tensor) -> Tensor:
    """The critic's channels depth, x, y (depth first): (N, 3, 66)."""
    return torch.cat([depth.unsqueeze(1), xy.transpose(1, 2)], dim=1)


class FixedAffineGenerator(nn.Module):
    """ "shallowd5": predicts depth alone, the affine is fitted in closed form (experiments 1 and 3)."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(*dense_blocks(TRUNK), nn.Linear(TRUNK[-1], LANDMARKS))
        self.apply(initialise_generator)

    def forward(self, source_xy: Tensor, target_xy: Tensor) -> Prediction:
        return Prediction(self.fc(pair_input(source_xy, target_xy)), None)


class LearnedAffineGenerator(nn.Module):
    """ "sd5_learnm": predicts depth and the affine (experiments 2 and 4)."""

    def __init__(self):
        super().__init__()
        self.extractor = nn.Sequential(*dense_blocks(TRUNK))
        self.fc_z = nn.Linear(TRUNK[-1], LANDMARKS)
        self.fc_m = nn.Linear(TRUNK[-1], 8)
        self.apply(initialise_generator)

    def forward(self, source_xy: Tensor, target_xy: Tensor) -> Prediction:
        features = self.extractor(pair_input(source_xy, target_xy))
        return Prediction(self.fc_z(features), self.fc_m(features).view(-1, 2, 4))


Generator = FixedAffineGenerator | LearnedAffineGenerator


class Critic(nn.Module):
    """Scores three channels a landmark, (N, 3, 66) -> (N, 1), without output activation."""

    def __init__(self):
        super().__init__()
        self.disc = nn.Sequential(*dense_blocks(CRITIC), nn.Linear(CRITIC[-1], 1))

    def forward(self, landmarks: Tensor) -> Tensor:
        return self.disc(landmarks.flatten(1))


def initialise_generator(module: nn.Module) -> None:
    """Linear weights N(0, 0.02), BatchNorm scales N(1, 0.02) and shifts 0; linear biases keep torch's default."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
