"""`likeness overlay`: a warped face laid over a target picture."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from likeness.errors import UserError
from likeness.media.image import read_uint8, write_image


@dataclass(frozen=True)
class OverlayConfig:
    """Lay a warped face over a picture of the same size."""

    warp: Path
    """The warped face, on black."""
    target: Path
    """The picture beneath."""
    out: Path
    """The result."""
    coverage: Path | None = None
    """A mask of where the warp was painted (white), so that black pixels of the face stay; default: not black."""
    feather: float = 0.0
    """Width in pixels over which the face's rim fades into the target."""


def overlay(config: OverlayConfig) -> None:
    """Write the composite; by default exactly the published rule: warp where any channel is not zero, else target.

    Raises:
        UserError: pictures of different sizes.
    """
    warp, target = read_uint8(config.warp), read_uint8(config.target)
    mask = None if config.coverage is None else read_uint8(config.coverage)[..., 0] > 127
    for path, other in ((config.warp, warp), (config.coverage, mask)):
        if other is not None and other.shape[:2] != target.shape[:2]:
            raise UserError(
                f"is {other.shape[1]} x {other.shape[0]}, the target {target.shape[1]} x {target.shape[0]}: "
                "both must be of one size",
                path=path,
            )
    write_image(config.out, composite(warp, target, mask, config.feather), synthetic=True)
    print(config.out)


def composite(
    warp: np.ndarray, target: np.ndarray, coverage: np.ndarray | None = None, feather: float = 0.0
) -> np.ndarray:
    """Lay `warp` over `target`, (H, W, 3) uint8 both.

    Args:
        coverage: (H, W) bool; default: where any channel of the warp is not zero.
        feather: pixels over which the rim fades, inwards.
    """
    inside: np.ndarray = np.asarray(warp.any(-1)) if coverage is None else coverage
    if feather <= 0:
        return np.where(inside[..., None], warp, target)
    # The border of the picture counts as outside too: a face cut by it fades there as well.
    padded = np.pad(inside.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    share = np.clip((distance - 0.5) / feather, 0, 1)[..., None] * inside[..., None]
    return np.rint(share * warp + (1 - share) * target).astype(np.uint8)
