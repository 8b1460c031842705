"""Interpolation, texture look-up and blended outlines against plain torch and finite differences."""

import pytest
import torch
import torch.nn.functional as F

from likeness.render.interpolate import interpolate
from likeness.render.rasterise import rasterise
from likeness.render.silhouette import antialias, opposite_corners
from likeness.render.texture import sample_texture, texture_level


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ball_on_screen(ball, size=(40, 48), centre=(24.3, 19.6), radius=13.0):
    vertices, triangles = ball()
    x, y, z = vertices.unbind(-1)
    return torch.stack([centre[0] + radius * x, centre[1] + radius * y, 5 - z], dim=-1)[None], triangles, size


def test_interpolate_equals_plain_torch(ball):
    vertices, triangles, size = ball_on_screen(ball)
    raster = rasterise(vertices, triangles, size)
    attributes = torch.randn(1, vertices.shape[1], 5, generator=generator(), requires_grad=True)
    other = attributes.detach().clone().requires_grad_()
    weights = raster.barycentric.detach().clone().requires_grad_()
    out = interpolate(attributes, raster, triangles)
    expected = (other[0][triangles[raster.triangle.clamp(min=0).long()]] * weights[..., None]).sum(-2).movedim(-1, 1)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    noise = torch.randn(out.shape, generator=generator(1))
    (out * noise).sum().backward()
    (expected * noise).sum().backward()
    torch.testing.assert_close(attributes.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_interpolate_shares_attributes_between_pictures(ball):
    vertices, triangles, size = ball_on_screen(ball)
    raster = rasterise(vertices.repeat(2, 1, 1), triangles, size)
    attributes = torch.randn(vertices.shape[1], 2, generator=generator(), requires_grad=True)
    out = interpolate(attributes, raster, triangles)
    assert torch.equal(out[0], out[1])
    out.sum().backward()
    torch.testing.assert_close(attributes.grad.sum(), 4.0 * raster.mask[0].sum())


def test_interpolated_depth_is_the_rasters(ball):
    vertices, triangles, size = ball_on_screen(ball)
    raster = rasterise(vertices, triangles, size)
    depth = interpolate(vertices[..., 2:], raster, triangles)
    torch.testing.assert_close(depth[:, 0], raster.depth)
    with pytest.raises(ValueError, match="attributes have shape"):
        interpolate(vertices.repeat(3, 1, 1), raster, triangles)


@pytest.mark.parametrize("wrap", [True, False])
def test_texture_equals_grid_sample(wrap):
    texture = torch.randn(2, 3, 9, 7, generator=generator(), dtype=torch.float64)
    uv = torch.rand(2, 2, 11, 13, generator=generator(1)) * 3 - 1
    ours, place = texture.float().requires_grad_(), uv.clone().requires_grad_()
    theirs, exact = texture.clone().requires_grad_(), uv.double().requires_grad_()
    out = sample_texture(ours, place, wrap=wrap)
    if wrap:
        padded, inside = F.pad(theirs, (1, 1, 1, 1), mode="circular"), exact - exact.detach().floor()
        scale = torch.tensor([7 / 9, 9 / 11], dtype=torch.float64).view(1, 2, 1, 1)
        grid = 2 * (0.5 + (inside - 0.5) * scale) - 1
    else:
        padded, grid = theirs, 2 * exact - 1
    grid = grid.movedim(1, -1)
    expected = F.grid_sample(padded, grid, mode="bilinear", padding_mode="border", align_corners=False)
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-5)
    noise = torch.randn(out.shape, generator=generator(2))
    (out * noise).sum().backward()
    (expected * noise).sum().backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=0, atol=1e-4)
    torch.testing.assert_close(place.grad.double(), exact.grad, rtol=0, atol=1e-3)


def test_texture_is_empty_outside_the_mask():
    texture = torch.ones(1, 1, 4, 4, requires_grad=True)
    uv = torch.rand(1, 2, 5, 6, generator=generator(), requires_grad=True)
    mask = torch.rand(1, 1, 5, 6, generator=generator(1)) > 0.5
    out = sample_texture(texture, uv, mask)
    assert torch.equal(out, mask.float())
    out.sum().backward()
    torch.testing.assert_close(texture.grad.sum(), mask.sum().float())
    assert not uv.grad.any()
    with pytest.raises(ValueError, match="mask is"):
        sample_texture(texture, uv, mask.float())


def test_mipmap_of_a_fine_checkerboard_is_grey():
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float()[None, None]
    y, x = torch.meshgrid((torch.arange(16) + 0.3) / 16, (torch.arange(16) + 0.3) / 16, indexing="ij")
    uv = torch.stack([x, y])[None]
    mask = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    torch.testing.assert_close(texture_level(uv, mask, (64, 64)), torch.full((1, 1, 16, 16), 2.0))
    torch.testing.assert_close(sample_texture(board, uv, mipmap=True), torch.full((1, 1, 16, 16), 0.5))
    assert (sample_texture(board, uv) - 0.5).abs().max() > 0.05
    # As large as its picture, nothing is halved.
    texture = torch.randn(1, 2, 16, 16, generator=generator(), requires_grad=True)
    torch.testing.assert_close(sample_texture(texture, uv, mipmap=True), sample_texture(texture, uv))
    sample_texture(texture, 3 * uv, mipmap=True).sum().backward()
    torch.testing.assert_close(texture.grad.sum(), torch.tensor(512.0))


def test_opposite_corners():
    triangles = torch.tensor([[0, 1, 2], [2, 1, 3]])
    assert opposite_corners(triangles).tolist() == [[3, -1, -1], [-1, -1, 0]]
    assert opposite_corners(torch.zeros(0, 3, dtype=torch.long)).shape == (0, 3)
    # Three triangles on one edge: none is the one beyond.
    fan = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    assert (opposite_corners(fan) == -1).all()


def half_plane(place, size=(6, 8)):
    """A wall left of the column `place`."""
    x = torch.zeros(4) + place
    x = torch.stack([torch.tensor(-50.0), x[1], x[2], torch.tensor(-50.0)])
    y, z = torch.tensor([-50.0, -50, 50, 50]), torch.ones(4)
    return torch.stack([x, y, z], dim=-1)[None], torch.tensor([[0, 1, 2], [0, 2, 3]]), size


@pytest.mark.parametrize("place", [3.1, 3.4, 3.6, 3.9])
def test_outline_is_as_bright_as_it_covers(place):
    leaf = torch.tensor(place, requires_grad=True)
    vertices, triangles, size = half_plane(leaf)
    raster = rasterise(vertices.detach(), triangles, size)
    out = antialias(raster.mask.float(), raster, vertices, triangles)
    torch.testing.assert_close(out.sum(-1), torch.full((1, 1, 6), place))
    torch.testing.assert_close(out[0, 0, :, 3], torch.full((6,), place - 3))
    out.sum().backward()
    torch.testing.assert_close(leaf.grad, torch.tensor(6.0))


def test_inner_edges_are_left_alone(ball):
    vertices, triangles, size = ball_on_screen(ball)
    raster = rasterise(vertices, triangles, size)
    image = torch.randn(1, 3, *size, generator=generator()) * raster.mask
    out = antialias(image, raster, vertices, triangles)
    seen = raster.mask.float()
    inner = F.max_pool2d(1 - seen, 3, 1, 1) == 0
    torch.testing.assert_close(torch.where(inner, out, 0), torch.where(inner, image, 0))
    assert not torch.equal(out, image)


def test_silhouette_gradient_equals_finite_difference(ball):
    """The area of the antialiased silhouette grows with the ball's radius as its outline says."""
    vertices, triangles, size = ball_on_screen(ball)

    def area(scale):
        centre = torch.tensor([24.3, 19.6, 0.0])
        moved = torch.cat([(vertices - centre)[..., :2] * scale + centre[:2], vertices[..., 2:]], dim=-1)
        raster = rasterise(moved.detach(), triangles, size)
        return antialias(raster.mask.float(), raster, moved, triangles).sum()

    scale = torch.tensor(1.0, requires_grad=True)
    area(scale).backward()
    difference = float(area(torch.tensor(1.02)) - area(torch.tensor(0.98))) / 0.04
    assert abs(float(scale.grad) / difference - 1) < 0.05


def test_antialias_gradient_to_the_picture(ball):
    vertices, triangles, size = ball_on_screen(ball)
    raster = rasterise(vertices, triangles, size)
    opposite = opposite_corners(triangles)
    image = torch.randn(1, 2, *size, generator=generator(), requires_grad=True)
    noise = torch.randn(1, 2, *size, generator=generator(1))
    (antialias(image, raster, vertices, triangles, opposite) * noise).sum().backward()
    # It is linear in the picture: <A x, n> = <x, A^T n>.
    other = torch.randn(1, 2, *size, generator=generator(2))
    forward = (antialias(other, raster, vertices, triangles, opposite) * noise).sum()
    torch.testing.assert_close((other * image.grad).sum(), forward, rtol=1e-4, atol=1e-3)


def test_a_ball_finds_its_place_by_its_outline(ball):
    """What the gradients are for: centre and radius from a silhouette alone."""
    vertices, triangles, size = ball_on_screen(ball)
    raster = rasterise(vertices, triangles, size)
    opposite = opposite_corners(triangles)
    target = antialias(raster.mask.float(), raster, vertices, triangles, opposite)
    shift = torch.tensor([3.0, -2.0], requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.3)
    for _ in range(40):
        moved = torch.cat([vertices[..., :2] + shift, vertices[..., 2:]], dim=-1)
        raster = rasterise(moved.detach(), triangles, size)
        loss = (antialias(raster.mask.float(), raster, moved, triangles, opposite) - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert shift.abs().max() < 0.15
