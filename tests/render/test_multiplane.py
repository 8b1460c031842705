"""The compositing kernel against the same rendering written plainly in torch."""

import pytest
import torch
import torch.nn.functional as F

from likeness.geometry.camera import Camera
from likeness.render.multiplane import OutsideBackPlane, render


def plain(colours, alphas, planes, cameras, align_corners=True):
    """Image (V, 3, H, W), depth and opacity (V, 1, H, W) with (N, P, 3, R, S) colours, one view each."""
    height, width = cameras.size
    x, y = torch.meshgrid(torch.arange(width) + 0.5, torch.arange(height) + 0.5, indexing="xy")
    pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1).to(cameras.intrinsics)
    rays = pixels @ torch.linalg.inv(cameras.intrinsics).mT @ cameras.rotation[:, None]  # (V, H, W, 3)
    eye = cameras.position[:, None, None]
    through = torch.ones_like(rays[..., 0])
    image = torch.zeros_like(rays).movedim(-1, 1)
    depth, opacity = torch.zeros_like(through), torch.zeros_like(through)
    for p, (z, h, w) in enumerate(planes.tolist()):
        step = (z - eye[..., 2]) / rays[..., 2]
        hit = eye + step[..., None] * rays
        uv = torch.stack([hit[..., 0] * 2 / w, hit[..., 1] * 2 / h], dim=-1)
        uv = uv if align_corners else torch.where(uv.abs() <= 1, uv * 0.95, uv)
        texture = torch.cat([colours[:, p], alphas[:, p : p + 1]], dim=1)
        seen = F.grid_sample(texture, uv, align_corners=align_corners, padding_mode="zeros")
        weight = seen[:, 3] * through
        image = image + weight[:, None] * seen[:, :3]
        depth = depth + weight * step
        opacity = opacity + weight
        through = through * (1 - seen[:, 3] + 1e-10)
    return image, depth[:, None], opacity[:, None]


def set_up(views=2, size=(9, 13), planes=5, texture=(8, 6), seed=0):
    g = torch.Generator().manual_seed(seed)
    colours = torch.rand(views, planes, 3, *texture, generator=g)
    alphas = torch.rand(views, planes, *texture, generator=g)
    alphas[:, 1, 2:5] = 1.0  # saturated: the gradient behind must neither vanish wrongly nor divide by zero
    where = torch.stack([torch.linspace(1, 1.4, planes), torch.full((planes,), 0.7), torch.full((planes,), 0.8)], dim=1)
    angle = torch.linspace(-0.1, 0.15, views)
    rotation = torch.eye(3).repeat(views, 1, 1)
    rotation[:, 0, 0] = rotation[:, 2, 2] = angle.cos()
    rotation[:, 0, 2], rotation[:, 2, 0] = -angle.sin(), angle.sin()
    k = torch.tensor([[40.0, 0, size[1] / 2], [0, 40.0, size[0] / 2], [0, 0, 1]])
    position = torch.stack([0.9 * -angle.sin(), 0.03 * torch.ones(views), 1 - angle.cos()], dim=1)
    cameras = Camera(k, rotation, -(rotation @ position[..., None])[..., 0], size)
    return colours, alphas, where, cameras


@pytest.mark.parametrize("align_corners", [True, False])
def test_kernel_equals_plain_torch_forward_and_backward(align_corners):
    colours, alphas, planes, cameras = set_up()
    g = torch.Generator().manual_seed(1)
    expected = plain(c := colours.clone().requires_grad_(), a := alphas.clone().requires_grad_(), planes, cameras,
                     align_corners)  # fmt: skip
    cotangents = [torch.randn(x.shape, generator=g) for x in expected]
    sum((x * y).sum() for x, y in zip(expected, cotangents, strict=True)).backward()
    c2, a2 = colours.clone().requires_grad_(), alphas.clone().requires_grad_()
    r = render(c2, a2, planes, cameras, align_corners=align_corners, check=False)
    found = (r.image, r.depth, r.opacity)
    sum((x * y).sum() for x, y in zip(found, cotangents, strict=True)).backward()
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(c2.grad, c.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(a2.grad, a.grad, atol=2e-4, rtol=1e-4)


def test_two_textures_equal_their_repetition_and_views_share_a_source():
    colours, alphas, planes, cameras = set_up()
    pair = colours[:1, :2]
    repeated = torch.cat([pair[:, :1].expand(-1, 4, -1, -1, -1), pair[:, 1:]], dim=1)
    source = torch.tensor([0, 0])
    a = render(pair, alphas[:1], planes, cameras, source=source, check=False)
    b = render(repeated.expand(2, -1, -1, -1, -1), alphas[:1].expand(2, -1, -1, -1), planes, cameras, check=False)
    assert torch.equal(a.image, b.image)
    assert torch.equal(a.depth, b.depth)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu():
    colours, alphas, planes, cameras = set_up(planes=33)
    expected = render(colours, alphas, planes, cameras, check=False)
    found = render(colours.cuda(), alphas.cuda(), planes, cameras, check=False)
    torch.testing.assert_close(found.image.cpu(), expected.image, atol=1e-5, rtol=1e-5)


def test_R04_a_ray_past_the_back_plane_is_a_typed_error_naming_the_camera():
    colours, alphas, planes, cameras = set_up()
    with pytest.raises(OutsideBackPlane, match=r"camera 0 at \("):
        render(colours, alphas, planes * torch.tensor([1.0, 0.1, 0.1]), cameras)


def test_planes_behind_opaque_ones_are_skipped_without_a_trace():
    colours, alphas, planes, cameras = set_up(planes=9)
    alphas[:, 2:5] = 1.0  # a transmittance of 1e-30 is left
    expected = plain(colours, alphas, planes, cameras)
    # What lies behind would show if it were looked up: nothing times infinity is not a number.
    colours[:, 6:], alphas[:, 6:] = float("inf"), 1.0
    found = render(colours, alphas, planes, cameras, check=False)
    inside = expected[2] > 0.999
    assert inside.float().mean() > 0.5
    for x, y in zip((found.image, found.depth, found.opacity), expected, strict=True):
        torch.testing.assert_close(x[inside.expand_as(x)], y[inside.expand_as(y)], atol=2e-5, rtol=1e-4)
