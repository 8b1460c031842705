"""Statistics against recorded ones: from stored depths and from the filled networks."""

import re

import numpy as np
import pytest

from likeness.formats.depthnet3dfaw import LandmarkArchive
from likeness.methods.depthnet import evaluate
from likeness.methods.depthnet.aign import AignGenerator
from likeness.methods.depthnet.networks import FixedAffineGenerator, LearnedAffineGenerator

NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


@pytest.fixture(scope="module")
def faces(recorded):
    want = recorded("metrics")
    test = LandmarkArchive(want["test_xy"], want["test_z"], None, want["test_orient"])
    return LandmarkArchive(want["valid_xy"], want["valid_z"]), test


def assert_same_text(ours, recorded):
    """The same words, DepthCorr within 0.02 and keypoint errors within 1e-3 of their value."""
    assert NUMBER.sub("#", ours) == NUMBER.sub("#", recorded)
    for ours_line, recorded_line in zip(ours.splitlines(), recorded.splitlines()):
        for a, b in zip(NUMBER.findall(ours_line), NUMBER.findall(recorded_line)):
            if "+/-" in ours_line:
                np.testing.assert_allclose(float(a), float(b), rtol=1e-3)
            else:
                assert abs(float(a) - float(b)) <= 0.02


def test_row_14_depth_corr_of_stored_depths(recorded, recorded_json):
    want = recorded("metrics")
    assert abs(evaluate.depth_corr(want["corr_pred"], want["corr_actual"]) - want["corr_value"]) <= 1e-9
    text = recorded_json("metrics_stdout")["fixm"]
    grid = {
        line.split("\t")[0]: [float(value) for value in line.split("\t")[1:]]
        for line in text.splitlines()
        if re.match(r"(left|center|right)\t\d", line)
    }
    orientations = want["test_orient"]
    for source, row in grid.items():
        for target, value in zip(("left", "center", "right"), row):
            chosen = np.outer(orientations == source, orientations == target) & ~np.eye(15, dtype=bool)
            i, _ = np.nonzero(chosen)
            assert abs(evaluate.depth_corr(want["preds_fixm"][chosen], want["test_z"][i]) - value) <= 1e-6
    constant = want["corr_pred"].copy()
    constant[:, 3] = 1.0
    assert np.isnan(evaluate.depth_corr(constant, want["corr_actual"]))


@pytest.mark.parametrize(
    ("name", "build"),
    [("fixm", FixedAffineGenerator), ("wgan", FixedAffineGenerator), ("learnm", LearnedAffineGenerator)],
)
def test_row_14_statistics_text(faces, recorded_json, fill, name, build):
    network = fill(build()).eval()
    ours = evaluate.valid_statistics(network, faces[0]) + evaluate.test_statistics(network, faces[1])
    assert_same_text(ours, recorded_json("metrics_stdout")[name])


def test_row_14_aign_text(faces, recorded, recorded_json, fill, monkeypatch):
    network = fill(AignGenerator()).eval()
    # AIGN with filled weights says nearly the same of every face (spread 9e-5), so that float32 alone moves its
    # DepthCorr by 0.03; in float64 it is held to the stored depths, and the text is that of the stored depths.
    exact = evaluate.face_depths(network.double(), faces[1])
    stored = recorded("metrics")["preds_aign"]
    assert np.abs(exact - stored).max() <= 1e-5 * np.abs(stored).max()
    network.float()
    for orientation in ("left", "center", "right"):
        chosen = faces[1].orientations == orientation
        ours = evaluate.depth_corr(evaluate.face_depths(network, faces[1])[chosen], faces[1].depth[chosen])
        assert abs(ours - evaluate.depth_corr(exact[chosen], faces[1].depth[chosen])) <= 0.02
    valid = evaluate.aign_statistics(network, faces[0])
    monkeypatch.setattr(evaluate, "face_depths", lambda *unused: stored)
    assert_same_text(valid + evaluate.aign_statistics(network, faces[1]), recorded_json("metrics_stdout")["aign"])
    assert evaluate.valid_statistics(network, faces[0]).startswith("DepthCorr:\n")


def test_row_15_batch_size_changes_nothing(faces, fill):
    network = fill(FixedAffineGenerator()).eval()
    whole = evaluate.all_pairs(network, faces[1])
    for at_once in (1, 7, 64):
        parts = evaluate.all_pairs(network, faces[1], at_once)
        np.testing.assert_allclose(parts.depth, whole.depth, atol=1e-5 * np.abs(whole.depth).max())
        np.testing.assert_allclose(parts.error, whole.error, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "build"),
    [("fixm", FixedAffineGenerator), ("learnm", LearnedAffineGenerator), ("aign", AignGenerator)],
)
def test_row_16_dumped_depths(recorded, faces, fill, tmp_path, name, build):
    evaluate.dump_depths(tmp_path / "depths.npz", fill(build()).eval(), faces[1])
    preds = np.load(tmp_path / "depths.npz")["preds"]
    want = recorded("metrics")[f"preds_{name}"]
    assert preds.shape == want.shape == ((15, 66) if name == "aign" else (15, 15, 66))
    assert preds.dtype == np.float64
    assert np.abs(preds - want).max() <= 1e-4 * np.abs(want).max()
    if name != "aign":
        assert not preds[np.arange(15), np.arange(15)].any()
