"""Normal maps and textures unwrapped from several cameras, on the free actor."""

import shutil

import cv2
import numpy as np
import pytest
import torch

from likeness.cli.main import run as command
from likeness.errors import UserError
from likeness.formats.actor import read_body, read_cameras, read_frames, read_transform
from likeness.geometry.body import posed_vertices
from likeness.media.image import read_uint8, write_image
from likeness.methods.neural_actor.maps import layout, normal_map, over_surface, project
from likeness.render.interpolate import interpolate
from likeness.render.rasterise import rasterise
from likeness.render.texture import sample_texture

SIDE = 256


def paint(places):
    """A smooth colour (..., 3) of rest positions (..., 3), never pure white."""
    return 0.5 + 0.35 * torch.sin(places * torch.tensor([9.0, 7.0, 11.0]) + torch.tensor([0.0, 1.0, 2.0]))


def seen(body, vertices, camera):
    return rasterise(project(vertices, camera)[None], body.faces, (SIDE, SIDE))


@pytest.fixture(scope="module")
def painted(data_dir, tmp_path_factory):
    """The free actor with two frames, seen by its four cameras before white; its body is painted by rest position."""
    folder = tmp_path_factory.mktemp("painted")
    source = data_dir / "neural_actor" / "anny_actor"
    for name in ("canonical.obj", "uvmapping.obj", "skinning_weight.txt", "transform_tpose.json"):
        shutil.copyfile(source / name, folder / name)
    for name in ("pose", "intrinisc"):
        shutil.copytree(source / name, folder / name)
        (folder / name).chmod(0o755)
    (folder / "transform").mkdir()
    for stem in ("000001", "000004"):
        shutil.copyfile(source / "transform" / f"{stem}.json", folder / "transform" / f"{stem}.json")
    body, cameras = read_body(folder), read_cameras(folder)
    for frame in read_frames(folder):
        vertices = posed_vertices(body, read_transform(frame.transform))
        for number, camera in enumerate(cameras):
            raster = seen(body, vertices, camera)
            picture = interpolate(paint(body.vertices), raster, body.faces)
            picture = torch.where(raster.mask, picture, 1.0)[0]
            write_image(folder / "rgb" / frame.transform.stem / f"{number:04d}.png", picture, synthetic=True)
    return folder


@pytest.fixture(scope="module")
def unwrapped(painted):
    command(["extract", "textures", str(painted), "--size", "256"])
    return painted


def test_NA17_a_texture_drawn_again_gives_the_pictures_back(unwrapped):
    body, cameras = read_body(unwrapped), read_cameras(unwrapped)
    for frame in read_frames(unwrapped):
        vertices = posed_vertices(body, read_transform(frame.transform))
        texture = torch.tensor(read_uint8(frame.texture)).permute(2, 0, 1)[None].float() / 255
        for path, camera in zip(frame.pictures, cameras):
            raster = seen(body, vertices, camera)
            corners = torch.arange(3 * len(body.faces)).view(-1, 3)
            uv = interpolate(body.face_uv.flatten(0, 1), raster, corners)
            drawn = sample_texture(texture.flip(2), uv, raster.mask)
            truth = torch.tensor(read_uint8(path)).permute(2, 0, 1)[None].float() / 255
            error = (drawn - truth).abs().mean(1, keepdim=True)[raster.mask]
            assert error.mean() < 0.01 and error.quantile(0.98) < 0.06, (error.mean(), error.quantile(0.98))


def test_NA17_texels_carry_the_paint_of_their_place(unwrapped):
    body = read_body(unwrapped)
    where = layout(body.face_uv, 256)
    truth = paint(over_surface(body.vertices, body.faces, where))
    for frame in read_frames(unwrapped):
        found = torch.from_numpy(read_uint8(frame.texture)[where.covered.numpy()]).float() / 255
        error = (found - truth).abs().mean(-1)
        assert error.median() < 0.01 and (error < 0.05).float().mean() > 0.85


def test_NA17_extraction_goes_on_where_it_stopped(unwrapped, capsys, tmp_path):
    first = read_frames(unwrapped)[0].texture
    before = first.read_bytes()
    first.unlink()
    capsys.readouterr()
    command(["extract", "textures", str(unwrapped), "--size", "256"])
    assert "1 maps of 256 x 256 written, 1 were there" in capsys.readouterr().out
    assert first.read_bytes() == before
    (tmp_path / "normal").mkdir()
    shutil.copyfile(first, tmp_path / "normal" / "frame_000000.png")
    with pytest.raises(UserError, match="other names, such as frame_000000.png"):
        command(["extract", "normals", str(unwrapped), "--out", str(tmp_path)])


def test_NA17_normals_are_those_of_the_posed_body_in_bgr_order(painted, tmp_path):
    command(["extract", "normals", str(painted), "--out", str(tmp_path), "--size", "128"])
    body = read_body(painted)
    where = layout(body.face_uv, 128)
    path = sorted((tmp_path / "normal").iterdir())[0]
    assert path.name == "000001.png"
    image = cv2.imread(str(path)).astype(np.float32) / 255  # channels x, y, z, as its writer meant them
    vertices = posed_vertices(body, read_transform(painted / "transform" / "000001.json"))
    corners = vertices[body.faces[where.faces]]
    flat = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = torch.nn.functional.normalize(flat, dim=-1)
    found = torch.from_numpy(image[where.covered.numpy()]) * 2 - 1
    agreement = (found * flat).sum(-1)
    assert agreement.median() > 0.98 and (agreement > 0.5).float().mean() > 0.98
    assert (image[~where.covered.numpy()] == 1).all()


def test_NA17_normal_maps_of_the_synthetic_studio_are_ours(actor_studio):
    data = actor_studio / "training"
    body = read_body(data)
    for frame in read_frames(data)[:1]:
        vertices = posed_vertices(body, read_transform(frame.transform))
        ours, theirs = normal_map(vertices, body.faces, layout(body.face_uv, 256)), read_uint8(frame.normal)
        assert np.abs(ours.astype(int) - theirs).mean() < 2


def test_NA17_pictures_that_do_not_fit_are_named(painted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(painted, copy)
    picture = next((copy / "rgb" / "000004").iterdir())
    picture.unlink()
    with pytest.raises(UserError, match="holds 3 pictures, the folder 4 cameras"):
        command(["extract", "textures", str(copy), "--out", str(tmp_path / "o")])
    shutil.copyfile(painted / "rgb" / "000004" / picture.name, picture)
    for path in (copy / "rgb" / "000001").iterdir():
        write_image(path, np.full((SIDE, SIDE, 3), 255, np.uint8), synthetic=True)
    with pytest.raises(UserError, match="no camera sees the body"):
        command(["extract", "textures", str(copy), "--out", str(tmp_path / "o"), "--size", "64"])
