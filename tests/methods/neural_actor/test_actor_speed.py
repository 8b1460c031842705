"""What makes the renderer fast changes nothing: shortcut, parts, bfloat16's loss curve; and the option that does."""

import dataclasses
import json

import pytest
import torch

from likeness.engine import train
from likeness.methods.neural_actor import renderer
from likeness.methods.neural_actor.config import PRESETS
from likeness.methods.neural_actor.method import RendererStage, draw_noise
from likeness.methods.neural_actor.networks.actor import ActorNetwork
from likeness.methods.neural_actor.renderer import compositing_weights
from likeness.methods.neural_actor.sampling import interval_samples
from tests.methods.neural_actor.stand_in import body, pose, write_actor

CONFIG = renderer.RenderConfig(fixed_num_samples=8, min_dis_eps=0.1)


def scene():
    torch.manual_seed(0)
    settings = dataclasses.replace(
        PRESETS["tiny"].network,
        width=16,
        density_width=8,
        inputs_to_texture="feat:0:16,attnout:0:16,texture:0:16,ray:4:3:b",
        texture_encoder_width=4,
    )
    network = ActorNetwork(body()[0], settings)
    torch.nn.init.constant_(network.field.predictor.output_layer.bias, 0.0)
    posed = network.pose_body(pose(body()[2], 0.2))
    x = torch.linspace(-0.15, 0.15, 40)
    directions = torch.nn.functional.normalize(torch.stack([x, x * 0.3, torch.full_like(x, -1)], -1), dim=-1)
    origin = torch.tensor([0.0, 0.8, 2.0])
    return network, posed, origin, directions, renderer.bound_rays(posed, origin, directions, 0.1)


def plain(network, posed, texture, origin, directions, bounds, noise):
    """Every sample at once and with a graph, textures enlarged."""
    hit = bounds.hit.nonzero()[:, 0]
    depths, lengths = interval_samples(bounds.near[hit], bounds.far[hit], CONFIG.fixed_num_samples, noise.depth[hit])
    points = (origin + depths.unsqueeze(-1) * directions[hit].unsqueeze(1)).flatten(0, 1)
    located = network.locate(posed, points, renderer.exact_search(network, posed)(posed.pose.to_normalised(points)))
    dense = network.encoder.texture_map(texture).dense().flip(-2)
    features = torch.nn.functional.grid_sample(dense, (2 * located.uv - 1)[None, None], align_corners=False)[0, :, 0].T
    attended = network.encoder.merge_joint_field(network.encoder.joint_filter(located.query))
    position = located.canonical + network.encoder.skinning_deform(torch.cat([attended, features], dim=-1))
    sigma, feature = network.field.density({"pos": position})
    rays = directions[hit].repeat_interleave(depths.shape[1], dim=0)
    rgb = network.field.color({"feat": feature, "attnout": attended, "texture": features, "ray": rays})
    weights = compositing_weights(torch.relu(sigma.view_as(depths) + noise.density[hit]) * lengths)
    color = (weights.unsqueeze(-1) * rgb.view(*depths.shape, 3)).sum(1)
    return hit, color + (1 - weights.sum(-1, keepdim=True)) * network.field.background


def test_NA11_the_shortcut_gives_the_colours_and_gradients_of_all_samples(monkeypatch):
    network, posed, origin, directions, bounds = scene()
    network.eval()  # so that both passes normalise the texture alike
    texture = torch.rand(1, 3, 32, 32)
    noise = draw_noise(40, CONFIG, torch.Generator().manual_seed(1))
    hit, color = plain(network, posed, texture, origin, directions, bounds, noise)
    color.square().sum().backward()
    expected = {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
    for most in (renderer.CACHED_SAMPLES, 30):  # one part, and many
        monkeypatch.setattr(renderer, "CACHED_SAMPLES", most)
        network.zero_grad(set_to_none=True)
        texture_map, search = network.encoder.texture_map(texture), renderer.exact_search(network, posed)
        seen = renderer.render(network, posed, texture_map, origin, directions, bounds, CONFIG, search, noise)
        torch.testing.assert_close(seen.color[hit], color.detach(), atol=1e-5, rtol=1e-5)
        seen.color[hit].square().sum().backward()
        for name, value in network.named_parameters():
            if name in expected:
                torch.testing.assert_close(value.grad, expected[name], atol=1e-4, rtol=1e-3, msg=name)


def test_samples_far_from_the_body_lose_their_density_on_request():
    network, posed, origin, directions, bounds = scene()
    torch.nn.init.constant_(network.field.predictor.output_layer.bias, 50.0)
    network.eval()
    texture_map, search = network.encoder.texture_map(torch.rand(1, 3, 32, 32)), renderer.exact_search(network, posed)
    missed = []
    for option in (False, True):
        config = dataclasses.replace(CONFIG, near_body_only=option, min_dis_eps=0.02)
        with torch.no_grad():
            seen = renderer.render(network, posed, texture_map, origin, directions, bounds, config, search)
        missed.append(seen.missed[bounds.hit])
    assert (missed[1] >= missed[0] - 1e-6).all() and float((missed[1] - missed[0]).max()) > 0.1


def losses(tmp_path, precision):
    data = tmp_path / "data"
    if not data.is_dir():
        write_actor(data, frames=2, size=32)
    config = dataclasses.replace(
        PRESETS["tiny"],
        data=data,
        experiment_dir=tmp_path / precision,
        accelerator="cpu",
        view_resolution=(32, 32),
        train_views="0..2",
        valid_views="0",
        epochs=1,
        virtual_epoch_steps=30,
        pixel_per_view=48,
        validate_every=0,
        visuals_every=0,
        log_every=1,
        precision=precision,
        render=dataclasses.replace(PRESETS["tiny"].render, fixed_num_samples=7),
    )
    run = train(RendererStage, config, method="neural_actor", stage="renderer", argv=[])
    rows = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    return torch.tensor([row["color"] for row in rows if "color" in row])


def test_speed_bfloat16_follows_the_loss_curve_of_float32(tmp_path):
    full, half = losses(tmp_path, "32"), losses(tmp_path, "bf16")
    assert len(full) == len(half) >= 30
    assert float(half[0]) == pytest.approx(float(full[0]), rel=0.02)
    assert float(full[-10:].mean()) < 0.5 * float(full[:3].mean())  # it learns
    smooth = [curve.unfold(0, 5, 5).mean(-1) for curve in (full, half)]
    assert float(((smooth[1] - smooth[0]).abs() / smooth[0]).max()) < 0.15
