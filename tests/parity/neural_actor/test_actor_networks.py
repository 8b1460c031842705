"""The renderer's networks against recorded numbers, filled by key."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from likeness.geometry.body import BodyModel, Pose
from likeness.methods.neural_actor.networks.actor import ActorNetwork, NetworkConfig


def load(parity_dir, name):
    with np.load(parity_dir / "neural_actor" / f"{name}.npz") as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files if archive[key].dtype.kind != "U"}


def filled(parity_dir):
    spec = importlib.util.spec_from_file_location("fill", parity_dir / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    actor = load(parity_dir, "actor")
    model = BodyModel(
        actor["vertices"],
        actor["faces"].long(),
        actor["vt"][actor["ft"].long()],
        actor["weights"],
        actor["tpose_joints_RT"].permute(2, 0, 1),
    )
    network = ActorNetwork(model, NetworkConfig())
    keys = json.loads((parity_dir / "neural_actor" / "keys.json").read_text())["neural_actor"]
    state = network.state_dict()
    assert set(state) - {"encoder.canonical_bones"} == set(keys)
    constants = ("emb", "bg_color", "num_batches_tracked", "face_uv", "weights", "vertices", "faces", "canonical_bones")
    for key, tensor in state.items():
        if key.rsplit(".", 1)[-1] in constants:
            continue
        assert list(tensor.shape) == keys[key][0], key
        value = torch.from_numpy(fill.value(key, tuple(tensor.shape)))
        value *= 0.02 if key.startswith("encoder.skinning_deform.net.1.") else 1.0
        value *= 600 if key == "field.predictor.output_layer.weight" else 1.0
        state[key] = torch.full_like(value, 12.0) if key == "field.predictor.output_layer.bias" else value
    network.load_state_dict(state)
    pose = Pose(actor["joints_RT"].permute(2, 0, 1), actor["rotation"], actor["translation"], actor["joints"])
    return network, pose


@pytest.fixture(scope="module")
def actor(parity_dir):
    network, pose = filled(parity_dir)
    return network.eval(), pose


def picture(array):
    return array.permute(2, 0, 1)[None].float() / 255


def test_NA8_texture_encoder_features(parity_dir, actor):
    recorded = load(parity_dir, "texture_encoder")
    with torch.no_grad():
        features = actor[0].encoder.texture_map(picture(recorded["tex"])).dense()[0]
    assert features.shape == tuple(recorded["shape"][1:])
    stride = int(recorded["stride"])
    torch.testing.assert_close(features[:, ::stride, ::stride], recorded["features_strided"], atol=1e-4, rtol=0)
    torch.testing.assert_close(features.mean((1, 2)), recorded["mean"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("levels", "channels"), [(1, 64), (2, 128), (3, 256), (5, 1024)])
def test_NA8_other_numbers_of_levels(levels, channels):
    from likeness.methods.neural_actor.networks.texture_encoder import TextureEncoder

    encoder = TextureEncoder(levels, blocks=(1, 1, 1, 1))
    maps = encoder(torch.rand(1, 3, 64, 64))
    assert maps.dense().shape == (1, channels, 32, 32) and maps.channels == encoder.channels == channels


def test_NA8_sampling_is_that_of_the_enlarged_map_upside_down():
    from likeness.methods.neural_actor.texture_maps import FeatureMaps

    maps = FeatureMaps.of([torch.rand(1, 2, 20, 16), torch.rand(1, 3, 10, 8), torch.rand(1, 1, 3, 2)])
    uv = torch.cat([torch.rand(400, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.999]])])
    expected = torch.nn.functional.grid_sample(maps.dense().flip(-2), (2 * uv - 1)[None, None], align_corners=False)
    torch.testing.assert_close(maps.sample(uv), expected[0, :, 0].T, atol=1e-5, rtol=0)


def test_parameter_count_is_the_published(actor):
    assert sum(value.numel() for value in actor[0].parameters()) + 16 == 22_671_194


def test_NA4_NA9_canonical_density_colour_and_normal(parity_dir, actor):
    network, pose = actor
    field, ops, render = (load(parity_dir, name) for name in ("field", "ops", "render"))
    with torch.no_grad():
        texture_map = network.encoder.texture_map(picture(render["tex"]))
        body = network.pose_body(pose)
        located = network.locate(body, field["points_world"], ops["pf_index"].long())
        inputs = network.embed(body, located, texture_map)
    torch.testing.assert_close(inputs["pos"], field["canonical"], atol=1e-4, rtol=0)
    torch.testing.assert_close(inputs["texture"][::4], field["texture"], atol=1e-3, rtol=0)
    torch.testing.assert_close(inputs["attnout"][::4], field["attnout"], atol=1e-3, rtol=0)
    position = inputs["pos"].requires_grad_()
    sigma, feature = network.field.density({"pos": position})
    assert ((sigma - field["sigma"]).abs() <= 1e-3 * (1 + field["sigma"].abs())).all()
    color = network.field.color({**inputs, "feat": feature, "ray": field["dirs"]})
    torch.testing.assert_close(color.detach(), field["rgb"], atol=1e-3, rtol=0)
    (slope,) = torch.autograd.grad(sigma.sum(), position)
    error = (-slope - field["normal"]).abs().amax(-1)
    assert (error <= 0.01 * field["normal"].abs().amax(-1)).all()
