"""What predicted pictures are measured by, in validation and in evaluation."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from likeness.media.image import to_uint8
from likeness.metrics.csim import cosine
from likeness.metrics.lpips import load_lpips, load_st_lpips
from likeness.metrics.pose import landmark_error
from likeness.metrics.psnr import psnr, psnr_bytes
from likeness.metrics.ssim import ssim
from likeness.perception.faces import MediaPipeFaces
from likeness.perception.identity import ArcFaceIdentity, default_identity

MeasureName = Literal["L1", "PSNR", "PSNR_float", "SSIM", "SSIM_signed", "lpips", "csim", "pose_matching"]

Measure = Callable[[Tensor, Tensor, np.ndarray], float]
"""Prediction and truth, (3, S, S) in [0, 1], and the truth's landmarks (68, 2) in pixels -> a number."""


def make_measures(
    names: Iterable[MeasureName], arcface_weights: Path | None = None, lpips_backbone: Path | None = None
) -> dict[str, Measure]:
    """The measures of these names.

    `PSNR` is of 8-bit pictures, `SSIM` has data range 1, `SSIM_signed` is the published variant on [-1, 1] pictures
    with constants for range 1. `lpips` and `csim` come under the name of the network that measures them, which is the
    published one where its weights are given. `pose_matching` (G_PME) finds landmarks in both pictures again and is NaN
    where no face is found.
    """
    measures: dict[str, Measure] = {}
    for name in dict.fromkeys(names):
        key, measure = _make(name, arcface_weights, lpips_backbone)
        measures[key] = measure
    return measures


def _make(name: MeasureName, arcface_weights: Path | None, lpips_backbone: Path | None) -> tuple[str, Measure]:
    if name == "lpips":
        key = "LPIPS_vgg" if lpips_backbone else "ST_LPIPS"
        network = load_lpips(lpips_backbone) if lpips_backbone else load_st_lpips()
        return key, _pair(lambda a, b: network(a * 2 - 1, b * 2 - 1))
    if name == "csim":
        encoder = ArcFaceIdentity(arcface_weights) if arcface_weights else default_identity()

        def csim(guess: Tensor, truth: Tensor, keypoints: np.ndarray) -> float:
            a, b = (torch.from_numpy(np.asarray(encoder(to_uint8(x), keypoints)))[None] for x in (guess, truth))
            return float(cosine(a, b))

        return f"CSIM_{encoder.name}", csim
    if name == "pose_matching":
        faces = MediaPipeFaces()

        def pose(guess: Tensor, truth: Tensor, _: np.ndarray) -> float:
            found = [faces.detect(to_uint8(x, truncate=True), any_face=True) for x in (guess, truth)]
            if not all(found):
                return float("nan")
            a, b = (torch.from_numpy(f[0].landmarks)[None] for f in found)
            return float(landmark_error(a, b))

        return name, pose
    return name, _pair(PIXELS[name])


def _pair(function: Callable[[Tensor, Tensor], Tensor]) -> Measure:
    return lambda guess, truth, _: float(function(guess[None], truth[None]).mean())


PIXELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "L1": lambda a, b: (a - b).abs().mean(),
    "PSNR": psnr_bytes,
    "PSNR_float": psnr,
    "SSIM": lambda a, b: ssim(a, b, window="gaussian", border="zero"),
    "SSIM_signed": lambda a, b: ssim(a * 2 - 1, b * 2 - 1, window="gaussian", border="zero"),
}
