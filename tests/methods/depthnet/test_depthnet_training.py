"""Presets, guards, pairing, resume, and the files of a run."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

from likeness.engine import train
from likeness.errors import UserError
from likeness.formats.depthnet3dfaw import LandmarkArchive
from likeness.media.image import read_uint8
from likeness.methods.depthnet.config import AIGN_PRESETS, PRESETS, AignConfig, DepthConfig, original_name
from likeness.methods.depthnet.data import PairBatches
from likeness.methods.depthnet.method import AignStage, DepthStage


def run_depth(prepared, tmp_path, name="run", **options):
    options = {"epochs": 2, "visuals_every": 0, "save_every": 1, "batch_size": 8} | options
    config = DepthConfig(data=prepared, experiment_dir=tmp_path, experiment_name=name, accelerator="cpu", **options)
    return train(DepthStage, config, method="depthnet", stage="depth", argv=["test"])


def test_row_10_presets_by_their_original_names():
    expected = {
        "exp1.lamb1.sd5.nogan.sigma0.fixm": (False, False, 0.0, 0.0, 10),
        "exp1.lamb1.sd5.nogan.learnm": (False, True, 0.0, 0.0, 20),
        "exp1.lamb1.sd5.wgan.dnorm0.1.sigma0.fixm": (True, False, 0.1, 0.0, 5),
        "exp1.lamb1.sd5.wgan.dnorm0.1.learnm": (True, True, 0.1, 0.0, 5),
        "exp1.lamb1.sd5.nogan.sigma0.05.fixm": (False, False, 0.0, 0.05, 10),
        "exp1.lamb1.sd5.wgan.dnorm0.1.sigma0.05.fixm": (True, False, 0.1, 0.05, 5),
    }
    for script, (gan, learn_m, dnorm, sigma, save_every) in expected.items():
        config = PRESETS[original_name(f"exps/{script}.sh")]
        assert (config.gan, config.learn_m, config.dnorm, config.sigma) == (gan, learn_m, dnorm, sigma)
        assert (config.lamb, config.batch_size, config.epochs, config.lr) == (1.0, 32, 100, 2e-4)
        assert (config.save_every, config.resume, config.spectral) == (save_every, "auto", False)
    aign = AIGN_PRESETS[original_name("exps_aigns/exp1_lamb100.sh")]
    assert (aign.lamb, aign.batch_size, aign.epochs, aign.save_every) == (100.0, 32, 100, 10)
    with pytest.raises(UserError, match="presets are"):
        original_name("exps/other.sh")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gan": False, "lamb": 2.0}, "nothing to weigh it against"),
        ({"gan": False, "dnorm": 0.1}, "belongs to the critic"),
        ({"learn_m": True, "sigma": 0.05}, "learn-m"),
        ({"sigma": -1.0}, "negative"),
    ],
)
def test_row_11_guards(options, message):
    with pytest.raises(UserError, match=message):
        DepthConfig(**options)


def test_pairs_are_two_shufflings_of_one_set():
    archive = LandmarkArchive(
        np.arange(13, dtype=np.float32).repeat(132).reshape(13, 66, 2), np.zeros((13, 66), np.float32)
    )
    batches = PairBatches(archive, 4, seed=1)
    orders = []
    for epoch in (1, 2):
        batches.set_epoch(epoch)
        read = [batches[i] for i in range(len(batches))]
        assert [len(batch.source_xy) for batch in read] == [4, 4, 4]  # one face alone would break BatchNorm
        sources = torch.cat([batch.source_xy[:, 0, 0] for batch in read]).tolist()
        targets = torch.cat([batch.target_xy[:, 0, 0] for batch in read]).tolist()
        assert len(set(sources)) == len(set(targets)) == 12
        assert sources != targets
        orders.append((sources, targets))
    assert orders[0] != orders[1]
    halves = [PairBatches(archive, 4, seed=1, rank=rank, world=2)[0] for rank in (0, 1)]
    batches.set_epoch(1)
    assert torch.equal(torch.cat([half.target_xy for half in halves]), batches[0].target_xy)
    with pytest.raises(UserError, match="2 faces a batch"):
        PairBatches(archive, 1, seed=1)


def weights(run, tag="last"):
    return torch.load(run.checkpoints.path(run.checkpoints.find(tag), "generator"), weights_only=True)


def test_row_12_resume_auto_path_none(prepared, tmp_path, capsys):
    whole = run_depth(prepared, tmp_path, "whole", epochs=3)
    run_depth(prepared, tmp_path, "parts", epochs=1)
    parts = run_depth(prepared, tmp_path, "parts", epochs=3)
    assert "parts" in capsys.readouterr().out
    elsewhere = run_depth(prepared, tmp_path, "elsewhere", epochs=3, resume=str(whole.checkpoints.path(
        whole.checkpoints.find("2"), "state")))  # fmt: skip
    for other in (parts, elsewhere):
        assert all(torch.equal(value, weights(whole)[key]) for key, value in weights(other).items())
    before = weights(whole)
    again = run_depth(prepared, tmp_path, "whole", epochs=3)  # finished: nothing left to train
    assert all(torch.equal(value, before[key]) for key, value in weights(again).items())
    with pytest.raises(UserError, match="resume none"):
        run_depth(prepared, tmp_path, "whole", epochs=3, resume="none")


def test_row_13_results_and_strips(prepared, tmp_path):
    run = run_depth(prepared, tmp_path, epochs=1, dnorm=0.1, visuals_every=1)
    run = run_depth(prepared, tmp_path, epochs=2, dnorm=0.1, visuals_every=1)
    with open(run.folder / "results.txt", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    measures = ("l2", "g_loss", "d_loss", "d_loss_real", "d_loss_fake")
    columns = ["epoch", *(f"train_{name}" for name in (*measures, "dnorm_x")), *(f"valid_{name}" for name in measures)]
    assert set(rows[0]) == {*columns, "lr_g", "lr_d", "time"}
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    assert float(rows[0]["lr_g"]) == 2e-4
    for epoch in (1, 2):
        for phase in ("train", "valid"):
            assert read_uint8(run.folder / "vis" / f"{phase}_{epoch}.png").shape == (600, 2000, 3)


def test_every_variant_trains(prepared, tmp_path):
    before = None
    for name, options in {
        "l1": {"gan": False, "use_l1": True},
        "ridge": {"gan": False, "sigma": 0.05},
        "learn_m": {"learn_m": True, "dnorm": 0.1},
        "spectral": {"spectral": True, "dnorm": 0.1},
        "decay": {"gan": False, "l2_decay": 0.1},
    }.items():
        run = run_depth(prepared, tmp_path, name, epochs=1, **options)
        state = weights(run)
        assert all(torch.isfinite(value).all() for value in state.values())
        assert before is None or not torch.equal(before, next(iter(state.values())))
        before = next(iter(state.values()))


@pytest.mark.parametrize("mode", ["lsgan", "bce_logits", "wgan"])
def test_aign_trains(prepared, tmp_path, mode):
    config = AignConfig(
        data=prepared, experiment_dir=tmp_path, epochs=1, max_updates=2, batch_size=4, visuals_every=0, gan_mode=mode,
        dnorm=0.1, spectral=mode == "wgan", validate_every=0, accelerator="cpu", update_g_every=2,
    )  # fmt: skip
    run = train(AignStage, config, method="depthnet", stage="aign", argv=["test"])
    assert (run.folder / "results.txt").read_text().startswith("epoch,train_g_loss,train_l1")
    assert dataclasses.asdict(config)["lamb"] == 10.0
