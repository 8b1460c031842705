"""The folded network of one person, the avatar object and its exports equal the live networks."""

import numpy as np
import pytest
import torch

from likeness.methods.bilayer.avatar import Avatar, Identity, pack, unpack
from likeness.methods.bilayer.model import Pairs, forward_base
from likeness.methods.bilayer.networks import BASE, NetworkOptions
from likeness.methods.bilayer.networks.folded import FoldedGenerator

OPTIONS = NetworkOptions(image_size=64, enh_bottleneck_tensor_size=32)


def test_row_13_folded_generator(fixtures, inputs_of):
    arrays = fixtures.load("mobile_64")
    networks = fixtures.networks(OPTIONS, BASE)
    x = inputs_of(arrays)
    with torch.no_grad():
        embeds = networks["identity_embedder"](x["source_imgs"], x["source_stickmen"], x["source_segs"])
        generator = networks["inference_generator"]
        folded = FoldedGenerator(generator, generator.project(embeds))
        layers = folded(networks["keypoints_embedder"](x["target_poses"][0]))
    for index, value in enumerate((layers.delta_uvs, layers.lf_rgbs, layers.segs_logits)):
        assert np.abs(value.numpy() - arrays[f"out.{index}"]).max() <= 1e-4


def test_row_22_avatar_equals_the_full_pass(fixtures, inputs_of):
    arrays = fixtures.load("mobile_64")
    x = inputs_of(arrays)
    networks = fixtures.networks(OPTIONS, BASE)
    with torch.no_grad():
        full = forward_base(networks, OPTIONS, Pairs(**x))
    avatar = Avatar(networks, OPTIONS)
    calls = []
    for name in ("identity_embedder", "texture_generator"):
        networks[name].register_forward_hook(lambda *_, name=name: calls.append(name))
    size = 64
    keypoints = (x["source_poses"][0, 0].numpy().reshape(68, 2) + 1) / 2 * size
    identity = avatar.identify(
        [((x["source_imgs"][0, 0] + 1) / 2).numpy()], [keypoints], [x["source_segs"][0, 0].numpy()]
    )
    assert calls == ["identity_embedder", "texture_generator"]
    poses = x["target_poses"][0]
    with torch.no_grad():
        colour, mask = identity(poses)
    # The source was drawn anew here; its stickman may differ in a few pixels from the recorded one.
    again = forward_base(
        networks,
        NetworkOptions(image_size=64, enh_bottleneck_tensor_size=32, inf_apply_masks=False),
        Pairs(**{**x, "source_stickmen": _drawn(keypoints, size)}),
    )
    assert torch.allclose(colour, again.target.imgs, atol=1e-4)
    assert torch.allclose(mask, again.target.segs, atol=1e-4)
    assert full.target.imgs.shape == colour.shape
    calls.clear()
    for _ in range(3):
        identity.drive(poses[0].numpy())
    assert calls == [], "driving must not touch the identity networks"


def _drawn(keypoints, size):
    from likeness.methods.bilayer import stickman

    return torch.from_numpy(stickman.draw(stickman.normalise(keypoints, size), size))[None, None]


def test_landmark_messages(fixtures):
    pose = np.random.default_rng(0).uniform(-1.2, 1.2, 136).astype(np.float32)
    message = pack(pose, 7)
    back, number = unpack(message)
    assert len(message) == 276
    assert number == 7
    assert back == pytest.approx(pose, abs=5e-5)


@pytest.mark.parametrize("name", ["mobile_64", "forward_256"])
def test_bfloat16_frames_stay_near_float32(fixtures, inputs_of, name):
    options = OPTIONS if name == "mobile_64" else NetworkOptions()
    x = inputs_of(fixtures.load(name))
    networks = fixtures.networks(options, BASE)
    embedder, generator = networks["keypoints_embedder"], networks["inference_generator"]
    frames = []
    with torch.no_grad():
        embeds = networks["identity_embedder"](x["source_imgs"], x["source_stickmen"], x["source_segs"])
        texture = networks["texture_generator"](embeds)
        for precision in (torch.float32, torch.bfloat16):
            folded = FoldedGenerator(generator, generator.project(embeds), precision)
            identity = Identity(embedder, folded, texture, generator.identity_grid)
            frames.append(identity.drive(x["target_poses"][0, 0].numpy()))
    error = (frames[0].colour - frames[1].colour).abs()
    assert 0 < error.max() <= 0.05
    assert (frames[0].mask - frames[1].mask).abs().max() <= 0.05
    assert -10 * error.square().mean().log10() >= 40
