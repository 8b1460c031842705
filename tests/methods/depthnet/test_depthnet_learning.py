"""What DepthNet learns on synthetic faces, and what its shipped weights know."""

import dataclasses
import re

import numpy as np
import pytest

from likeness.engine import train
from likeness.methods.depthnet.config import PRESETS
from likeness.methods.depthnet.data import synthetic_split
from likeness.methods.depthnet.demo import demo
from likeness.methods.depthnet.evaluate import EvaluateConfig, evaluate, synthetic_statistics
from likeness.methods.depthnet.method import DepthStage
from likeness.methods.depthnet.published import load_generator, load_network


def numbers(text):
    """DepthCorr, and mean of each line "name: mean  +/-  spread"."""
    found = {name: float(value) for name, value in re.findall(r"^([^:\n]+): ([\d.e-]+)", text, re.MULTILINE)}
    return found | {"DepthCorr": float(re.search(r"DepthCorr:\n([\d.]+)", text)[1])}


@pytest.mark.slow
def test_row_31_experiments_1_and_3_on_synthetic_faces(tmp_path):
    held_out = synthetic_split("test", 2000, seed=0)
    results = {}
    for name, preset, epochs in (
        ("plain", "exp1_lamb1_sd5_nogan_sigma0_fixm", 6),
        ("gan", "exp1_lamb1_sd5_wgan_dnorm0.1_sigma0_fixm", 6),
    ):
        config = dataclasses.replace(
            PRESETS[preset], synthetic=8000, experiment_dir=tmp_path, epochs=epochs, visuals_every=0, accelerator="cpu"
        )
        run = train(DepthStage, config, method="depthnet", stage="depth", argv=["test"])
        lines = (run.folder / "results.txt").read_text().splitlines()
        first, last = (
            float(dict(zip(lines[0].split(","), line.split(",")))["valid_l2"]) for line in (lines[1], lines[-1])
        )
        assert last < first
        results[name] = numbers(synthetic_statistics(load_network(run.folder), held_out))
    print(results)
    assert results["gan"]["DepthCorr"] >= 35
    assert results["gan"]["DepthCorr"] >= results["plain"]["DepthCorr"] + 10
    assert results["plain"]["kp error"] <= 0.5 * results["plain"]["kp error of x and y alone"]


def test_row_31_shipped_weights_on_held_out_faces(capsys):
    evaluate(EvaluateConfig(synthetic=500))
    result = numbers(capsys.readouterr().out)
    assert result["DepthCorr"] >= 35
    assert result["kp error"] <= 0.5 * result["kp error of x and y alone"]
    assert result["kp error of true depth"] < result["kp error of x and y alone"]
    # Depth itself, not only up to the affine's freedom: noses are near and ears far.
    assert result["depth error (rms)"] <= 0.5 * result["true depth (rms)"]
    assert not load_generator().training


def test_synthetic_splits_share_no_face():
    splits = [synthetic_split(split, 40, seed=0) for split in ("train", "valid", "test")]
    flat = np.concatenate([split.xy.reshape(len(split), -1) for split in splits])
    assert len(np.unique(flat, axis=0)) == len(flat)
    for split in splits:
        assert np.abs(split.depth.mean(1)).max() < 1e-5
        low, high = split.xy.min(1), split.xy.max(1)
        larger = (high - low).max(1)
        assert ((larger > 1 / 1.6 / 1.11) & (larger < 1 / 1.6 / 0.89)).all()


@pytest.mark.slow
def test_the_demo_shows_both_experiments_and_a_turned_photograph(tmp_path):
    section = demo(tmp_path, 0.3, 0)
    assert section.title == "DepthNet"
    names = [path.name for path, _ in section.figures]
    assert {"keypoint_loss.png", "depth_corr.png", "depthnet.mp4", "the_shipped_model_strip.png", "depths.png"} <= {
        *names
    }
    assert all(path.is_file() for path, _ in section.figures)
    assert dict(section.rows)["keypoint error of the best affine of x and y alone"] > 1e-3
