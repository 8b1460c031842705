"""OBJ files that arrive whole, broken or in other people's dialects; normals and the Laplacian."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.errors import UserError
from likeness.geometry.mesh import (
    Mesh,
    face_normals,
    laplacian,
    quads_to_triangles,
    read_obj,
    vertex_normals,
    write_obj,
)

TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
CORNERS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), textured=st.booleans())
def test_obj_round_trip_is_exact(tmp_path_factory, seed, textured):
    generator = torch.Generator().manual_seed(seed)
    uv = torch.rand(6, 2, generator=generator) if textured else None
    uv_triangles = torch.randint(6, (4, 3), generator=generator) if textured else None
    mesh = Mesh(torch.randn(4, 3, generator=generator) * 1e3, TETRAHEDRON, uv, uv_triangles)
    path = tmp_path_factory.mktemp("obj") / "mesh.obj"
    write_obj(path, mesh)
    back = read_obj(path)
    assert torch.equal(back.vertices, mesh.vertices)
    assert torch.equal(back.triangles, mesh.triangles)
    assert (back.uv is None) == (not textured)
    if textured:
        assert torch.equal(back.uv, uv)
        assert torch.equal(back.uv_triangles, uv_triangles)


def test_obj_dialects(tmp_path):
    path = tmp_path / "dialect.obj"
    path.write_text(
        "# comment\nmtllib a.mtl\nv 0 0 0 0.5 0.5 0.5\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
        "vn 0 0 1\ng face\ns off\nf 1/1/1 2/2/1 3/3/1 4/4/1\nf -4/-4 -3/-3 -2/-2\n"
    )
    mesh = read_obj(path)
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.uv_triangles.tolist() == mesh.triangles.tolist()
    path.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1//1 2//1 3//1\n")
    assert read_obj(path).uv is None


def test_NA1_real_body_and_its_texture_map(data_dir):
    folder = data_dir / "neural_actor" / "anny_actor"
    body, atlas = read_obj(folder / "canonical.obj"), read_obj(folder / "uvmapping.obj")
    assert body.vertices.shape == (13718, 3)
    assert body.triangles.shape == atlas.uv_triangles.shape == (27420, 3)
    assert body.uv is None
    assert atlas.uv.shape == (21334, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v 0 0\n", "line 1"),
        ("v 0 0 x\n", "line 1"),
        ("v 0 0 0\nf 1 2 3\n", "line 2.*vertex 2 of 1"),
        ("v 0 0 0\nv 0 0 1\nv 0 1 0\nf 1 2 0\n", "vertex 0 of 3"),
        ("v 0 0 0\nv 0 0 1\nv 0 1 0\nf 1/1 2/1 3/1\n", "texture corner 1 of 0"),
        ("v 0 0 0\nv 0 0 1\nf 1 2\n", "a face of 2 corners"),
    ],
)
def test_broken_obj_is_explained(tmp_path, text, words):
    path = tmp_path / "broken.obj"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_obj(path)


def test_absent_obj_is_explained(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.obj"):
        read_obj(tmp_path / "nothing.obj")


def test_normals():
    normals = face_normals(CORNERS, TETRAHEDRON)
    torch.testing.assert_close(normals[0], torch.tensor([0.0, 0, -1]))
    at_vertices = vertex_normals(CORNERS, TETRAHEDRON)
    torch.testing.assert_close(at_vertices[0], -torch.ones(3) / 3**0.5)
    lone = vertex_normals(torch.cat([CORNERS, torch.ones(1, 3)]), TETRAHEDRON)
    assert not lone[4].any()
    both = vertex_normals(torch.stack([CORNERS, 2 * CORNERS]), TETRAHEDRON)
    torch.testing.assert_close(both[0], both[1])
    corners = CORNERS.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: vertex_normals(x, TETRAHEDRON), corners)


def test_quads_and_laplacian():
    assert quads_to_triangles(torch.tensor([[0, 1, 2, 3]])).tolist() == [[0, 1, 2], [0, 2, 3]]
    matrix = laplacian(TETRAHEDRON, 5).to_dense()
    torch.testing.assert_close(matrix.sum(1), torch.zeros(5))
    torch.testing.assert_close(matrix[:4, :4], (4 * torch.eye(4) - 1) / 3)
    assert not matrix[4].any()
