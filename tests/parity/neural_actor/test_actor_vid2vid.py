"""The texture predictor against recorded numbers, filled by key."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from likeness.methods.neural_actor.vid2vid.blocks import ConvBlock, add_spectral_norm
from likeness.methods.neural_actor.vid2vid.discriminator import DiscriminatorConfig, TextureDiscriminator, triple
from likeness.methods.neural_actor.vid2vid.flow_network import warp
from likeness.methods.neural_actor.vid2vid.generator import GeneratorConfig, TextureGenerator
from likeness.methods.neural_actor.vid2vid.losses import (
    adversarial_loss,
    feature_matching_loss,
    flow_loss,
    hinge_loss,
    mask_loss,
    warp_loss,
)


def load(parity_dir, name):
    with np.load(parity_dir / "neural_actor" / f"{name}.npz") as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files}


@pytest.fixture(scope="module")
def fill(parity_dir):
    spec = importlib.util.spec_from_file_location("fill", parity_dir / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.value


def fill_network(network, fill, prefix):
    for key, parameter in network.named_parameters():
        parameter.data.copy_(torch.from_numpy(fill(prefix + key, tuple(parameter.shape))))
    return network.eval()


def published(parity_dir, name):
    keys = json.loads((parity_dir / "neural_actor" / "keys.json").read_text())[name]
    return {key: tuple(shape) for key, (shape, _) in keys.items()}


def layout(network):
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def test_NA19_generator_has_the_published_keys(parity_dir):
    with torch.device("meta"):
        network = TextureGenerator(GeneratorConfig())
    assert sum(value.numel() for value in network.parameters()) == 226_920_294
    assert layout(network) == published(parity_dir, "vid2vid.net_G.averaged_model")
    with torch.device("meta"):
        assert layout(add_spectral_norm(network)) == published(parity_dir, "vid2vid.net_G.module")


def test_NA19_generator_frames_1_to_4(parity_dir, fill):
    recorded = load(parity_dir, "vid2vid_generator")
    size, filters, limit, flow_filters = recorded["config"].tolist()
    config = GeneratorConfig(size=size, filters=filters, max_filters=limit, flow_filters=flow_filters)
    network = fill_network(TextureGenerator(config), fill, "net_G.")
    labels, images = recorded["labels"].float()[None], []
    step = int(recorded["stride"])

    def error(values, name):
        return float((values[0, :, ::step, ::step] - recorded[name]).abs().max())

    for t in range(4):
        history = (labels[:, :t], torch.stack(images, dim=1)) if t else ()
        with torch.no_grad():
            made = network(labels[:, t], *history)
        images.append(made.image)
        # The fourth frame is fed three rounded ones: in float64 too it is 1.4e-3 away from the recorded picture.
        assert error(made.image, f"fake_{t}") <= (1e-3 if t < 3 else 2e-3)
        if t < 2:
            assert made.flow is None and made.mask is None and made.warped is None
            continue
        assert error(made.flow, f"flow_{t}") <= 0.05
        assert error(made.mask, f"mask_{t}") <= 1e-3
        # Our previous frame at the recorded flow, so that the flow's own tolerance does not enter twice.
        flow = made.flow.clone()
        flow[0, :, ::step, ::step] = recorded[f"flow_{t}"]
        assert error(warp(images[t - 1], flow), f"warp_{t}") <= 1e-3
        torch.testing.assert_close(made.warped, warp(images[t - 1], made.flow))


def sizes(judged):
    return [list(each.scores.shape) for each in judged]


def test_NA19_discriminator_has_the_published_keys(parity_dir):
    with torch.device("meta"):
        network = TextureDiscriminator(DiscriminatorConfig())
        assert sum(value.numel() for value in network.parameters()) == 30_497_547
        assert layout(add_spectral_norm(network)) == published(parity_dir, "vid2vid.net_D")


def test_NA19_discriminators_and_their_losses(parity_dir, fill):
    recorded = load(parity_dir, "vid2vid_discriminator_losses")
    labels = load(parity_dir, "vid2vid_generator")["labels"].float()[:, :, ::2, ::2]
    network = fill_network(TextureDiscriminator(DiscriminatorConfig()), fill, "net_D.")
    real, fake = ([frame[None].float() for frame in recorded[name]] for name in ("real", "fake_in"))
    heads = 0
    for t in range(4):
        with torch.no_grad():
            pairs = {"indv": [network.judge_image(labels[t][None], frames[t]) for frames in (real, fake)]}
            for scale in range(network.temporal):
                triples = [triple(frames[: t + 1], scale) for frames in (real, fake)]
                if triples[0] is not None:
                    pairs[f"temporal_{scale}"] = [network.judge_triple(scale, frames) for frames in triples]
        for head, (seen, made) in pairs.items():
            heads += 1
            losses = [hinge_loss(seen, made), adversarial_loss(made), feature_matching_loss(seen, made)]
            torch.testing.assert_close(
                torch.stack(losses).double(), recorded[f"t{t}_{head}_losses"], rtol=1e-3, atol=1e-6
            )
            assert sizes(made) == recorded[f"t{t}_{head}_shapes"].tolist()
            for index, each in enumerate(made):
                if f"t{t}_{head}_out{index}" in recorded:
                    torch.testing.assert_close(
                        each.scores[0, 0], recorded[f"t{t}_{head}_out{index}"], atol=1e-3, rtol=0
                    )
    assert heads == sum(key.endswith("_losses") and key != "flow_losses" for key in recorded)


def test_NA19_flow_losses_and_warp(parity_dir):
    recorded = load(parity_dir, "vid2vid_discriminator_losses")
    moved, target = recorded["warped"], recorded["target"]
    losses = [
        flow_loss(recorded["flow"], recorded["flow_gt"], recorded["flow_conf"]),
        warp_loss(moved, target),
        mask_loss(recorded["occ_mask"], moved, target),
    ]
    torch.testing.assert_close(torch.stack(losses).double(), recorded["flow_losses"], rtol=1e-3, atol=0)
    torch.testing.assert_close(warp(moved, recorded["flow"]), recorded["resampled"], atol=1e-3, rtol=0)


def test_NA19_spectral_norm_of_one_training_step(parity_dir, fill):
    recorded = load(parity_dir, "vid2vid_discriminator_losses")
    block = add_spectral_norm(ConvBlock(5, 7, padding=0, active=False)).train()
    convolution = block.layers["conv"]
    for name in ("weight_orig", "weight_u", "weight_v", "bias"):
        value = torch.from_numpy(fill(f"sn.{name}", tuple(getattr(convolution, name).shape)))
        if name in ("weight_u", "weight_v"):
            value = torch.nn.functional.normalize(value, dim=0)
        getattr(convolution, name).data.copy_(value)
    torch.testing.assert_close(block(recorded["sn_in"]), recorded["sn_out"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(convolution.weight_u, recorded["sn_u_after"], atol=1e-5, rtol=0)
    torch.testing.assert_close(convolution.weight_v, recorded["sn_v_after"], atol=1e-5, rtol=0)
