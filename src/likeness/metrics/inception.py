"""The Inception-v3 whose 2048 pooled features FID and KID are defined on (Szegedy et al. 2016, as ported for FID)."""

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from likeness.errors import UserError

PUBLISHED = "pt_inception-2015-12-05-6726825d.pth, published with github.com/mseitzer/pytorch-fid"
"""The weights that published figures were made with."""

SIZE = 299


class Unit(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel, stride: int = 1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


def _mean_pool(x: Tensor) -> Tensor:
    # The original network leaves padding out of the mean, unlike later ports of Inception-v3.
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class BlockA(nn.Module):
    """35 x 35: 1x1, 5x5, double 3x3 and pooled branches."""

    def __init__(self, inputs: int, pooled: int):
        super().__init__()
        self.branch1x1 = Unit(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Unit(inputs, 48, 1), Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(inputs, 64, 1), Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, padding=1)
        self.branch_pool = Unit(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_mean_pool(x))], dim=1)


class BlockB(nn.Module):
    """35 x 35 to 17 x 17."""

    def __init__(self, inputs: int):
        super().__init__()
        self.branch3x3 = Unit(inputs, 384, 3, 2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(inputs, 64, 1), Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], dim=1)


class BlockC(nn.Module):
    """17 x 17: 7x7 convolutions split into 1x7 and 7x1."""

    def __init__(self, width: int):
        super().__init__()
        row: dict[str, Any] = {"kernel": (1, 7), "padding": (0, 3)}
        column: dict[str, Any] = {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = Unit(768, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Unit(768, width, 1), Unit(width, width, **row)
        self.branch7x7_3 = Unit(width, 192, **column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Unit(768, width, 1), Unit(width, width, **column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Unit(width, width, **row), Unit(width, width, **column)
        self.branch7x7dbl_5 = Unit(width, 192, **row)
        self.branch_pool = Unit(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_mean_pool(x))], dim=1)


class BlockD(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Unit(768, 192, 1), Unit(192, 320, 3, 2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Unit(768, 192, 1), Unit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = Unit(192, 192, (7, 1), padding=(3, 0)), Unit(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, functional.max_pool2d(x, 3, 2)], dim=1)


class BlockE(nn.Module):
    """8 x 8: branches that fork into 1x3 and 3x1; the last block pools by maximum, a quirk of the original."""

    def __init__(self, inputs: int, pooling: Literal["mean", "max"]):
        super().__init__()
        row: dict[str, Any] = {"kernel": (1, 3), "padding": (0, 1)}
        column: dict[str, Any] = {"kernel": (3, 1), "padding": (1, 0)}
        self.pooling = pooling
        self.branch1x1 = Unit(inputs, 320, 1)
        self.branch3x3_1 = Unit(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Unit(384, 384, **row), Unit(384, 384, **column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(inputs, 448, 1), Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Unit(384, 384, **row), Unit(384, 384, **column)
        self.branch_pool = Unit(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = _mean_pool(x) if self.pooling == "mean" else functional.max_pool2d(x, 3, 1, 1)
        parts = [self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(parts, dim=1)


class InceptionFeatures(nn.Module):
    """Pictures (N, 3, 299, 299) in about [-1, 1] to features (N, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Unit(3, 32, 3, 2), Unit(32, 32, 3)
        self.Conv2d_2b_3x3, self.Conv2d_3b_1x1 = Unit(32, 64, 3, padding=1), Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = BlockC(128), BlockC(160), BlockC(160), BlockC(192)
        self.Mixed_7a, self.Mixed_7b, self.Mixed_7c = BlockD(), BlockE(1280, "mean"), BlockE(2048, "max")

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(functional.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean(dim=(2, 3))


def load_inception(path: str | Path | None) -> InceptionFeatures:
    """The network with the published weights, for evaluation.

    Raises:
        UserError: no path, no such file, or weights of another network; the message names the file that is wanted.
    """
    if path is None or not Path(path).is_file():
        raise UserError(f"FID and KID need the published Inception weights: pass the path of {PUBLISHED}", path=path)
    network = InceptionFeatures()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("fc.")})
    except (RuntimeError, pickle.UnpicklingError, EOFError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"these are not the FID Inception weights ({reason}): expected {PUBLISHED}", path=path
        ) from error
    return network.eval().requires_grad_(False)


@torch.no_grad()
def features(
    network: InceptionFeatures,
    batches: Iterable[Tensor],
    rule: Literal["torch-fidelity", "pytorch-fid"] = "torch-fidelity",
) -> np.ndarray:
    """Features (N, 2048) float64 of uint8 pictures.

    The two packages that published figures come from bring bytes to the network differently: torch-fidelity by
    TensorFlow 1's bilinear resampling (corner (0, 0) on corner (0, 0), no half-pixel offset) and (x - 128) / 128,
    pytorch-fid by torch's bilinear resampling and 2 x / 255 - 1.

    Args:
        batches: (n, 3, H, W) uint8 RGB each.
    """
    device = next(network.parameters()).device
    rows = []
    for batch in batches:
        if batch.dtype != torch.uint8:
            raise ValueError(f"expected uint8 pictures, got {batch.dtype}: both rules are defined on bytes")
        pictures = batch.to(device).float()
        if rule == "torch-fidelity":
            entry = (resize_tensorflow_1(pictures, SIZE) - 128) / 128
        else:
            entry = 2 * functional.interpolate(pictures / 255, (SIZE, SIZE), mode="bilinear", align_corners=False) - 1
        rows.append(network(entry).double().cpu().numpy())
    return np.concatenate(rows)


def resize_tensorflow_1(images: Tensor, size: int) -> Tensor:
    """Bilinear resampling of (N, C, H, W) to `size` square with source = target * H / size, as TensorFlow 1 did it."""
    for axis in (2, 3):
        length = images.shape[axis]
        at = torch.arange(size, dtype=images.dtype, device=images.device) * (length / size)
        low = at.floor().long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        share = (at - low).reshape([-1 if dimension == axis else 1 for dimension in range(4)])
        images = images.index_select(axis, low) * (1 - share) + images.index_select(axis, high) * share
    return images
