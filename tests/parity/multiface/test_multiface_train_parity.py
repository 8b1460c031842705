"""Rows L2 and L3: the recorded training and testing loops."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from likeness.engine import Context, Updates
from likeness.engine.averages import Averages
from likeness.methods.multiface.config import PRESETS
from likeness.methods.multiface.evaluate import measure
from likeness.methods.multiface.method import AvatarStage
from likeness.methods.multiface.model import MultifaceAvatar


@pytest.fixture
def root(mf_dir, tmp_path):
    root = tmp_path / "m--20000101--0000--0000001--GHS"
    shutil.copytree(next((mf_dir / "capture").iterdir()), root)
    return root


@pytest.fixture
def make_stage(root, data_dir, tmp_path, mf_params, config_of):
    """The stage of a fixture, with its filled parameters."""

    def make(arrays, **changes):
        settings = config_of(arrays)
        config = dataclasses.replace(
            PRESETS["paper"],
            experiment_dir=tmp_path,
            data_dir=root,
            test_segments=tuple(settings["test_segment"]),
            architecture=settings["arch"],
            tex_size=settings["tex_size"],
            latent=settings["n_latent"],
            resolution=tuple(settings["resolution"]),
            lambda_screen=settings["lambda_screen"],
            loss_weight_mask=data_dir / "multiface" / "loss_weight_mask.png",
            batch_size=settings["batch"],
            latent_noise=0.0,
            **changes,
        )
        stage = AvatarStage(config)
        state = {**stage.avatar.state_dict(), **{f"cc.{k}": v for k, v in stage.colour.state_dict().items()}}
        filled = mf_params.state({key: tuple(value.shape) for key, value in state.items()}, settings["salt"])
        for key, value in filled.items():
            state[key].copy_(torch.from_numpy(value))
        return stage

    return make


def context(stage):
    updates = Updates(stage.networks, stage.optimizers(), stage.updates())
    averages = Averages(stage.networks, {})
    return Context(updates, averages, seed=0, splits=1, device=torch.device("cpu"), rank=0, world=1)


def reference_order(count):
    """The order of torch's distributed sampler in its first epoch, which the original never reshuffles."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)).numpy()


def parameters(stage):
    colour = {f"cc.{key}": value for key, value in stage.colour.state_dict().items()}
    return {**stage.avatar.state_dict(), **colour}


@pytest.mark.parametrize("name", ["base", "warp"])
def test_L2_training_curve_and_validation(name, make_stage, load_npz):
    arrays = load_npz(f"train_{name}_512")
    stage = make_stage(arrays, validation_batches=1)
    before = {key: value.clone().double() for key, value in parameters(stage).items()}
    ctx = context(stage)
    train, valid = stage.batches("train", 0, 1), stage.batches("valid", 0, 1)
    orders = {id(train): reference_order(train.size), id(valid): reference_order(valid.size)}
    train.order = orders[id(train)]
    valid.order = orders[id(valid)]
    valid.set_epoch = lambda epoch: None
    stage.batches = lambda split, rank, world: train if split == "train" else valid
    steps = len(arrays["curve.train/loss_tex"])
    found = {term: [] for term in ("tex", "verts", "screen", "kl")}
    norms = []
    for index in range(steps):
        batch = train[index]
        ctx.begin(1, index, batch)
        stage.step(batch, ctx)
        assert ctx.finish()
        norms.append(float(ctx.latest["gradient_norm/avatar"]))
        for term, values in found.items():
            values.append(float(ctx.latest[term]))
        if index == 0:
            measured = stage.validate(ctx)
            for term in found:
                assert measured[term] == pytest.approx(float(arrays[f"curve.val/loss_{term}"][0]), rel=2e-3), term
    tolerances = np.linspace(2e-3, 1e-2, steps)
    for term, values in found.items():
        expected = arrays[f"curve.train/loss_{term}"]
        assert (np.abs(np.array(values) - expected) <= tolerances * expected).all(), (term, values, expected)
    np.testing.assert_allclose(norms, arrays["grad_norm_before_clip"], rtol=1e-2)
    after = parameters(stage)
    for key, delta in zip(arrays["param.keys"], arrays["param.delta_l2"]):
        name = str(key).removeprefix("module.")
        change = float((after[name].double() - before[name]).norm())
        assert change == pytest.approx(delta, rel=5e-2, abs=1e-7), key


def test_L3_original_test_protocol(make_stage, load_npz, config_of):
    arrays = load_npz("test_base_512")
    settings = config_of(arrays)
    stage = make_stage(arrays)
    model = MultifaceAvatar(stage.avatar, stage.colour, stage.template, stage.config)
    views = stage.capture.views(stage.test_samples, photos=True)
    order = reference_order(len(views))
    batches = [views.batch(order[start : start + 4]) for start in range(0, len(views), 4)]
    found = measure(
        model,
        stage.objective(torch.device("cpu")),
        [batches] * settings["passes"],
        fitted=[*stage.colour.parameters(), *stage.avatar.enc.parameters()],
        lr=settings["lr"],
        noise_scale=0.0,
    )
    tex_var = stage.capture.statistics.tex_var
    expected = arrays["returned"]
    np.testing.assert_allclose([found["screen"], found["tex"] * tex_var, found["verts"]], expected[:3], rtol=2e-2)
    np.testing.assert_allclose([found["screen"], found["tex"] * tex_var, found["verts"]], expected[3:], rtol=2e-2)
