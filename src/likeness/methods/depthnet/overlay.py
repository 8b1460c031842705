"""`likeness overlay`: a warped face laid over a target picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from scipy.ndimage import binary_fill_holes, distance_transform_edt

from likeness.errors import UserError
from likeness.formats.facewarper import WarpFiles
from likeness.media.image import read_uint8, write_image
from likeness.methods.depthnet.warp_dataset import warp_files


@dataclass(frozen=True, kw_only=True)
class OverlayConfig:
    """What `likeness overlay` is told."""

    warp: Annotated[Path, tyro.conf.Positional]
    """The warped face (black where there is none)."""
    target: Annotated[Path, tyro.conf.Positional]
    """The picture under it, of the same size."""
    out: Path
    """The picture to write."""
    mask: Literal["colour", "filled", "coverage"] = "colour"
    """Where the warp shows: where it is not black (the original's rule), the same with its holes filled, or where
    triangles were painted (needs --dataset)."""
    dataset: Path | None = None
    """For the coverage mask: the FaceWarper folder that the warp was made from; its id is the warp's name."""
    feather: float = 0.0
    """Fade the warp in over so many pixels inside its border."""


def overlay(warp: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None, feather: float = 0.0) -> np.ndarray:
    """Lay `warp` over `target`, both (H, W, 3) uint8.

    Args:
        mask: (H, W) bool where the warp shows; default where any of its channels is not zero, as the original does.
        feather: pixels over which the warp fades in from the mask's border inwards; 0 for a hard edge.
    """
    mask = warp.any(axis=2) if mask is None else mask
    if feather <= 0:
        return np.where(mask[..., None], warp, target)
    weight = feather_weights(mask, feather)[..., None]
    return np.rint(warp * weight + target * (1 - weight)).astype(np.uint8)


def feather_weights(mask: np.ndarray, feather: float) -> np.ndarray:
    """(H, W) float32: 0 outside `mask`, rising to 1 at `feather` pixels inside its border."""
    return np.clip(distance_transform_edt(mask) / (feather + 1), 0, 1).astype(np.float32)


def overlay_files(config: OverlayConfig) -> None:
    """Lay the picture WARP over the picture TARGET."""
    warp, target = read_uint8(config.warp, background=0.0), read_uint8(config.target)
    if warp.shape != target.shape:
        sizes = " and ".join(f"{image.shape[1]}x{image.shape[0]}" for image in (warp, target))
        raise UserError(f"warp and target have different sizes ({sizes}): resize one of them", path=config.warp)
    if config.feather < 0:
        raise UserError(f"--feather cannot be negative, found {config.feather}")
    mask = None
    if config.mask == "filled":
        mask = binary_fill_holes(warp.any(axis=2))
    elif config.mask == "coverage":
        if config.dataset is None:
            raise UserError("the coverage mask is made from the warp's landmarks: add --dataset FOLDER")
        name = config.warp.stem
        texts = (config.dataset / kind / f"{name}.txt" for kind in ("keypoints", "depth", "affine"))
        mask = warp_files(WarpFiles(config.warp, *texts)).coverage
    write_image(config.out, overlay(warp, target, mask, config.feather), synthetic=True)
    print(config.out)
