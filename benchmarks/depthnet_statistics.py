"""DepthCorr and keypoint error of all 50,400 pairs against one pair at a time."""

import numpy as np
import torch

from benchmarks import Row, best_time
from likeness.formats.depthnet3dfaw import ORIENTATIONS, LandmarkArchive
from likeness.methods.depthnet.affine import apply_affine, fit_affine
from likeness.methods.depthnet.evaluate import test_statistics
from likeness.methods.depthnet.networks import FixedAffineGenerator

FACES, MEASURED = 225, 200


def main() -> list[Row]:
    """Measure the test set's statistics; the baseline is extrapolated from `MEASURED` pairs."""
    rng = np.random.default_rng(0)
    orientations = np.repeat(ORIENTATIONS, FACES // 3)
    faces = LandmarkArchive(
        rng.random((FACES, 66, 2), np.float32), rng.random((FACES, 66), np.float32), None, orientations
    )
    network = FixedAffineGenerator().eval()
    ours = best_time(lambda: test_statistics(network, faces), repeats=2, warm_up=1)
    xy = torch.from_numpy(faces.xy)

    @torch.inference_mode()
    def one_by_one() -> None:
        for i in range(MEASURED):
            source, target = xy[i : i + 1], xy[i + 1 : i + 2]
            network(source, target)  # once for DepthCorr, once for the keypoint error
            depth = network(source, target).depth
            (target - apply_affine(fit_affine(source, depth, target), source, depth)).square().mean()

    plain = best_time(one_by_one, repeats=2) * FACES * (FACES - 1) / MEASURED
    return [Row("statistics of all 50,400 pairs", ours, "one pair at a time", plain, "<= 5 s")]
