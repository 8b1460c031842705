"""Forwards of DepthNet's and AIGN's networks against recorded ones."""

import numpy as np
import pytest
import torch

from likeness.methods.depthnet import aign
from likeness.methods.depthnet.networks import Critic, FixedAffineGenerator, LearnedAffineGenerator


def close(ours, recorded, tolerance=1e-4):
    ours = ours.detach().numpy() if torch.is_tensor(ours) else ours
    assert ours.shape == recorded.shape
    assert np.abs(ours - recorded).max() <= tolerance * np.abs(recorded).max()


def split(g_in):
    g_in = torch.from_numpy(g_in)
    return g_in[:, :2].transpose(1, 2), g_in[:, 2:].transpose(1, 2)


@pytest.mark.parametrize(
    ("name", "build", "count", "last"),
    [
        ("fixm", FixedAffineGenerator, 970_178, "fc.19"),
        ("learnm", LearnedAffineGenerator, 971_210, "extractor.19"),
    ],
)
def test_row_3_generator_and_critic_forwards(recorded, recorded_json, fill, name, build, count, last):
    want = recorded("depthnet_forward")
    keys = recorded_json("keys")
    generator, critic = fill(build()), fill(Critic())
    assert sum(p.numel() for p in generator.parameters()) == count
    assert sum(p.numel() for p in critic.parameters()) == 564_993
    for network, part in ((generator, "g"), (critic, "d")):
        listed = {key: shape for key, (shape, _) in keys[f"depthnet_{name}.{part}"].items()}
        assert {key: list(value.shape) for key, value in network.state_dict().items()} == listed
    source, target = split(want["g_in"])
    for mode in ("eval", "train"):
        generator.train(mode == "train")
        critic.train(mode == "train")
        predicted = generator(source, target)
        close(predicted.depth, want[f"{name}_g_{mode}_z"])
        if name == "learnm":
            close(predicted.affine.flatten(1), want[f"{name}_g_{mode}_m"])
        else:
            assert predicted.affine is None
        close(critic(torch.from_numpy(want["d_in"])), want[f"{name}_d_{mode}"])
    state = generator.state_dict()
    close(state[f"{last}.running_mean"], want[f"{name}_g_running_mean_after_train_last"])
    close(state[f"{last}.running_var"], want[f"{name}_g_running_var_after_train_last"])


def test_row_4_heat_maps_with_borders(recorded):
    want = recorded("heatmap")
    np.testing.assert_allclose(aign.gaussian_kernel().numpy(), want["kernel"], atol=1e-6)
    xy = torch.from_numpy((want["xy"] + 0.5) / 128).float()[None]
    # A negative pixel's fraction truncates toward zero, so these are given exactly.
    xy = torch.where(torch.from_numpy(want["xy"])[None] < 0, torch.from_numpy(want["xy"] / 128).float()[None], xy)
    maps = aign.heat_maps(xy)
    np.testing.assert_allclose(maps[0].numpy(), want["maps"], atol=1e-6)
    buffer = torch.full_like(maps, 7.0)
    assert aign.heat_maps(xy, out=buffer) is buffer
    assert torch.equal(buffer, maps)


def test_row_4_aign_forward_shape_and_projection(recorded, recorded_json, fill):
    want = recorded("aign")
    generator = fill(aign.AignGenerator())
    assert sum(p.numel() for p in generator.parameters()) == 9_720_253
    listed = {key: shape for key, (shape, _) in recorded_json("keys")["aign.g"].items()}
    assert {key: list(value.shape) for key, value in generator.state_dict().items()} == listed
    maps = aign.heat_maps(torch.from_numpy(want["xy"]))
    close(maps.sum((2, 3)), want["heatmap_sum"])
    close(maps[0, 0], want["heatmap_k0"])
    assert np.array_equal(maps.flatten(2).argmax(2).numpy(), want["heatmap_argmax"])
    for mode in ("eval", "train"):
        generator.train(mode == "train")
        running = {key: value.clone() for key, value in generator.state_dict().items()}
        for name, value in generator.heads(maps).items():
            close(value, want[f"{mode}_{name}"])
        generator.load_state_dict(running)
        shape = generator(maps)
        close(shape.x3d, want[f"{mode}_x3d"])
        close(shape.projection, want[f"{mode}_x2d"])
    critic = fill(Critic())
    landmarks = torch.from_numpy(want["gt3d"])
    close(critic.eval()(landmarks), want["d_eval"])
    # A BatchNorm over two samples turns the rounding of float32 into 1.4e-4 of the recorded value itself (against
    # float64), so that the recorded number is held to the exact one as closely as float32 is here.
    rounded = critic.train()(landmarks).detach().numpy()
    exact = fill(Critic()).double().train()(landmarks.double()).detach().numpy()
    allowed = max(1e-4 * np.abs(exact).max(), np.abs(rounded - exact).max())
    assert allowed < 1e-3
    assert np.abs(want["d_train"] - exact).max() <= allowed


def test_row_5_spectral_critic_two_calls(recorded, recorded_json, fill):
    want = recorded("aign")
    critic = fill(aign.SpectralCritic())
    assert sum(p.numel() for p in critic.parameters() if p.requires_grad) == 561_921
    listed = {key: shape for key, (shape, _) in recorded_json("keys")["aign_sn.d"].items()}
    assert {key: list(value.shape) for key, value in critic.state_dict().items()} == listed
    landmarks = torch.from_numpy(want["gt3d"])
    close(critic(landmarks), want["sn_d_first"])
    close(critic(landmarks), want["sn_d_second"])
    close(critic.disc[0].module.weight_u, want["sn_u0_after"])
