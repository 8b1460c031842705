"""A rendered picture and a training step against recorded numbers, with the recorded faces injected."""

import numpy as np
import pytest
import torch

from likeness.methods.neural_actor import rays, renderer
from likeness.methods.neural_actor.losses import color_loss
from tests.parity.neural_actor.test_actor_networks import filled, load, picture


def injected(faces):
    """A search that hands out recorded faces, ray-major, in the order asked for."""
    position = [0]

    def search(points):
        chosen = faces[position[0] : position[0] + len(points)]
        position[0] += len(points)
        return chosen

    return search


def view(recorded):
    size = int(recorded["H"]), int(recorded["W"])
    origin, directions = rays.camera_rays(recorded["K"], recorded["c2w"], recorded["uv"].T)
    return size, origin, directions


def test_rays_of_pixels_without_half_offset(parity_dir):
    recorded = load(parity_dir, "render")
    (height, width), _, directions = view(recorded)
    torch.testing.assert_close(directions, recorded["ray_dirs"], atol=1e-5, rtol=0)
    scale = float(recorded["uv"][0, 1])
    grid = rays.pixel_grid(height, width, (round(height * scale), round(width * scale)))
    torch.testing.assert_close(grid.T, recorded["uv"], atol=1e-3, rtol=0)


def test_NA10_rendered_picture_depth_and_missed(parity_dir):
    recorded = load(parity_dir, "render")
    network, pose = filled(parity_dir)
    network.eval()
    _, origin, directions = view(recorded)
    config = renderer.RenderConfig(discrete_regularization=False)
    with torch.no_grad():
        body = network.pose_body(pose)
        bounds = renderer.bound_rays(body, origin, directions, config.min_dis_eps)
        texture_map = network.encoder.texture_map(picture(recorded["tex"]))
        search = injected(recorded["face_index"].long())
        seen = renderer.render(network, body, texture_map, origin, directions, bounds, config, search)
    torch.testing.assert_close(seen.color, recorded["colors"], atol=3e-3, rtol=0)
    torch.testing.assert_close(seen.missed, recorded["missed"], atol=3e-3, rtol=0)
    torch.testing.assert_close(seen.depth, recorded["depths"], atol=1e-2, rtol=0)


def test_NA10_own_search_agrees_on_almost_all_pixels(parity_dir):
    recorded = load(parity_dir, "render")
    network, pose = filled(parity_dir)
    network.eval()
    _, origin, directions = view(recorded)
    config = renderer.RenderConfig()
    with torch.no_grad():
        body = network.pose_body(pose)
        bounds = renderer.bound_rays(body, origin, directions, config.min_dis_eps)
        texture_map = network.encoder.texture_map(picture(recorded["tex"]))
        search = renderer.exact_search(network, body)
        seen = renderer.render(network, body, texture_map, origin, directions, bounds, config, search)
    close = (seen.color - recorded["colors"]).abs().amax(-1) <= 3e-3
    assert close.float().mean() >= 0.95


def training_step(parity_dir, own_search=False):
    recorded, step = load(parity_dir, "render"), load(parity_dir, "train_step")
    network, pose = filled(parity_dir)
    network.train()
    _, origin, directions = view(recorded)
    config = renderer.RenderConfig()
    body = network.pose_body(pose)
    bounds = renderer.bound_rays(body, origin, directions, config.min_dis_eps)
    chosen = rays.choose_pixels(bounds.hit, 96, step["gumbel_uniform"], (24, 24))
    count = config.fixed_num_samples
    noise = renderer.Noise(step["depth_noise"][:96, :count], step["sigma_noise"].view(96, count + 1))
    selected = renderer.RayBounds(bounds.near[chosen], bounds.far[chosen], bounds.hit[chosen])
    texture_map = network.encoder.texture_map(picture(recorded["tex"]))
    search = renderer.exact_search(network, body) if own_search else injected(step["face_index"].long())
    seen = renderer.render(network, body, texture_map, origin, directions[chosen], selected, config, search, noise)
    loss = color_loss(seen.color, step["targets"][chosen])
    return network, recorded["uv"][:, chosen], seen, loss, step


@pytest.fixture(scope="module")
def stepped(parity_dir):
    network, uv, seen, loss, step = training_step(parity_dir)
    loss.backward()
    return network, uv, seen, loss, step


def test_NA11_chosen_pixels_and_their_colours(stepped):
    _, uv, seen, loss, step = stepped
    torch.testing.assert_close(uv, step["sampled_uv"])
    torch.testing.assert_close(seen.color.detach(), step["colors"], atol=3e-3, rtol=0)
    torch.testing.assert_close(seen.missed.detach(), step["missed"], atol=3e-3, rtol=0)
    assert loss.item() == pytest.approx(float(step["loss"]), rel=1e-4)


def test_NA11_gradient_norms_and_batch_statistics(stepped, parity_dir):
    network, _, _, _, step = stepped
    with np.load(parity_dir / "neural_actor" / "train_step.npz") as archive:
        recorded = dict(zip(archive["grad_keys"], archive["grad_norms"]))
    found = {
        name: 0.0 if value.grad is None else float(value.grad.norm()) for name, value in network.named_parameters()
    }
    assert len(recorded) == 150
    for name, norm in recorded.items():
        assert found[name] == pytest.approx(float(norm), rel=0.01, abs=1e-6), name
    first = network.encoder.texture_encoder.model.bn1
    torch.testing.assert_close(first.running_mean, step["bn1_mean_after"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(first.running_var, step["bn1_var_after"], atol=1e-4, rtol=1e-4)


def test_NA11_own_search(parity_dir):
    network, _, _, loss, step = training_step(parity_dir, own_search=True)
    assert loss.item() == pytest.approx(float(step["loss"]), rel=0.01)
    loss.backward()
    with np.load(parity_dir / "neural_actor" / "train_step.npz") as archive:
        recorded = dict(zip(archive["grad_keys"], archive["grad_norms"]))
    for name, value in network.named_parameters():
        if value.grad is not None and recorded[name] > 1e-6:
            assert float(value.grad.norm()) == pytest.approx(float(recorded[name]), rel=0.05), name
