"""DepthCorr, keypoint error, their text, and dumped depths (Moniz et al. 2018, section 3.2, tables 2 and 3)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from likeness.engine import Run
from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.formats.depthnet3dfaw import ORIENTATIONS, LandmarkArchive, load_archive
from likeness.methods.depthnet.affine import apply_affine, fit_affine
from likeness.methods.depthnet.aign import AignGenerator
from likeness.methods.depthnet.data import synthetic_split
from likeness.methods.depthnet.networks import Generator
from likeness.methods.depthnet.published import load_network

VALID_FACES = 225
"""The statistics take the first so many validation faces, all against all."""
PAIRS_AT_ONCE = 4096
FACES_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Print DepthCorr and keypoint error, as `--compute_stats` did, or dump depths."""

    run: Path | None = None
    """A run, a checkpoint of ours or a published file; without it the weights that ship with the package."""
    checkpoint: str = "last"
    """Of a run: `last`, `best` or an epoch."""
    data: Path | None = None
    """Folder of `valid.npz` and `test.npz`; by default the one that the run was trained on."""
    synthetic: int = 0
    """Take so many synthetic faces instead, cut as those of the shipped weights' training, but none of them."""
    dump_depths: Path | None = None
    """Write the test faces' depths to this `.npz` instead: `preds` (n, n, 66), of source i given target j."""
    aign_text: Literal["common", "original"] = "common"
    """AIGN's statistics in DepthNet's words, or in its own launcher's."""


@dataclass(frozen=True)
class Pairs:
    """A model's answers for all ordered pairs of n faces."""

    depth: np.ndarray
    """(n, n, 66) float32: of source i given target j. AIGN, which sees one face, says the same for every j."""
    error: np.ndarray
    """(n, n) float64: mean square residual over landmarks and axes, in units of the picture."""


@dataclass(frozen=True)
class SourceStatistics:
    """How well depths are known where each face is the source once; lengths in units of the picture."""

    depth_corr: float
    """0 to 66."""
    error: float
    """Mean keypoint error."""
    error_spread: float
    """Its population standard deviation."""
    true_error: float
    """Mean keypoint error of the affine with true depths: what cannot be beaten but by chance."""
    flat_error: float
    """Mean keypoint error of the best affine of x and y alone."""
    depth_error: float
    """Root mean square error of depth, after taking away each face's mean."""
    depth_size: float
    """Root mean square of the true depth, without each face's mean."""


def evaluate(config: EvaluateConfig) -> None:
    """Print the statistics of the validation and test faces, or dump the test faces' depths."""
    network = load_network(config.run, config.checkpoint)
    if config.synthetic:
        print(synthetic_statistics(network, synthetic_split("test", config.synthetic, seed=0)), end="")
        return
    data = config.data or _data_of(config.run)
    test_file = data / "test.npz"
    if config.dump_depths is not None:
        dump_depths(config.dump_depths, network, load_archive(test_file, require=("orientations",)))
        print(f"depths of the test faces are in {config.dump_depths}")
        return
    statistics = aign_statistics if isinstance(network, AignGenerator) and config.aign_text == "original" else None
    valid = load_archive(data / "valid.npz")
    print("Computing stats on validation set...")
    print((statistics or valid_statistics)(network, _first(valid, VALID_FACES)), end="")
    if not test_file.is_file():
        print(f"{test_file} is not there: the test set's statistics by orientation are left out")
        return
    test = load_archive(test_file, require=("orientations",))
    print("Computing stats on test set...")
    print((statistics or test_statistics)(network, test), end="")


def depth_corr(predicted: np.ndarray, true: np.ndarray) -> float:
    """DepthCorr in 0..66: the sum over landmarks of |Pearson correlation| of predicted and true depths (n, 66).

    A landmark whose predicted or true depth never changes makes it NaN.
    """
    p = np.asarray(predicted, dtype=np.float64)
    q = np.asarray(true, dtype=np.float64)
    p, q = p - p.mean(0), q - q.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (p * q).sum(0) / np.sqrt(np.square(p).sum(0) * np.square(q).sum(0))
    return float(np.abs(correlation).sum())


def all_pairs(network: Generator | AignGenerator, faces: LandmarkArchive, at_once: int = PAIRS_AT_ONCE) -> Pairs:
    """Depths and keypoint errors of every ordered pair, i = j included; `network` is in eval mode.

    The affine of a network that does not predict it is fitted in closed form, without ridge.
    """
    n = len(faces)
    device = next(network.parameters()).device
    xy = torch.from_numpy(faces.xy).to(device)
    depth = np.empty((n * n, faces.xy.shape[1]), dtype=np.float32)
    error = np.empty(n * n)
    with torch.inference_mode():
        predict = _predictor(network, xy)
        for start in range(0, n * n, at_once):
            index = torch.arange(start, min(start + at_once, n * n), device=device)
            source, target = index // n, index % n
            predicted, affine = predict(source, target)
            if affine is None:
                affine = fit_affine(xy[source], predicted, xy[target])
            residual = xy[target] - apply_affine(affine, xy[source], predicted)
            depth[start : start + at_once] = predicted.cpu().numpy()
            error[start : start + at_once] = residual.square().mean((1, 2)).double().cpu().numpy()
    return Pairs(depth.reshape(n, n, -1), error.reshape(n, n))


def valid_statistics(network: Generator | AignGenerator, faces: LandmarkArchive) -> str:
    """The text for the validation set: one DepthCorr and one keypoint error over all pairs i != j."""
    pairs = all_pairs(network, faces)
    others = ~np.eye(len(faces), dtype=bool)
    return f"DepthCorr:\n{_corr(pairs, faces, others)!r}\n" + _error_lines("all", "all", pairs.error[others])


def test_statistics(network: Generator | AignGenerator, faces: LandmarkArchive) -> str:
    """The text for the test set: DepthCorr by source and target orientation, keypoint errors of all and of the nine."""
    pairs = all_pairs(network, faces)
    lines = ["DepthCorr:\n", "\tleft\t\tcenter\t\tright\n"]
    for source in ORIENTATIONS:
        values = [_corr(pairs, faces, _group(faces, source, target)) for target in ORIENTATIONS]
        lines.append(source + "".join(f"\t{value:f}" for value in values) + "\n")
    lines.append(_error_lines("all", "all", pairs.error[~np.eye(len(faces), dtype=bool)]))
    for source, target in _orientation_pairs():
        lines.append(_error_lines(source, target, pairs.error[_group(faces, source, target)]))
    return "".join(lines)


test_statistics.__test__ = False  # type: ignore[attr-defined]


def synthetic_statistics(network: Generator | AignGenerator, faces: LandmarkArchive) -> str:
    """The text of `source_statistics`."""
    found = source_statistics(network, faces)
    return (
        f"faces: {len(faces)}\nDepthCorr:\n{found.depth_corr!r}\n"
        f"kp error: {found.error!r}  +/-  {found.error_spread!r}\n"
        f"kp error of true depth: {found.true_error!r}\n"
        f"kp error of x and y alone: {found.flat_error!r}\n"
        f"depth error (rms): {found.depth_error!r}\n"
        f"true depth (rms): {found.depth_size!r}\n"
    )


def source_statistics(network: Generator | AignGenerator, faces: LandmarkArchive) -> SourceStatistics:
    """Statistics where each of n faces is the source once, and its neighbour in the archive the target."""
    with torch.inference_mode():
        xy, true = torch.from_numpy(faces.xy), torch.from_numpy(faces.depth)
        target = xy.roll(-1, 0)
        order = torch.arange(len(faces))
        depth, affine = _predictor(network, xy)(order, order.roll(-1))
        flat = torch.zeros_like(depth)
        errors = []
        for z, known in ((depth, affine), (true, None), (flat, None)):
            fitted = fit_affine(xy, z, target) if known is None else known
            errors.append((target - apply_affine(fitted, xy, z)).square().mean((1, 2)).double())
        centred, truth = depth - depth.mean(1, keepdim=True), true - true.mean(1, keepdim=True)
        return SourceStatistics(
            depth_corr=depth_corr(depth.numpy(), faces.depth),
            error=float(errors[0].mean()),
            error_spread=float(errors[0].std(unbiased=False)),
            true_error=float(errors[1].mean()),
            flat_error=float(errors[2].mean()),
            depth_error=float((centred - truth).square().mean().sqrt()),
            depth_size=float(truth.square().mean().sqrt()),
        )


def aign_statistics(network: nn.Module, faces: LandmarkArchive) -> str:
    """The text of AIGN's launcher: one DepthCorr (by orientation, where faces have one), one keypoint error."""
    assert isinstance(network, AignGenerator)
    error = all_pairs(network, faces).error[~np.eye(len(faces), dtype=bool)]
    return _aign_corr(face_depths(network, faces), faces) + f"src: all, tgt: all\n{_mean_and_spread(error)}\n"


def face_depths(network: AignGenerator, faces: LandmarkArchive) -> np.ndarray:
    """(n, 66) AIGN's depth of each face."""
    with torch.inference_mode():
        return _aign_depths(network, torch.from_numpy(faces.xy).to(next(network.parameters()).device)).cpu().numpy()


def dump_depths(path: Path, network: Generator | AignGenerator, faces: LandmarkArchive) -> None:
    """Write `preds`: (n, n, 66) float64 with a zero diagonal; AIGN (n, 66)."""
    if isinstance(network, AignGenerator):
        preds = face_depths(network, faces).astype(np.float64)
    else:
        preds = all_pairs(network, faces).depth.astype(np.float64)
        preds[np.arange(len(faces)), np.arange(len(faces))] = 0
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, preds=preds)


def _predictor(
    network: Generator | AignGenerator, xy: Tensor
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]:
    if not isinstance(network, AignGenerator):
        return lambda source, target: network(xy[source], xy[target])
    depths = _aign_depths(network, xy)
    return lambda source, target: (depths[source], None)


def _aign_depths(network: AignGenerator, xy: Tensor) -> Tensor:
    return torch.cat([network.of_landmarks(part).x3d[:, 2] for part in xy.split(FACES_AT_ONCE)])


def _aign_corr(depth: np.ndarray, faces: LandmarkArchive) -> str:
    groups = [("all", np.ones(len(faces), dtype=bool))]
    if faces.orientations is not None:
        groups = [(name, faces.orientations == name) for name in ORIENTATIONS]
    return "".join(f"{name} =  {depth_corr(depth[chosen], faces.depth[chosen])!r}\n" for name, chosen in groups)


def _corr(pairs: Pairs, faces: LandmarkArchive, chosen: np.ndarray) -> float:
    source, _ = np.nonzero(chosen)
    return depth_corr(pairs.depth[chosen], faces.depth[source])


def _group(faces: LandmarkArchive, source: str, target: str) -> np.ndarray:
    assert faces.orientations is not None
    chosen = (faces.orientations == source)[:, None] & (faces.orientations == target)[None]
    return chosen & ~np.eye(len(faces), dtype=bool)


def _orientation_pairs() -> Iterator[tuple[str, str]]:
    return ((source, target) for source in ORIENTATIONS for target in ORIENTATIONS)


def _error_lines(source: str, target: str, errors: np.ndarray) -> str:
    return f"src: {source}, tgt: {target}\nkp error: {_mean_and_spread(errors)}\n"


def _mean_and_spread(errors: np.ndarray) -> str:
    return f"{float(errors.mean())!r}  +/-  {float(errors.std())!r}"


def _first(faces: LandmarkArchive, count: int) -> LandmarkArchive:
    return LandmarkArchive(faces.xy[:count], faces.depth[:count])


def _data_of(run: Path | None) -> Path:
    if run is None or not run.is_dir():
        raise UserError("only a run knows its data: give --data a folder with valid.npz and test.npz")
    return Path(Run.open(run, "depthnet").header()["config"]["data"])
