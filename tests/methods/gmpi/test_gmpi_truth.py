"""The fit of synthetic portraits against their true depth, pose and other views."""

import json

import numpy as np
import pytest
import torch

from likeness.capture.gmpi import GmpiCapture, Portrait, capture_gmpi, photograph
from likeness.engine import train
from likeness.errors import UserError
from likeness.methods.gmpi import truth as t
from likeness.methods.gmpi.config import GMPIConfig
from likeness.methods.gmpi.data import pose_of
from likeness.methods.gmpi.evaluate import EvaluateConfig, evaluate
from likeness.methods.gmpi.method import GMPIStage


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage") / "runtime_dataset"
    capture_gmpi(GmpiCapture(out=folder, pictures=4, people=1, resolution=32))
    return folder


def trained(data, where):
    config = GMPIConfig(
        resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channel_base=512, channel_max=16, data=data,
        experiment_dir=where, planes=8, batch_size=4, max_updates=1, visuals_every=0,
    )  # fmt: skip
    return train(GMPIStage, config, method="gmpi", stage="gmpi", argv=[]).folder


def test_portraits_are_measured_against_their_truth(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(t, "POSES", (0.0,))
    run = trained(stage, tmp_path)
    avatar = t.Avatar.from_run(run)
    (report,) = t.measure_truth(avatar, tmp_path / "out", 1, steps=(20, 10), pose_steps=1)
    written = json.loads((tmp_path / "out/truth.json").read_text())
    assert written["portraits"][0]["depth"] == report.depth
    assert 0 < report.depth < 4
    assert report.psnr > 10
    assert report.novel_psnr > 5
    assert (tmp_path / "out/00000000.png").is_file()
    yaw, pitch = pose_of(avatar.config.open().pose(0), avatar.scene)
    assert report.yaw == pytest.approx(abs(yaw))  # only the frontal pose was tried
    assert report.pitch == pytest.approx(abs(pitch))


def test_another_pose_shows_the_same_scene_and_its_label_turns_alike(stage):
    shot = Portrait(stage, 0, 0, 1, 32, "ffhq", True)
    frame, rotation, _ = photograph(shot)
    scene = GMPIConfig(resolution=32, data=stage).scene
    stored = pose_of(GMPIConfig(resolution=32, data=stage).open().pose(0), scene)
    again, turned, _ = photograph(shot, stored)
    assert np.allclose(rotation, turned, atol=0.02)  # the capture's yaw and pitch are those of the camera
    assert (again.image - frame.image).abs().mean() < 0.02
    aside, _, _ = photograph(shot, (stored[0] + 0.4, stored[1]))
    assert (aside.image - frame.image).abs().mean() > 2 * (again.image - frame.image).abs().mean()


def test_data_without_truth_is_refused(collection, tmp_path):
    config = GMPIConfig(
        resolution=16, z_dim=16, w_dim=16, mapping_layers=2, channel_base=256, channel_max=16, data=collection,
        experiment_dir=tmp_path, planes=4, batch_size=4, max_updates=1, visuals_every=0,
    )  # fmt: skip
    run = train(GMPIStage, config, method="gmpi", stage="gmpi", argv=[]).folder
    with pytest.raises(UserError, match="no truth"):
        evaluate(EvaluateConfig(run=run, out=tmp_path / "out", task="truth", n_imgs=1))


def test_psnr_of_a_tenth_is_twenty():
    assert t.psnr(torch.full((1, 3, 2, 2), 0.6), torch.full((1, 3, 2, 2), 0.5)) == pytest.approx(20, abs=1e-3)
