"""The whole road by one command: portraits, a 2-D GAN, GMPI, what it shows, and depth measured against truth."""

import json

import pytest
import torch

from likeness.methods.gmpi import truth
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.packed import open_avatar
from likeness.methods.gmpi.proof import ProveConfig, prove


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
