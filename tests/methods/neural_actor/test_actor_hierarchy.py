"""The second field (arch joint_nerf), pixel samplers and inputs of the field."""

import argparse
import dataclasses

import pytest
import torch

from likeness.errors import UserError
from likeness.methods.neural_actor import rays, renderer
from likeness.methods.neural_actor.config import PRESETS, RendererConfig
from likeness.methods.neural_actor.method import draw_noise
from likeness.methods.neural_actor.networks.actor import ActorNetwork, NetworkConfig
from likeness.methods.neural_actor.published import load_renderer
from likeness.methods.neural_actor.sampling import importance_samples
from tests.methods.neural_actor.stand_in import body, pose

SMALL = NetworkConfig(
    width=16,
    density_width=8,
    inputs_to_texture="feat:0:16,attnout:0:16,texture:0:8,ray:4:3:b",
    texture_encoder_layers=2,
    texture_encoder_width=4,
    texture_encoder_blocks=(1, 1),
)


def seen(network, config, noise=None, normals=False):
    joints = body()[2]
    posed = network.pose_body(pose(joints, 0.1))
    x = torch.linspace(-0.15, 0.15, 12)
    directions = torch.nn.functional.normalize(torch.stack([x, x * 0.5, torch.full_like(x, -1)], -1), dim=-1)
    origin = torch.tensor([0.0, 0.8, 2.0])
    bounds = renderer.bound_rays(posed, origin, directions, 0.1)
    texture_map = network.encoder.texture_map(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    search = renderer.exact_search(network, posed)
    return renderer.render(network, posed, texture_map, origin, directions, bounds, config, search, noise, normals)


def test_NA26_both_fields_are_trained():
    torch.manual_seed(0)
    network = ActorNetwork(body()[0], dataclasses.replace(SMALL, fine_field=True))
    config = renderer.RenderConfig(fixed_num_samples=8, fine_samples=24, min_dis_eps=0.1)
    noise = draw_noise(12, config, torch.Generator().manual_seed(1))
    view = seen(network, config, noise)
    assert view.color.shape == view.coarse_color.shape == (12, 3)
    assert not torch.allclose(view.color, view.coarse_color)
    (view.color.square().mean() + view.coarse_color.square().mean()).backward()
    for field in (network.field, network.field_fine):
        assert all(value.grad is not None for name, value in field.named_parameters() if "bg_color" not in name)


def test_NA26_samples_gather_where_the_weight_is():
    edges = torch.linspace(0, 1, 11)[None]
    probabilities = torch.full((1, 10), 0.01)
    probabilities[0, 4] = 0.91
    depths, lengths = importance_samples(edges, probabilities, 50, torch.rand(1, 50))
    assert ((depths > 0.4) & (depths < 0.5)).sum() > 40
    assert float(lengths.sum()) == pytest.approx(1) and (lengths >= 0).all() and depths.shape == (1, 60)


def test_NA26_presets_and_settings_that_do_not_fit():
    preset = PRESETS["joint_nerf"]
    assert (preset.render.fixed_num_samples, preset.render.fine_samples) == (40, 120) and preset.hierarchical_loss
    with pytest.raises(UserError, match="do not go together"):
        RendererConfig(render=renderer.RenderConfig(fine_samples=3))
    with pytest.raises(UserError, match="needs a second field"):
        seen(ActorNetwork(body()[0], SMALL), renderer.RenderConfig(fixed_num_samples=4, fine_samples=4))


def test_NA26_second_field_of_a_published_file_is_kept_where_asked_for(tmp_path):
    config = dataclasses.replace(SMALL, fine_field=True, texture_encoder_blocks=(1, 1, 1, 1))
    network = ActorNetwork(body()[0], config)
    names = ("inputs_to_texture", "texture_encoder_layers")
    flags = argparse.Namespace(**{name: getattr(config, name) for name in names})
    state = {key: value for key, value in network.state_dict().items() if key != "encoder.canonical_bones"}
    torch.save({"args": flags, "model": state}, tmp_path / "nerf.pt")
    both = load_renderer(tmp_path / "nerf.pt", hierarchical=True)
    key = "feature_field.net.0.net.0.weight"
    assert torch.equal(both.field.state_dict()[key], state[f"field.{key}"])
    assert torch.equal(both.field_fine.state_dict()[key], state[f"field_fine.{key}"])
    one = load_renderer(tmp_path / "nerf.pt")
    assert torch.equal(one.field.state_dict()[key], state[f"field_fine.{key}"]) and not one.config.fine_field
    single = {key: value for key, value in state.items() if not key.startswith("field_fine.")}
    torch.save({"args": flags, "model": single}, tmp_path / "single.pt")
    with pytest.raises(UserError, match="one field only"):
        load_renderer(tmp_path / "single.pt", hierarchical=True)


def test_NA26_normals_as_an_input_and_as_an_output():
    torch.manual_seed(0)
    inputs = "feat:0:16,attnout:0:16,texture:0:8,ray:4:3:b,normal:4:3:a,sigma:0:1,pos:2:3"
    network = ActorNetwork(body()[0], dataclasses.replace(SMALL, inputs_to_texture=inputs))
    config = renderer.RenderConfig(fixed_num_samples=8, min_dis_eps=0.1)
    view = seen(network, config, renderer.Noise())
    view.color.square().mean().backward()
    assert float(network.field.renderer.net[0].net[0].weight.grad.abs().sum()) > 0
    with torch.no_grad():
        still = seen(network, config, normals=True)
    torch.testing.assert_close(still.color, view.color.detach(), atol=1e-5, rtol=0)
    length = still.normal.norm(dim=-1)
    assert (length <= 1 + 1e-5).all() and (length[still.missed < 1] > 0).any()


def test_NA7_pose_as_an_input_and_inputs_without_a_source():
    network = ActorNetwork(body()[0], dataclasses.replace(SMALL, inputs_to_density="pos:6:3,context:0:27"))
    assert seen(network, renderer.RenderConfig(fixed_num_samples=4)).color.shape == (12, 3)
    with pytest.raises(UserError, match="has 27 numbers"):
        ActorNetwork(body()[0], dataclasses.replace(SMALL, inputs_to_density="pos:6:3,context:0:9"))
    with pytest.raises(UserError, match="emb"):
        ActorNetwork(body()[0], dataclasses.replace(SMALL, inputs_to_density="pos:6:3,emb:0:8"))


def drawn(**options):
    hit = torch.zeros(20, 30, dtype=torch.bool)
    hit[5:9, 10:20] = True
    uniform = torch.rand(600, generator=torch.Generator().manual_seed(0))
    count = options.pop("count", 30)
    return hit, rays.choose_pixels(hit.flatten(), count, uniform, (20, 30), rays.PixelSampling(**options))


def test_NA6_pixels_on_the_mask_in_the_centre_or_its_box():
    hit, chosen = drawn()
    assert hit.flatten()[chosen].all() and len(chosen.unique()) == 30
    _, chosen = drawn(on_mask=0.0)
    assert not hit.flatten()[chosen].all()
    _, chosen = drawn(on_mask=0.0, at_center=0.5)
    rows, columns = chosen // 30, chosen % 30
    assert rows.min() >= 5 and rows.max() < 15 and columns.min() >= 7 and columns.max() < 23
    hit[6, 12] = False
    chosen = rays.choose_pixels(hit.flatten(), 40, torch.rand(600), (20, 30), rays.PixelSampling(on_bbox=True))
    assert 6 * 30 + 12 in chosen.tolist() and len(chosen) == 40


def test_NA6_patches_with_gaps():
    hit, chosen = drawn(count=50, patch_size=3, skipping_size=2)
    patches = chosen.view(-1, 3, 3)
    assert len(patches) == 5
    rows, columns = patches // 30, patches % 30
    assert (rows.diff(dim=1) == 2).all() and (columns.diff(dim=2) == 2).all() and int(rows.max()) < 20
    assert hit.flatten()[patches[:, 1, 1]].all()
