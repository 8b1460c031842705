"""CycleGAN against recorded forwards and two training steps."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from likeness.engine import Updates
from likeness.engine.averages import Averages
from likeness.engine.context import Context
from likeness.methods.depthnet.repair.archives import RepairBatch
from likeness.methods.depthnet.repair.config import RepairConfig
from likeness.methods.depthnet.repair.method import RepairStage
from likeness.methods.depthnet.repair.networks import NETWORKS


@pytest.fixture(scope="module")
def recorded(parity_dir):
    with np.load(parity_dir / "depthnet" / "cyclegan.npz") as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files}


def filled(parity_dir, kind, task):
    spec = importlib.util.spec_from_file_location("fill", parity_dir / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    keys = json.loads((parity_dir / "depthnet" / "keys.json").read_text())
    stage = RepairStage(RepairConfig(task=task))
    for name in NETWORKS:
        expected = keys[f"cyclegan_block9_{kind}.{name}"]
        state = stage.networks[name].state_dict()
        assert {key: list(value.shape) for key, value in state.items()} == {key: v[0] for key, v in expected.items()}
        for key, value in state.items():
            if value.is_floating_point():
                state[key] = torch.from_numpy(fill.value(key, tuple(value.shape)))
        stage.networks[name].load_state_dict(state)
    return stage


def context(stage):
    updates = Updates(stage.networks, stage.optimizers(), stage.updates())
    return Context(updates, Averages({}, {}), seed=0, splits=1, device=torch.device("cpu"), rank=0, world=1)


@pytest.mark.parametrize(("kind", "task"), [("a6b3", "background"), ("a3b3", "faceswap")])
def test_row_28_cyclegan_forwards(parity_dir, recorded, kind, task):
    stage = filled(parity_dir, kind, task)
    a, b = recorded[f"{kind}_A"].float(), recorded[f"{kind}_B"].float()
    with torch.no_grad():
        for network in stage.networks.values():
            network.eval()
        for name, value in (
            ("atob", stage.networks["g_atob"](a)),
            ("btoa", stage.networks["g_btoa"](b)),
            ("da", stage.networks["d_a"](a)),
            ("db", stage.networks["d_b"](b)),
        ):
            torch.testing.assert_close(value, recorded[f"{kind}_eval_{name}"].float(), atol=2e-3, rtol=0, msg=name)
        if kind == "a6b3":
            for name, value in stage.measure(RepairBatch(a, b), context(stage)).items():
                assert float(value) == pytest.approx(float(recorded[f"a6b3_evalloss_{name}"]), rel=1e-3), name


def test_row_28_parameter_counts():
    for task, counts in (
        ("background", (11_387_587, 11_387_590, 2_767_809, 2_764_737)),
        ("faceswap", (11_378_179, 11_378_179, 2_764_737, 2_764_737)),
    ):
        stage = RepairStage(RepairConfig(task=task))
        assert tuple(sum(p.numel() for p in stage.networks[name].parameters()) for name in NETWORKS) == counts


def test_row_28_two_training_steps(parity_dir, recorded, monkeypatch):
    stage = filled(parity_dir, "a6b3", "background")
    ctx = context(stage)
    batch = RepairBatch(recorded["a6b3_A"].float(), recorded["a6b3_B"].float())
    for network in stage.networks.values():
        network.train()
    norms: dict[str, float] = {}
    plain = ctx.updates.apply

    def measured(name, *counts):
        for network in ("g_atob", "g_btoa") if name == "generators" else (name,):
            gradients = [parameter.grad for parameter in stage.networks[network].parameters()]
            norms[network] = float(torch.cat([gradient.flatten() for gradient in gradients]).norm())
        return plain(name, *counts)

    monkeypatch.setattr(ctx.updates, "apply", measured)
    for number, (losses, gradients) in enumerate(((1e-3, 0.01), (0.05, None))):
        if number == 0:
            fake = stage.networks["g_atob"](batch.a).detach()
            torch.testing.assert_close(fake, recorded["a6b3_train_atob"].float(), atol=2e-3, rtol=0)
            stage = filled(parity_dir, "a6b3", "background")
            ctx = context(stage)
            plain = ctx.updates.apply
            monkeypatch.setattr(ctx.updates, "apply", measured)
        ctx.begin(1, number, batch)
        stage.step(batch, ctx)
        ctx.finish()
        for name in ("atob_gen", "cycle_aba", "btoa_gen", "cycle_bab", "d_a", "d_b"):
            expected = float(recorded[f"a6b3_train{number}_loss_{name}"])
            assert float(ctx.latest[name]) == pytest.approx(expected, rel=losses), (number, name)
        if gradients is not None:
            for name, norm in norms.items():
                expected = float(recorded[f"a6b3_train{number}_gradnorm_{name}"])
                assert norm == pytest.approx(expected, rel=gradients), name
