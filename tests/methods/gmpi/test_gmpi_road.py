"""The whole road by one command: portraits, a 2-D GAN, GMPI, what it shows, and depth measured against truth."""

import json

import pytest
import torch

from likeness.capture.gmpi import GmpiCapture, capture_gmpi
from likeness.methods.gmpi import truth
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.lighting import expected_depth
from likeness.methods.gmpi.packed import open_avatar
from likeness.methods.gmpi.proof import HELD_OUT_SEED, ProveConfig, prove


@pytest.fixture(scope="module")
def proof(tmp_path_factory):
    """A short proof: its folder, and what it measured."""
    out = tmp_path_factory.mktemp("proof")
    config = ProveConfig(
        out=out, pictures=32, people=4, flat_updates=40, updates=40, measured=2, fit_steps=(60, 20), pose_steps=1,
        weights=out / "small.safetensors",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth, "POSES", (-1.0, 0.0, 1.0))
        return out, prove(config)


@pytest.mark.slow
def test_the_road_ends_in_pictures_a_video_a_mesh_a_page_and_measures(proof):
    out, reports = proof
    shown = {path.name for path in (out / "samples").iterdir()}
    assert {"rendered.png", "video_rgb_horizontal.mp4", "video_depth_horizontal.mp4", "parallax.html"} <= shown
    assert "mesh_0.7.glb" in shown
    written = json.loads((out / "truth/truth.json").read_text())
    assert [row["portrait"] for row in written["portraits"]] == [report.portrait for report in reports]
    assert len(reports) == 2
    # Even a short training fits a portrait of somebody it has not seen better than a grey picture would (12 dB).
    assert written["mean"]["psnr"] > 14
    assert 0 < written["mean"]["depth"] < 2.5


@pytest.mark.slow
def test_the_packed_model_is_the_trained_one(proof):
    out, _ = proof
    file = out / "small.safetensors"
    assert file.stat().st_size < 4e6
    one, two = Avatar.from_run(out / "runs/gmpi-tiny"), open_avatar(file)
    planes = two.planes()
    first, second = (avatar.mpi(one.z(3), planes, psi=0.7) for avatar in (one, two))
    assert (first.foreground - second.foreground).abs().max() < 0.05
    assert torch.nn.functional.l1_loss(first.alpha, second.alpha) < 0.01


def test_the_shipped_model_shows_heads_before_a_wall():
    avatar = open_avatar(None)
    planes = avatar.planes(16)
    z = torch.cat([avatar.z(seed) for seed in range(8)])
    mpi = avatar.mpi(z, planes, psi=0.7)
    depth = expected_depth(mpi.alpha, planes[:, 0])
    head, corners = depth[:, 12:20, 12:20].mean(), torch.stack([depth[:, :6, 3:6], depth[:, :6, -6:-3]]).mean()
    assert corners - head > 0.25 * (avatar.scene.far - avatar.scene.near)


@pytest.mark.slow
def test_the_shipped_model_knows_the_shape_of_people_it_has_not_seen(tmp_path, monkeypatch):
    data = tmp_path / "held_out"
    capture_gmpi(GmpiCapture(out=data, resolution=32, pictures=4, people=24, seed=HELD_OUT_SEED))
    monkeypatch.setattr(truth, "POSES", (0.0,))
    reports = truth.measure_truth(open_avatar(None), tmp_path / "truth", 4, (120, 40), 1, data=data)
    assert sum(report.depth for report in reports) / 4 < 1  # what a flat board gets
    assert sum(report.novel_psnr - report.board_psnr for report in reports) / 4 > 1
