"""Training steps of the stages, run by the engine's own updates, against recorded steps of the program."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from likeness.engine.averages import Averages
from likeness.engine.context import Context
from likeness.engine.updates import Updates
from likeness.formats.depthnet3dfaw import LandmarkArchive, save_archive
from likeness.methods.depthnet.affine import fit_affine
from likeness.methods.depthnet.aign import heat_maps
from likeness.methods.depthnet.config import AignConfig, DepthConfig
from likeness.methods.depthnet.data import PairBatch
from likeness.methods.depthnet.method import AignStage, DepthStage

SWITCHES = {
    "fixm_nogan": {"gan": False},
    "fixm_wgan": {"dnorm": 0.1},
    "learnm_nogan": {"gan": False, "learn_m": True},
    "learnm_wgan": {"dnorm": 0.1, "learn_m": True},
    "fixm_nogan_detach": {"gan": False, "detach": True},
    "fixm_nogan_l1": {"gan": False, "use_l1": True},
}


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    faces = LandmarkArchive(rng.random((4, 66, 2), dtype=np.float32), rng.random((4, 66), dtype=np.float32))
    for split in ("train", "valid"):
        save_archive(tmp_path / f"{split}.npz", faces)
    return tmp_path


class Watched:
    """A stage with its optimisers, and what each of their steps saw."""

    def __init__(self, stage):
        self.stage = stage
        for network in stage.networks.values():
            network.train()
        self.updates = Updates(stage.networks, stage.optimizers(), stage.updates())
        averages = Averages(stage.networks, {})
        cpu = torch.device("cpu")
        self.ctx = Context(self.updates, averages, seed=0, splits=1, device=cpu, rank=0, world=1)
        self.steps = []
        for name, optimizer in self.updates.optimizers.items():
            optimizer.register_step_pre_hook(lambda *unused, name=name: self.note(name))

    def note(self, name):
        norms = {
            key: parameter.grad.norm().item()
            for key, parameter in self.stage.networks[name].named_parameters()
            if parameter.grad is not None
        }
        self.steps.append((name, norms))

    def step(self, position, batch):
        self.ctx.begin(1, position, batch)
        self.stage.step(batch, self.ctx)
        self.ctx.finish()
        return {name: value.item() for name, value in self.ctx.latest.items()}


def feeds_batch_norm(network):
    """Names of the biases whose true gradient is zero, because BatchNorm takes the mean away."""
    names = set()
    for prefix, module in network.named_modules():
        if isinstance(module, torch.nn.Sequential):
            layers = list(module.named_children())
            for (index, _), (_, after) in itertools.pairwise(layers):
                if isinstance(after, torch.nn.modules.batchnorm._BatchNorm):
                    names.add(f"{prefix}.{index}.bias")
    return names


@pytest.mark.parametrize("name", SWITCHES)
def test_row_9_two_steps(recorded, recorded_json, fill, data, name):
    want, told = recorded("train_steps"), recorded_json("train_steps")[name]
    stage = DepthStage(DepthConfig(data=data, batch_size=2, **SWITCHES[name]))
    for network in stage.networks.values():
        fill(network)
    watched = Watched(stage)
    predictions = []
    generator = stage.networks["generator"]
    generator.register_forward_hook(lambda module, inputs, output: predictions.append(output))
    for step in (0, 1):
        source, depth, target = (torch.from_numpy(want[f"b{step}_{key}"]) for key in ("src_xy", "src_z", "tgt_xy"))
        losses = watched.step(step, PairBatch(source, depth, target, depth))
        recorded_losses = [key for key in want.files if key.startswith(f"{name}_s{step}_loss_")]
        for key in recorded_losses:
            ours = losses[key.removeprefix(f"{name}_s{step}_loss_")]
            if step == 0:
                # Means of scores of size 1 may lie near zero: theirs is an absolute tolerance.
                atol = 1e-4 if "_loss" in key.partition("_loss_")[2] else 0
                np.testing.assert_allclose(ours, want[key], rtol=1e-4, atol=atol, err_msg=key)
            else:
                np.testing.assert_allclose(ours, want[key], rtol=3e-2, atol=1e-3 if "wgan" in name else 0, err_msg=key)
        if step == 0:
            z, m = want[f"{name}_s0_z"][:, 0], want[f"{name}_s0_m"]
            prediction = predictions[0]
            assert np.abs(prediction.depth.detach().numpy() - z).max() <= 1e-4 * np.abs(z).max()
            affine = prediction.affine
            if affine is None:
                affine = fit_affine(source, prediction.depth, target)
            assert np.abs(affine.detach().numpy() - m).max() <= 1e-4 * np.abs(m).max()
    assert [{"generator": "g", "critic": "d"}[net] for net, _ in watched.steps] == told["optimizer_calls"]
    per_iteration = len(watched.steps) // 2
    for (net, norms), wanted in zip(watched.steps[:per_iteration], told["grad_norms"]):
        noise = feeds_batch_norm(stage.networks[net])
        for key, value in wanted["norms"].items():
            # A last bias that no term reaches has no gradient at all.
            if key not in noise and value > 1e-12:
                np.testing.assert_allclose(norms[key], value, rtol=5e-3, err_msg=f"{net} {key}")
    for net, sums in (("generator", told["g_sum_after"]), ("critic", told["d_sum_after"])):
        state = stage.networks[net].state_dict()
        for key, value in sums.items():
            if key.endswith("num_batches_tracked"):
                assert state[key].sum().item() == value


def test_row_9_generator_term_every_second_iteration(recorded, data):
    want = recorded("train_steps")
    stage = DepthStage(DepthConfig(data=data, batch_size=2, update_g_every=2))
    watched = Watched(stage)
    source, depth, target = (torch.from_numpy(want[f"b0_{key}"]) for key in ("src_xy", "src_z", "tgt_xy"))
    batch = PairBatch(source, depth, target, depth)
    watched.step(0, batch)
    watched.step(1, batch)
    assert [name for name, _ in watched.steps] == ["generator", "critic"] * 2
    assert watched.ctx.counts["g_loss"] == 1
    assert watched.ctx.counts["l2"] == 2


def test_row_9_aign_least_squares_step(recorded, fill, data):
    want = recorded("aign_lsgan_step")
    stage = AignStage(AignConfig(data=data, batch_size=2, lamb=float(want["lamb"])))
    for network in stage.networks.values():
        fill(network)
    xy, z = torch.from_numpy(want["xy"]), torch.from_numpy(want["z"])
    watched = Watched(stage)
    shapes = []
    stage.networks["generator"].register_forward_hook(lambda module, inputs, output: shapes.append(output))
    losses = watched.step(0, PairBatch(xy, z, xy, z))
    for ours, theirs in (("g_loss", "g_loss"), ("l1", "l1_loss"), ("d_loss", "d_loss")):
        np.testing.assert_allclose(losses[ours], want[f"loss_{theirs}"], rtol=1e-4, err_msg=ours)
    for ours, theirs in ((shapes[0].x3d, "x3d"), (shapes[0].projection, "x2d")):
        assert np.abs(ours.detach().numpy() - want[theirs]).max() <= 1e-4 * np.abs(want[theirs]).max()
    seen = dict(watched.steps)
    for key in want.files:
        if key.startswith("gradnorm_"):
            net, parameter = {"g": "generator", "d": "critic"}[key[9]], key[11:]
            np.testing.assert_allclose(seen[net][parameter], want[key], rtol=5e-3, err_msg=key)


def test_row_4_aign_evaluation_losses(recorded, fill, data):
    want = recorded("aign")
    xy, z = torch.from_numpy(want["xy"]), torch.from_numpy(want["z"])
    stage = AignStage(AignConfig(data=data, batch_size=2, gan_mode="wgan"))
    for network in stage.networks.values():
        fill(network).eval()
    with torch.no_grad():
        measures = stage.measure(PairBatch(xy, z, xy, z), None)
    for value, name in zip(want["eval_losses"], ("g_loss", "l1", "l2", "d_loss")):
        np.testing.assert_allclose(measures[name].item(), value, rtol=1e-4, err_msg=name)
    assert heat_maps(xy).shape == (2, 66, 128, 128)
    assert dataclasses.asdict(stage.config)["gan_mode"] == "wgan"
