"""AIGN's heat maps of 32 faces into a caller's buffer, against one kernel at a time."""

import torch
from torch import Tensor

from benchmarks import Row, best_time
from likeness.methods.depthnet.aign import MAP, gaussian_kernel, heat_maps

FACES = 32


def main() -> list[Row]:
    """Measure both."""
    xy = torch.rand(FACES, 66, 2, generator=torch.Generator().manual_seed(0))
    buffer = torch.zeros(FACES, 66, MAP, MAP)
    ours = best_time(lambda: heat_maps(xy, out=buffer), repeats=9)
    assert torch.equal(buffer, one_by_one(xy))
    plain = best_time(lambda: one_by_one(xy), repeats=3)
    return [Row(f"heat maps of {FACES} faces, 128 x 128", ours, "one kernel at a time", plain, "<= 60 ms")]


def one_by_one(xy: Tensor) -> Tensor:
    maps, kernel = torch.zeros(len(xy), 66, MAP, MAP), gaussian_kernel()
    for face, points in zip(maps, (MAP * xy).int().tolist()):
        for plane, (x, y) in zip(face, points):
            if x >= 4 and y >= 4:
                window = plane[y - 4 : y + 4, x - 4 : x + 4]
                window += kernel[: window.shape[0], : window.shape[1]]
    return maps
