"""Learned perceptual similarity: LPIPS v0.1 (Zhang et al., CVPR 2018) and ST-LPIPS (Ghildyal and Liu, ECCV 2022).

LPIPS needs the published backbone, given by path; ST-LPIPS works out of the box, but its figures are its own and are
never reported as LPIPS.
"""

import importlib.util
import itertools
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from likeness.errors import UserError
from likeness.nets.convolution import Conv2d

PUBLISHED = {
    "vgg": "vgg16-397923af.pth, published at download.pytorch.org/models",
    "alex": "alexnet-owt-7be5be79.pth, published at download.pytorch.org/models",
}
"""The backbones that published figures were made with."""

HEADS_INSTALL = "python -m pip install --no-deps lpips==0.1.4"
ST_LPIPS_INSTALL = "python -m pip install --no-deps stlpips-pytorch==0.0.2"

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class PerceptualDistance(nn.Module):
    """Distances (N,) between two batches of pictures, by unit-length features and learned channel weights.

    Args:
        slices: the backbone, cut after the activations that are compared.
        heads: for each slice the weights (1, C, 1, 1) of its channels.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, slices: Sequence[nn.Module], heads: Sequence[Tensor]):
        super().__init__()
        self.slices = nn.ModuleList(slices)
        for index, head in enumerate(heads):
            self.register_buffer(f"head_{index}", head)
        self.register_buffer("shift", torch.tensor(SHIFT)[None, :, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[None, :, None, None])
        self.eval().requires_grad_(False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (N,) of `first` and `second`, (N, 3, H, W) RGB in [-1, 1]."""
        x = (torch.cat([first, second]) - self.shift) / self.scale
        total = first.new_zeros(len(first))
        for index, part in enumerate(self.slices):
            x = part(x)
            unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
            one, two = unit.chunk(2)
            total = total + ((one - two).square() * self.get_buffer(f"head_{index}")).sum(dim=1).mean(dim=(1, 2))
        return total


def load_lpips(
    backbone: str | Path | None, net: Literal["vgg", "alex"] = "vgg", heads: str | Path | None = None
) -> PerceptualDistance:
    """LPIPS v0.1 on the published ImageNet backbone.

    Args:
        backbone: torchvision's VGG16 or AlexNet weights.
        heads: the linear calibration `vgg.pth` or `alex.pth` of LPIPS v0.1; default: from the package `lpips`.

    Raises:
        UserError: a file is missing or of another network; the message names the file that is wanted.
    """
    if backbone is None:
        raise UserError(f"LPIPS ({net}) needs the published backbone: pass the path of {PUBLISHED[net]}")
    features = {
        name.removeprefix("features."): tensor
        for name, tensor in _tensors(backbone, PUBLISHED[net]).items()
        if name.startswith("features.")
    }
    return lpips_from(features, _tensors(heads or _packaged_heads(net), f"{net}.pth of LPIPS v0.1"), net, backbone)


def lpips_from(
    features: Mapping[str, Tensor], heads: Mapping[str, Tensor], net: str, path: str | Path | None = None
) -> PerceptualDistance:
    """LPIPS from tensors in torchvision's (`0.weight`, ...) and LPIPS' (`lin0.model.1.weight`, ...) names.

    Raises:
        UserError: tensors of another network; `path` names their file.
    """
    layers, cuts = _vgg16() if net == "vgg" else _alexnet()
    stack = nn.Sequential(*layers)
    wanted = {name: features[name] for name in stack.state_dict() if name in features}
    _load(stack, wanted, path, PUBLISHED[net])
    slices = [stack[begin:end] for begin, end in itertools.pairwise((0, *cuts))]
    return PerceptualDistance(slices, [heads[f"lin{index}.model.1.weight"] for index in range(len(cuts))])


def load_st_lpips() -> PerceptualDistance:
    """ST-LPIPS on its own shift-tolerant AlexNet, from the tensors in the package `stlpips-pytorch`.

    Raises:
        UserError: the package is not installed.
    """
    package = importlib.util.find_spec("stlpips_pytorch")
    if package is None or package.origin is None:
        raise UserError(f"st-lpips needs the tensors of a small package; install it with:\n  {ST_LPIPS_INSTALL}")
    path = Path(package.origin).parent / "weights" / "vST0.0" / "alex_shift_tolerant.pth"
    state = _tensors(path, f"the file as `{ST_LPIPS_INSTALL}` brings it")
    slices = _shift_tolerant_alexnet()
    for number, part in enumerate(slices, start=1):
        prefix = f"net.slice{number}."
        own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        # The package numbers modules through all slices, a Sequential of ours from nought.
        first = sum(len(before) for before in slices[: number - 1])
        renumbered = {f"{int(name.split('.')[0]) - first}.{name.split('.')[1]}": t for name, t in own.items()}
        _load(part, renumbered, path, "the unchanged package")
    return PerceptualDistance(slices, [state[f"lin{index}.model.1.weight"] for index in range(5)])


class BlurPool(nn.Module):
    """Every second pixel of a blurred picture, with two reflected pixels around it."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("filt", torch.zeros(channels, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(padded, self.get_buffer("filt"), stride=2, groups=x.shape[1])


def _shift_tolerant_alexnet() -> list[nn.Sequential]:
    return [
        nn.Sequential(nn.Conv2d(3, 64, 11, padding=2), BlurPool(64), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 1), BlurPool(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 1), BlurPool(192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]


def _vgg16() -> tuple[list[nn.Module], tuple[int, ...]]:
    layers: list[nn.Module] = []
    cuts = []
    inputs = 3
    for outputs, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if layers:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(count):
            layers += [Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        cuts.append(len(layers))
    return layers, tuple(cuts)


def _alexnet() -> tuple[list[nn.Module], tuple[int, ...]]:
    layers = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()]
    layers += [nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()]
    return layers, (2, 5, 8, 10, 12)


def _packaged_heads(net: str) -> Path:
    package = importlib.util.find_spec("lpips")
    if package is None or package.origin is None:
        raise UserError(f"LPIPS needs its linear calibration; pass its path, or install it with:\n  {HEADS_INSTALL}")
    return Path(package.origin).parent / "weights" / "v0.1" / f"{net}.pth"


def _tensors(path: str | Path, wanted: str) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise UserError(f"no such weights: expected {wanted}", path=path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(f"these are no weights ({str(error).splitlines()[0]}): expected {wanted}", path=path) from error


def _load(module: nn.Module, tensors: Mapping[str, Tensor], path: str | Path | None, wanted: str) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise UserError(f"these weights belong to another network ({reason}): expected {wanted}", path=path) from error
