"""Closest points and ray hits against float64 brute force and Embree."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.render.intersect import MeshTree


def brute_force(points, corners):
    """Smallest distances (N,) in float64 of points (N, 3) to triangles (T, 3, 3): the plane, or the three edges."""
    p = points[:, None]
    a, b, c = (corners[None, :, k] for k in range(3))

    def to_segment(start, end):
        along = end - start
        t = ((p - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-300)
        return np.linalg.norm(p - start - np.clip(t, 0, 1)[..., None] * along, axis=-1)

    best = np.minimum(np.minimum(to_segment(a, b), to_segment(b, c)), to_segment(c, a))
    normal = np.cross(b - a, c - a)
    area = np.maximum((normal**2).sum(-1), 1e-300)
    v = (np.cross(p - a, c - a) * normal).sum(-1) / area
    w = (np.cross(b - a, p - a) * normal).sum(-1) / area
    over = (v >= 0) & (w >= 0) & (v + w <= 1) & (area > 1e-299)
    plane = np.abs(((p - a) * normal).sum(-1)) / np.sqrt(area)
    return np.where(over, np.minimum(plane, best), best).min(1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 40), degenerate=st.booleans())
def test_closest_equals_brute_force(seed, count, degenerate):
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(3 * count, 3)).astype(np.float32)
    if degenerate:
        vertices[1] = vertices[0]
    points = (2 * rng.normal(size=(50, 3))).astype(np.float32)
    triangles = torch.arange(3 * count).view(-1, 3)
    tree = MeshTree(torch.from_numpy(vertices)[None], triangles)
    found = tree.closest(torch.from_numpy(points)[None])
    corners = vertices.astype(np.float64).reshape(-1, 3, 3)
    expected = brute_force(points.astype(np.float64), corners[1:] if degenerate else corners)
    np.testing.assert_allclose(found.distance[0].numpy(), expected, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(found.barycentric.sum(-1), torch.ones(1, 50))


def test_NA3_closest_point_equals_fixture(parity_dir):
    with np.load(parity_dir / "neural_actor" / "ops.npz") as f:
        corners, points = torch.from_numpy(f["pf_triangles"]), torch.from_numpy(f["pf_points"])[None]
        squared, index = torch.from_numpy(f["pf_sqdist64"]), torch.from_numpy(f["pf_index64"])
        weights = torch.from_numpy(f["pf_bary64"]).float()
    tree = MeshTree(corners.reshape(1, -1, 3), torch.arange(3 * len(corners)).view(-1, 3))
    found = tree.closest(points)
    torch.testing.assert_close(found.distance[0].double() ** 2, squared, rtol=0, atol=1e-6)
    # Where another triangle was found, the fixture's is as near.
    given = tree.closest(points, triangle=index[None])
    torch.testing.assert_close(given.distance, found.distance, rtol=0, atol=1e-6)
    torch.testing.assert_close(given.barycentric[0], weights, rtol=0, atol=1.5e-3)


def test_sign_tells_inside_from_outside(ball):
    vertices, triangles = ball()
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(500, 3, generator=generator), dim=-1)
    # Straight out of corners and edges too, where several triangles are equally near.
    directions = torch.cat([directions, torch.nn.functional.normalize(vertices, dim=-1)])
    tree = MeshTree(vertices[None], triangles)
    assert (tree.closest(0.8 * directions[None], signed=True).distance < 0).all()
    assert (tree.closest(1.2 * directions[None], signed=True).distance > 0).all()
    assert (tree.closest(1.2 * directions[None]).distance > 0).all()


def test_inside_is_told_where_a_surface_cuts_itself(ball):
    vertices, triangles = ball()
    apart = torch.tensor([1.0, 0.0, 0.0])
    both = torch.cat([vertices, vertices + apart])  # two balls of radius 1, one pressed into the other
    tree = MeshTree(both[None], torch.cat([triangles, triangles + len(vertices)]))
    generator = torch.Generator().manual_seed(0)
    points = 4 * torch.rand(2000, 3, generator=generator) - torch.tensor([1.5, 2.0, 2.0])
    distance = torch.minimum(points.norm(dim=-1), (points - apart).norm(dim=-1))
    clear = (distance - 1).abs() > 0.05
    assert torch.equal(tree.inside(points[None])[0, clear], distance[clear] < 1)
    # Beside the wall that lies within, the nearest face says otherwise.
    beside = torch.tensor([[[1.03, 0.0, 0.0], [-0.03, 0.0, 0.0]]])
    assert tree.inside(beside).all() and not (tree.closest(beside, signed=True).distance < 0).any()
    assert not tree.inside(torch.tensor([[[torch.nan, 0.0, 0.0]]])).any()
    assert not MeshTree(torch.zeros(1, 0, 3), torch.zeros(0, 3, dtype=torch.int32)).inside(points[None]).any()


def test_rays_equal_embree(ball):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("embreex")
    vertices, triangles = ball(20, 24)
    generator = torch.Generator().manual_seed(1)
    origins = 3 * torch.nn.functional.normalize(torch.randn(800, 3, generator=generator), dim=-1)
    directions = 0.6 * torch.randn(800, 3, generator=generator) - origins
    tree = MeshTree(vertices[None], triangles)
    found = tree.cast(origins[None], directions[None])
    mesh = trimesh.Trimesh(vertices.numpy(), triangles.numpy(), process=False)
    hits, rays, _ = mesh.ray.intersects_location(origins.numpy(), directions.numpy(), multiple_hits=False)
    expected = torch.zeros(800, 3)
    expected[rays] = torch.from_numpy(hits).float()
    hit = torch.zeros(800, dtype=torch.bool)
    hit[rays] = True
    assert torch.equal(found.triangle[0] >= 0, hit)
    assert found.distance[0][~hit].isinf().all()
    along = origins + directions * found.distance[0][:, None].nan_to_num(posinf=0)
    torch.testing.assert_close(along[hit], expected[hit], rtol=0, atol=2e-5)
    torch.testing.assert_close(found.gather(vertices[None], triangles)[0][hit], expected[hit], rtol=0, atol=2e-5)


def test_meshes_of_a_batch_are_kept_apart(ball):
    vertices, triangles = ball()
    tree = MeshTree(torch.stack([vertices, 2 * vertices]), triangles)
    points = torch.tensor([[[0.0, 0, 5]], [[0.0, 0, 5]]])
    torch.testing.assert_close(tree.closest(points).distance, torch.tensor([[4.0], [3.0]]))
    down = torch.tensor([[[0.0, 0, -1]]]).expand(2, 1, 3)
    torch.testing.assert_close(tree.cast(points + 0.01, down).distance, torch.tensor([[4.0], [3.0]]), rtol=0, atol=0.05)


def test_empty_mesh_and_unusable_points():
    empty = MeshTree(torch.zeros(1, 0, 3), torch.zeros(0, 3, dtype=torch.long))
    assert empty.closest(torch.zeros(1, 2, 3)).triangle.tolist() == [[-1, -1]]
    assert empty.closest(torch.zeros(1, 2, 3)).distance.isinf().all()
    assert empty.cast(torch.zeros(1, 2, 3), torch.ones(1, 2, 3)).distance.isinf().all()
    tree = MeshTree(torch.eye(3)[None], torch.tensor([[0, 1, 2]]))
    found = tree.closest(torch.tensor([[[float("nan"), 0, 0], [0, 0, 0]]]))
    assert found.triangle.tolist() == [[-1, 0]]
    assert found.distance[0, 0].isinf()


def test_gradients_reach_what_is_gathered(ball):
    vertices, triangles = ball()
    vertices.requires_grad_()
    found = MeshTree(vertices[None], triangles).closest(torch.randn(1, 20, 3))
    found.gather(vertices[None], triangles).sum().backward()
    torch.testing.assert_close(vertices.grad.sum(), torch.tensor(60.0))


def test_wrong_input_is_explained():
    tree = MeshTree(torch.eye(3)[None], torch.tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match="points have shape"):
        tree.closest(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="expected 0 to 0"):
        tree.closest(torch.zeros(1, 1, 3), triangle=torch.tensor([[1]]))
    with pytest.raises(ValueError, match="expected 0 to 2"):
        MeshTree(torch.eye(3)[None], torch.tensor([[0, 1, 3]]))
