"""The actor's surface as a mesh, its distance to another, and weights in the published layout."""

import dataclasses

import numpy as np
import pytest
import torch
import trimesh

from likeness.cli.main import run as command
from likeness.errors import UserError
from likeness.formats.actor import read_transform
from likeness.media.image import read_image
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.published import load_renderer
from likeness.methods.neural_actor.surface import distance_to_mesh, extract_surface, filled, write_mesh
from tests.methods.neural_actor.stand_in import write_actor, write_run


@pytest.fixture(scope="module")
def actor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("actor")
    return write_run(folder / "run", write_actor(folder / "data"), opaque=120.0), folder / "data"


def opaque(actor, frame=1):
    run, data = actor
    avatar = Avatar.from_run(run)
    body = avatar.pose(read_transform(data / "transform" / f"{frame:06d}.json"))
    return avatar, body, avatar.texture_map(read_image(data / "tex" / f"{frame:06d}.png"))


def test_NA24_surface_is_closed_and_as_far_from_the_mesh_as_the_field_is_dense(actor):
    avatar, body, texture_map = opaque(actor)
    mesh = extract_surface(avatar, body, texture_map, 48)
    assert mesh.is_watertight and mesh.volume > 0
    points = torch.from_numpy(np.array(mesh.vertices)).float()
    world = body.pose.to_world(body.vertices)
    distance = distance_to_mesh(points, world, avatar.network.encoder.faces)
    # This field is dense as far as it is defined: 6 cm from the body, within a cell of the grid.
    assert float(distance.mean()) == pytest.approx(0.06, abs=0.02) and float(distance.max()) < 0.1
    closed = trimesh.Trimesh(world.numpy(), avatar.network.encoder.faces.numpy(), process=False)
    assert (mesh.bounds[0] < closed.bounds[0]).all() and (mesh.bounds[1] > closed.bounds[1]).all()
    assert mesh.body_count == 1  # no second surface inside, where the field is untrained
    assert mesh.visual.vertex_colors.shape == (len(mesh.vertices), 4)


def test_NA24_hollows_are_filled_and_an_empty_field_is_named(actor):
    volume = np.zeros((9, 9, 9))
    volume[2:7, 2:7, 2:7] = 100
    volume[4, 4, 4] = 0
    solid = filled(volume, 50)
    assert solid[4, 4, 4] == 100 and solid[0, 0, 0] == 0 and (solid > 50).sum() == 125
    avatar, body, texture_map = opaque(actor)
    thin = dataclasses.replace(avatar.config, render=dataclasses.replace(avatar.config.render, min_dis_eps=10.0))
    with pytest.raises(UserError, match="nowhere as dense"):
        extract_surface(dataclasses.replace(avatar, config=thin), body, texture_map, 12, level=1e6)


def test_NA24_distance_to_a_mesh():
    box = trimesh.creation.box((2, 2, 2))
    points = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, 0.5], [2.0, 2.0, 0.0]])
    distance = distance_to_mesh(points, torch.tensor(box.vertices).float(), torch.tensor(box.faces))
    torch.testing.assert_close(distance, torch.tensor([2.0, 0.5, 2**0.5]))


def test_NA24_files_by_command(actor, tmp_path):
    run, _ = actor
    for suffix in ("ply", "glb"):
        path = tmp_path / f"mesh.{suffix}"
        command(f"export neural_actor --run {run} --out {path} --resolution 32 --frame 2".split())
        mesh = trimesh.load(path, force="mesh")
        mesh.merge_vertices()
        assert mesh.is_watertight
    assert (tmp_path / "mesh.ply").read_bytes().startswith(b"ply\nformat ascii")
    with pytest.raises(UserError, match="no pose 9"):
        command(f"export neural_actor --run {run} --out {tmp_path / 'x.ply'} --frame 9".split())
    with pytest.raises(UserError, match=r"\.ply or \.glb"):
        write_mesh(tmp_path / "mesh.stl", trimesh.creation.box((1, 1, 1)))


def test_NA22_NA24_meshes_and_field_normals_beside_pictures(actor, tmp_path):
    run, _ = actor
    command(
        f"animate neural_actor --run {run} --out {tmp_path} --resolution 16 16 --maximum-frames 2 "
        "--output-types color predn marchingcube --mesh-resolution 24".split()
    )
    assert [file.name for file in sorted((tmp_path / "mc_mesh").iterdir())] == ["000000.ply", "000001.ply"]
    assert len(list((tmp_path / "predn").iterdir())) == 2 and len(list(tmp_path.glob("full_*.mp4"))) == 1


def test_NA25_weights_leave_in_the_published_layout(actor, tmp_path):
    run, _ = actor
    path = tmp_path / "nerf_x.pt"
    command(f"export neural_actor --run {run} --out {path} --layout original".split())
    avatar = Avatar.from_run(run)
    bones = avatar.network.encoder.canonical_bones
    read = load_renderer(path, bones)
    assert dataclasses.replace(read.config, skip=3) == dataclasses.replace(avatar.network.config, skip=3)
    for key, value in avatar.network.state_dict().items():
        torch.testing.assert_close(read.state_dict()[key], value)
