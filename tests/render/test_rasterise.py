"""The rasteriser against a plain float64 one, against Embree's rays, and on the meshes that break rasterisers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.geometry.camera import Camera, look_at
from likeness.render.rasterise import rasterise


def soup(seed, count, size, behind=0.0):
    """`count` loose triangles around a picture of `size`; a share of corners behind the camera."""
    rng = np.random.default_rng(seed)
    vertices = rng.uniform((-0.4 * size[1], -0.4 * size[0], 1), (1.4 * size[1], 1.4 * size[0], 9), (3 * count, 3))
    vertices[:, 2] *= np.where(rng.random(3 * count) < behind, -1, 1)
    return torch.tensor(vertices, dtype=torch.float32), torch.arange(3 * count).view(count, 3)


def assert_equal_where_safe(raster, expected, *, least=0.8):
    ids, weights, depth, safe = (torch.from_numpy(x) for x in expected)
    assert safe.float().mean() >= least
    assert torch.equal(raster.triangle[0][safe].long(), ids[safe])
    torch.testing.assert_close(raster.barycentric[0][safe].double(), weights[safe], rtol=0, atol=2e-4)
    torch.testing.assert_close(raster.depth[0][safe].double(), depth[safe], rtol=2e-4, atol=0)


@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("behind", [0.0, 0.3])
def test_equals_plain_reference(plain_raster, perspective, behind):
    vertices, triangles = soup(1, 12, (37, 29), behind)
    raster = rasterise(vertices[None], triangles, (37, 29), perspective=perspective)
    expected = plain_raster(vertices, triangles, (37, 29), perspective=perspective)
    assert_equal_where_safe(raster, expected)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 6),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    behind=st.sampled_from([0.0, 0.4, 1.0]),
    perspective=st.booleans(),
)
def test_any_soup_equals_plain_reference(plain_raster, seed, count, height, width, behind, perspective):
    vertices, triangles = soup(seed, count, (height, width), behind)
    raster = rasterise(vertices[None], triangles, (height, width), perspective=perspective)
    expected = plain_raster(vertices, triangles, (height, width), perspective=perspective)
    assert_equal_where_safe(raster, expected, least=0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), snap=st.booleans())
def test_every_pixel_of_a_fan_is_drawn_once(seed, snap):
    """Triangles around a common corner leave no gap and no overlap, also with corners on pixel centres."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    ring = 16 + np.stack([np.cos(angles), np.sin(angles)], -1) * rng.uniform(6, 15, (7, 1))
    points = np.concatenate([[[16, 16]], ring])
    if snap:
        points = np.floor(points) + 0.5
    vertices = torch.tensor(np.concatenate([points, np.ones((8, 1))], -1), dtype=torch.float32)
    triangles = torch.tensor([[0, 1 + k, 1 + (k + 1) % 7] for k in range(7)])
    alone = torch.cat([rasterise(vertices[None], t[None], (32, 32)).mask for t in triangles]).sum(0)[0]
    together = rasterise(vertices[None], triangles, (32, 32)).mask[0, 0]
    corners = points[triangles.numpy()]
    spans = np.diff(np.concatenate([angles, angles[:1] + 2 * np.pi]))
    sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if (spans < 2).all() and (sides > 0).all():
        assert int(alone.max()) <= 1
        # The common corner's pixel belongs to one of them, so that nothing is missing inside.
        assert bool(together[16, 16])
    assert torch.equal(alone > 0, together)


def test_depth_equals_embree(ball):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("embreex")
    vertices, triangles = ball(20, 24)
    rotation, translation = look_at(torch.tensor([0.5, 0.4, 3.0]), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
    intrinsics = torch.tensor([[90.0, 0, 31.5], [0, 90.0, 24.2], [0, 0, 1]])
    camera = Camera(intrinsics, rotation, translation, (48, 64))
    pixels, depth = camera.project(vertices)
    raster = rasterise(torch.cat([pixels, depth[:, None]], dim=-1)[None], triangles, camera.size)

    y, x = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    local = torch.stack([(x - 31.5) / 90, (y - 24.2) / 90, torch.ones_like(x)], dim=-1).reshape(-1, 3)
    directions = local @ camera.rotation
    mesh = trimesh.Trimesh(vertices.numpy(), triangles.numpy(), process=False)
    origins = camera.position.expand_as(directions)
    hits, rays, ids = mesh.ray.intersects_location(origins.numpy(), directions.numpy(), multiple_hits=False)
    expected = torch.zeros(48 * 64)
    expected[rays] = camera.to_camera(torch.from_numpy(hits).float())[:, 2]
    found = raster.depth.view(-1)
    both = (expected > 0) & (found > 0)
    assert int(((expected > 0) != (found > 0)).sum()) <= 2  # rays through the outline's very edge
    torch.testing.assert_close(found[both], expected[both], rtol=0, atol=5e-5)
    same = raster.triangle.view(-1)[rays] == torch.from_numpy(ids)
    assert same.float().mean() > 0.995


def test_occlusion_and_ties():
    corners = [[-5.0, -5, 2], [30, -5, 2], [-5, 30, 2]]
    near = [[x, y, 1.0] for x, y, _ in corners]
    vertices = torch.tensor([*corners, *near, *near])[None]
    raster = rasterise(vertices, torch.arange(9).view(3, 3), (8, 8))
    assert (raster.triangle == 1).all()
    torch.testing.assert_close(raster.depth, torch.ones(1, 8, 8))


def test_degenerate_triangles_are_invisible():
    vertices = torch.tensor([[2.5, 2.5, 1], [2.5, 2.5, 1], [6.5, 6.5, 1], [4.5, 4.5, 1]])[None]
    raster = rasterise(vertices, torch.tensor([[0, 1, 2], [0, 0, 0], [0, 3, 2]]), (8, 8))
    assert not raster.mask.any()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_triangles_with_unusable_corners_are_left_out(value):
    vertices = torch.tensor([[0.0, 0, 1], [20, 0, 1], [0, 20, 1], [value, 3, 1]])[None]
    raster = rasterise(vertices, torch.tensor([[0, 1, 3], [0, 1, 2]]), (4, 4))
    assert set(raster.triangle.unique().tolist()) == {1}


def test_behind_the_camera_is_invisible():
    vertices, triangles = soup(3, 20, (16, 16), behind=1.0)
    assert not rasterise(vertices[None], triangles, (16, 16)).mask.any()


def test_off_screen_is_invisible():
    vertices, triangles = soup(3, 20, (16, 16))
    assert not rasterise(vertices[None] + torch.tensor([100.0, 0, 0]), triangles, (16, 16)).mask.any()
    assert not rasterise(vertices[None] * torch.tensor([1e30, 1, 1]) + 1e30, triangles, (16, 16)).mask.any()


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_empty_mesh_and_no_picture(batch):
    raster = rasterise(torch.zeros(batch, 0, 3), torch.zeros(0, 3, dtype=torch.long), (5, 7))
    assert raster.triangle.shape == (batch, 5, 7)
    assert (raster.triangle == -1).all()
    assert not raster.depth.any()


def test_one_pixel():
    vertices = torch.tensor([[-1.0, -1, 2], [3, -1, 2], [-1, 3, 2]])[None]
    raster = rasterise(vertices, torch.tensor([[0, 1, 2]]), (1, 1))
    torch.testing.assert_close(raster.barycentric[0, 0, 0], torch.tensor([0.25, 0.375, 0.375]))


def test_a_million_triangles():
    side = 708
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    vertices = torch.stack([x * 0.1, y * 0.1, torch.ones_like(x) * 2.0], dim=-1).reshape(1, -1, 3)
    a = (y * side + x)[:-1, :-1].reshape(-1)
    triangles = torch.cat([torch.stack([a, a + 1, a + side], -1), torch.stack([a + 1, a + side + 1, a + side], -1)])
    raster = rasterise(vertices, triangles, (64, 64))
    assert len(triangles) > 999_000
    assert raster.mask.all()
    place = (vertices[0][triangles[raster.triangle[0].long()]][..., :2] * raster.barycentric[0][..., None]).sum(-2)
    expected = torch.stack(torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="xy"), dim=-1)
    torch.testing.assert_close(place, expected, rtol=0, atol=1e-4)


def test_batch_equals_one_by_one():
    both = [soup(seed, 9, (20, 30))[0] for seed in (1, 2)]
    triangles = torch.arange(27).view(9, 3)
    together = rasterise(torch.stack(both), triangles, (20, 30))
    for index, vertices in enumerate(both):
        alone = rasterise(vertices[None], triangles, (20, 30))
        assert torch.equal(alone.triangle[0], together.triangle[index])
        assert torch.equal(alone.barycentric[0], together.barycentric[index])
        assert torch.equal(alone.depth[0], together.depth[index])


@pytest.mark.parametrize("perspective", [True, False])
def test_gradient_equals_plain_torch(perspective):
    vertices, triangles = soup(5, 6, (24, 20), behind=0.2 if perspective else 0.0)
    leaf = vertices.clone().requires_grad_()
    raster = rasterise(leaf[None], triangles, (24, 20), perspective=perspective)
    noise = torch.randn(24, 20, 3, generator=torch.Generator().manual_seed(0))
    (raster.barycentric[0] * noise).sum().backward()

    exact = vertices.double().requires_grad_()
    rows, columns = raster.mask[0, 0].nonzero().unbind(1)
    corners = exact[triangles[raster.triangle[0, rows, columns].long()]]  # (P, 3 corners, 3)
    flat = torch.cat([corners[..., :2], torch.ones_like(corners[..., :1])], dim=-1)
    matrix = (flat * corners[..., 2:] if perspective else flat).mT
    pixels = torch.stack([columns + 0.5, rows + 0.5, torch.ones(len(rows))], dim=-1).double()
    c = torch.linalg.solve(matrix, pixels)
    ((c / c.sum(-1, keepdim=True)) * noise[rows, columns]).sum().backward()
    assert len(rows) > 50
    assert (leaf.grad - exact.grad).norm() <= 1e-3 * exact.grad.norm()


def test_rows_shared_between_threads_draw_the_same(monkeypatch):
    """What a GPU does: several threads walk through one triangle's rows."""
    vertices, triangles = soup(7, 15, (33, 21), behind=0.2)
    rasters = []
    for stripes in (1, 5):
        monkeypatch.setattr("likeness.render.rasterise.lanes", lambda *_, n=stripes: n)
        rasters.append(rasterise(vertices[None], triangles, (33, 21)))
    assert torch.equal(rasters[0].triangle, rasters[1].triangle)
    assert torch.equal(rasters[0].depth, rasters[1].depth)


@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("stripes", [1, 5])
def test_skipping_what_is_hidden_changes_nothing(monkeypatch, perspective, stripes):
    """Runs of triangles, of which later ones leave out what lies behind earlier ones, against one run of them all."""
    monkeypatch.setattr("likeness.render.rasterise.lanes", lambda *_: stripes)
    vertices, triangles = soup(3, 400, (61, 45), behind=0.1)
    # Front to back, so that nearly all of the last runs is hidden.
    order = vertices[:, 2][triangles].amin(1).argsort()
    whole = rasterise(vertices[None], triangles[order], (61, 45), perspective=perspective)
    monkeypatch.setattr("likeness.render.rasterise.RUN", 16)
    runs = rasterise(vertices[None], triangles[order], (61, 45), perspective=perspective)
    assert torch.equal(whole.triangle, runs.triangle)
    assert torch.equal(whole.depth, runs.depth)


@pytest.mark.parametrize(
    ("vertices", "triangles", "words"),
    [
        (torch.zeros(4, 3), torch.zeros(1, 3, dtype=torch.long), "expected \\(B, V, 3\\)"),
        (torch.zeros(1, 4, 3), torch.tensor([[0, 1, 4]]), "expected 0 to 3"),
        (torch.zeros(1, 4, 3), torch.tensor([[0, -1, 2]]), "expected 0 to 3"),
        (torch.zeros(1, 4, 3), torch.zeros(1, 4, dtype=torch.long), "expected \\(T, 3\\)"),
    ],
)
def test_wrong_input_is_explained(vertices, triangles, words):
    with pytest.raises(ValueError, match=words):
        rasterise(vertices, triangles, (4, 4))
