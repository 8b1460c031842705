"""AIGN, the adversarial inverse-graphics baseline of experiment 5: heat maps to a posed 3D shape (Tung et al. 2017)."""

import itertools
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from likeness.methods.depthnet.networks import CRITIC, LANDMARKS
from likeness.nets.batchnorm import BatchNorm2d

MAP = 128
KERNEL = 8
CONVOLUTIONS = ((66, 66, 2), (66, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1))
"""Input channels, output channels and stride of the seven convolutions."""


class Shape(NamedTuple):
    """AIGN's answer for one face."""

    x3d: Tensor
    """(N, 3, 66): x, y, depth."""
    projection: Tensor
    """(N, 2, 66) in units of the picture."""


def gaussian_kernel() -> Tensor:
    """The (8, 8) Gaussian on the grid -3..4 in both axes, sigma 1, summing to 1."""
    offsets = torch.arange(-3, 5, dtype=torch.float64)
    row = torch.exp(-0.5 * offsets**2)
    kernel = row[:, None] * row[None, :]
    return (kernel / kernel.sum()).float()


def heat_maps(xy: Tensor, placement: Literal["original", "centred"] = "original", out: Tensor | None = None) -> Tensor:
    """One 128x128 map a landmark, (N, 66, 128, 128), from (N, 66, 2) in units of the picture.

    "original" keeps what the published networks were trained with: the peak one pixel up and left of the landmark, the
    kernel cut from its top left part at the right and bottom border, and an empty map for a landmark within 4 pixels
    of the left or top one. "centred" puts the peak on the landmark's pixel and cuts the kernel where the border is.

    Args:
        out: a float32 buffer (N, 66, 128, 128) to fill and return, saving the allocation of a hot loop.
    """
    n, points = xy.shape[:2]
    if out is None:
        maps = torch.zeros(n, points, MAP, MAP, device=xy.device)
    else:
        if out.shape != (n, points, MAP, MAP) or out.dtype != torch.float32 or not out.is_contiguous():
            raise ValueError(
                f"out is {tuple(out.shape)} {out.dtype}, expected contiguous {(n, points, MAP, MAP)} float32"
            )
        maps = out.zero_()
    pixels = (MAP * xy).to(torch.int64).reshape(-1, 2)  # (N * 66, 2), truncated toward zero
    start = pixels - (4 if placement == "original" else 3)  # first column and row of the window
    window = torch.arange(KERNEL, device=xy.device)
    columns = start[:, :1] + window  # (N * 66, 8)
    rows = start[:, 1:] + window
    if placement == "original":
        empty = (start < 0).any(dim=1, keepdim=True)
        inside_x, inside_y = (columns < MAP) & ~empty, (rows < MAP) & ~empty
    else:
        inside_x, inside_y = (columns >= 0) & (columns < MAP), (rows >= 0) & (rows < MAP)
    inside = inside_y[:, :, None] & inside_x[:, None, :]  # (N * 66, 8, 8)
    origin = torch.arange(n * points, device=xy.device)[:, None, None] * (MAP * MAP)
    places = origin + rows[:, :, None] * MAP + columns[:, None, :]
    values = gaussian_kernel().to(xy.device).expand_as(inside)
    maps.view(-1)[places[inside]] = values[inside]
    return maps


class AignGenerator(nn.Module):
    """Heat maps (N, 66, 128, 128) to a shape, its pose and a camera; state keys as published."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in CONVOLUTIONS:
            layers += [nn.Conv2d(before, after, 3, stride, 1), BatchNorm2d(after), nn.ReLU()]
        self.extractor = nn.Sequential(*layers)
        self.fc = nn.Sequential(nn.Linear(256 * 8 * 8, 512), nn.ReLU())
        self.rot_model = nn.Sequential(nn.Linear(512, 6), nn.Tanh())
        self.alpha_model = nn.Linear(512, 3 * LANDMARKS)
        self.T_model = nn.Linear(512, 3)
        self.f_model = nn.Linear(512, 2)
        self.c_model = nn.Linear(512, 2)

    def heads(self, maps: Tensor) -> dict[str, Tensor]:
        """The five heads' outputs by their published names."""
        features = self.fc(self.extractor(maps).flatten(1))
        names = ("rot_model", "alpha_model", "T_model", "f_model", "c_model")
        return {name: getattr(self, name)(features) for name in names}

    def forward(self, maps: Tensor) -> Shape:
        heads = self.heads(maps)
        shape = heads["alpha_model"].view(-1, 3, LANDMARKS)
        x3d = rotation(heads["rot_model"]) @ shape + heads["T_model"].unsqueeze(2)
        projection = heads["f_model"].unsqueeze(2) * x3d[:, :2] + heads["c_model"].unsqueeze(2)
        return Shape(x3d, projection)


def rotation(r: Tensor) -> Tensor:
    """(N, 3, 3) from sin and cos of three angles (N, 6), which the network does not hold to the unit circle."""
    zero, one = torch.zeros_like(r[:, 0]), torch.ones_like(r[:, 0])
    about_z = [r[:, 4], -r[:, 5], zero, r[:, 5], r[:, 4], zero, zero, zero, one]
    about_x = [one, zero, zero, zero, r[:, 1], r[:, 0], zero, -r[:, 0], r[:, 1]]
    about_normal = [-r[:, 2], r[:, 3], zero, -r[:, 3], -r[:, 2], zero, zero, zero, one]
    b, c, d = (torch.stack(entries, dim=1).view(-1, 3, 3) for entries in (about_z, about_x, about_normal))
    return b @ c @ d


def aign_critic_input(xy: Tensor, depth: Tensor) -> Tensor:
    """AIGN's critic sees x, y, depth (depth last): (N, 3, 66) from (N, 66, 2) and (N, 66)."""
    return torch.cat([xy.transpose(1, 2), depth.unsqueeze(1)], dim=1)


class SpectralLinear(nn.Module):
    """A linear layer divided by its largest singular value, which power iteration follows in train and eval mode."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.module = _PowerIterated(before, after)

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


class _PowerIterated(nn.Module):
    def __init__(self, before: int, after: int):
        super().__init__()
        linear = nn.Linear(before, after)
        self.bias = linear.bias
        self.weight_u = nn.Parameter(_normalised(torch.randn(after)), requires_grad=False)
        self.weight_v = nn.Parameter(_normalised(torch.randn(before)), requires_grad=False)
        self.weight_bar = linear.weight

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight_v.copy_(_normalised(self.weight_bar.t() @ self.weight_u))
            self.weight_u.copy_(_normalised(self.weight_bar @ self.weight_v))
        # The next forward overwrites u and v while this graph may still wait for its backward.
        u, v = self.weight_u.clone(), self.weight_v.clone()
        sigma = u @ (self.weight_bar @ v)
        return functional.linear(x, self.weight_bar / sigma, self.bias)


class SpectralCritic(nn.Module):
    """The critic of AIGN-SN: the layers of `Critic`, spectrally normalised instead of batch-normalised."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(CRITIC):
            layers += [SpectralLinear(before, after), nn.ReLU()]
        self.disc = nn.Sequential(*layers, SpectralLinear(CRITIC[-1], 1))

    def forward(self, landmarks: Tensor) -> Tensor:
        return self.disc(landmarks.flatten(1))


def _normalised(vector: Tensor) -> Tensor:
    return vector / (vector.norm() + 1e-12)
