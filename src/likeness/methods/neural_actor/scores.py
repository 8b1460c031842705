"""Figures of pictures against photographs: PSNR, SSIM, LPIPS and FID, of tensors and of folders of PNG."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.media.image import read_image, read_uint8
from likeness.metrics.fid import frechet_distance
from likeness.metrics.inception import features, load_inception
from likeness.metrics.lpips import load_lpips
from likeness.metrics.psnr import psnr
from likeness.metrics.ssim import ssim

Distance = Callable[[Tensor, Tensor], Tensor]
"""Perceptual distance of two batches in [-1, 1]."""


@dataclass(frozen=True, kw_only=True)
class ScoresConfig:
    """Compare two folders of PNG of the same names: mean PSNR, SSIM, LPIPS, and FID."""

    output: Path
    """Folder of rendered pictures."""
    target: Path
    """Folder of the true ones."""
    ratio: float = 1.0
    """Shrink both to this share of their size first (by area)."""
    crop: tuple[int, int] | None = None
    """Height and width of a crop around the box of what is not white in the true picture; before `ratio`."""
    pattern: str = "*.png"
    """Names to compare."""
    lpips_backbone: Path | None = None
    """torchvision's AlexNet weights; without them LPIPS is not reported."""
    inception: Path | None = None
    """Inception-v3 weights as pytorch-fid publishes them; without them FID is not reported."""


def scores(config: ScoresConfig) -> dict[str, float]:
    """Print and return the means over all pairs.

    Raises:
        UserError: the folders do not hold the same names, or pictures of different sizes.
    """
    names = paired_names(config.output, config.target, config.pattern)
    distance = load_lpips(config.lpips_backbone, "alex") if config.lpips_backbone else None
    means = RunningMeans()
    for name in names:
        ours, truth = read_image(config.output / name), read_image(config.target / name)
        if ours.shape != truth.shape:
            raise UserError(f"is {tuple(ours.shape[1:])}, the true picture {tuple(truth.shape[1:])}", path=name)
        if config.crop is not None:
            window = crop_window(truth, config.crop)
            ours, truth = ours[window], truth[window]
        if config.ratio != 1:
            ours, truth = shrunk(ours, config.ratio), shrunk(truth, config.ratio)
        means.add(compare(ours, truth, distance))
    figures = means.value()
    if config.inception is not None:
        figures["fid"] = folder_distance(config.output, config.target, names, config.inception)
    print(f"{len(names)} pairs: " + ", ".join(f"{name} {value:.5f}" for name, value in figures.items()))
    return figures


class RunningMeans:
    """Means of figures that come one picture at a time."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = {}
        self.count = 0

    def add(self, figures: dict[str, float]) -> None:
        """One picture's."""
        self.count += 1
        for name, value in figures.items():
            self.totals[name] = self.totals.get(name, 0.0) + value

    def value(self) -> dict[str, float]:
        """The means so far."""
        return {name: total / self.count for name, total in self.totals.items()}


def compare(ours: Tensor, truth: Tensor, distance: Distance | None = None) -> dict[str, float]:
    """PSNR (data range 1), SSIM (7 x 7 uniform window) and, with a backbone, LPIPS of pictures (3, H, W) in [0, 1]."""
    pair = ours.clamp(0, 1).unsqueeze(0), truth.clamp(0, 1).unsqueeze(0)
    figures = {"psnr": float(psnr(*pair)[0]), "ssim": float(ssim(*pair)[0])}
    if distance is not None:
        figures["lpips"] = float(distance(2 * pair[0] - 1, 2 * pair[1] - 1)[0])
    return figures


def crop_window(truth: Tensor, size: tuple[int, int]) -> tuple[slice, slice, slice]:
    """The window of `size` (height, width) around the middle of what is not pure white in (3, H, W), kept inside."""
    colored = (truth < 1).any(0)
    window = [slice(None)]
    for extent, wanted, along in zip(truth.shape[1:], size, (1, 0)):
        filled = colored.any(along).nonzero()[:, 0]
        middle = (int(filled[0]) + int(filled[-1]) + 1) // 2 if len(filled) else extent // 2
        start = max(0, min(middle - wanted // 2, extent - wanted))
        window.append(slice(start, start + min(wanted, extent)))
    return window[0], window[1], window[2]


def shrunk(picture: Tensor, ratio: float) -> Tensor:
    """(3, H, W) at `ratio` of its size, by area."""
    height, width = (max(1, round(side * ratio)) for side in picture.shape[1:])
    return torch.nn.functional.interpolate(picture.unsqueeze(0), (height, width), mode="area")[0]


def paired_names(output: Path, target: Path, pattern: str) -> list[str]:
    """Names that both folders hold.

    Raises:
        UserError: a folder holds none, or lacks one of the other's.
    """
    ours, truth = ({file.name for file in folder.glob(pattern)} for folder in (output, target))
    if not ours:
        raise UserError(f"holds no {pattern}", path=output)
    if ours != truth:
        lacking = sorted(ours ^ truth)
        raise UserError(
            f"does not pair with {target}: {len(lacking)} names are in one only, such as {lacking[0]}", path=output
        )
    return sorted(ours)


def folder_distance(output: Path, target: Path, names: Sequence[str], weights: Path) -> float:
    """FID between the pictures `names` of two folders, by pytorch-fid's rule."""
    network = load_inception(weights)

    def batches(folder: Path) -> Iterator[Tensor]:
        return (torch.tensor(read_uint8(folder / name)).permute(2, 0, 1).unsqueeze(0) for name in names)

    first, second = (features(network, batches(folder), "pytorch-fid") for folder in (output, target))
    return frechet_distance(first, second)
