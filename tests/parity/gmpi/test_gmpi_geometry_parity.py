"""The scene's geometry against the recorded values."""

import math

import numpy as np
import pytest
import torch

from likeness.errors import UserError
from likeness.methods.gmpi import scene as s
from likeness.methods.gmpi.networks import token_interpolation


def close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance


@pytest.fixture(scope="module")
def r(recorded):
    return recorded("geometry")


@pytest.mark.parametrize("spacing", ["uniform", "log-uniform", "sqrt", "squared", "inverse"])
def test_G01_plane_depths(r, spacing):
    close(s.plane_depths(0.95, 1.12, 9, spacing), getattr(r, "distance_" + spacing.replace("-", "_")), 1e-6)


@pytest.mark.parametrize("name", ["FFHQ", "MetFaces", "AFHQCat"])
def test_G02_plane_extents(r, name):
    from dataclasses import replace

    scene = {"FFHQ": s.FFHQ, "MetFaces": s.METFACES, "AFHQCat": s.AFHQCAT}[name]
    for count in (32, 96):
        torch.testing.assert_close(scene.planes(count), getattr(r, f"planes_{name}_{count}"), rtol=2e-6, atol=0)
    frustum = replace(scene, confined=False).planes(8)
    torch.testing.assert_close(frustum, getattr(r, f"planes_{name}_8_frustum"), rtol=2e-6, atol=0)
    torch.testing.assert_close(scene.planes(8, "uniform"), getattr(r, f"planes_{name}_8_uniform"), rtol=2e-6, atol=0)


def test_G02_too_wide_poses_are_refused_with_the_names_to_change():
    from dataclasses import replace

    with pytest.raises(UserError, match="h_stddev, v_stddev .* cam_pose_n_truncated_stds"):
        replace(s.FFHQ, yaw_std=0.72).planes(8)


@pytest.mark.parametrize("name", ["FFHQ", "AFHQCat"])
def test_G03_pose_to_matrix_and_back(r, name):
    scene = s.FFHQ if name == "FFHQ" else s.AFHQCAT
    camera = scene.cameras(r.yaw, r.pitch, 64)
    expected = getattr(r, f"c2w_{name}")
    close(camera.rotation.mT, expected[:, :3, :3], 1e-5)
    close(camera.position, expected[:, :3, 3], 1e-5)
    yaw, pitch = s.angles_of(expected[:, :3, 3], scene.radius)
    close(yaw, getattr(r, f"recovered_yaw_{name}"), 1e-5)
    close(pitch, getattr(r, f"recovered_pitch_{name}"), 1e-5)


def test_G04_poses_of_real_pictures(r):
    free = s.deep3d_to_world(r.d3d_angle, r.d3d_trans, 1.0)
    close(free, r.d3d_w2c_unnormalised, 1e-5)
    close(s.onto_sphere(free, 1.0), r.d3d_w2c, 1e-5)
    close(s.onto_sphere(s.eg3d_to_world(r.eg3d_c2w, 2.7), 2.7), r.eg3d_w2c, 1e-5)


def test_G05_pose_sampling(recorded, r):
    torch.manual_seed(132)
    drawn = s.sample_angle(1000, 0.289, 2, "truncated_gaussian", None)
    close(drawn[:, None], r.truncnorm_1000, 1e-6)
    generator = torch.Generator().manual_seed(0)
    many = s.sample_angle(100_000, 0.5, 2, "truncated_gaussian", generator)
    assert many.abs().max() <= 1.0
    assert abs(many.mean()) < 0.01
    assert abs(many.std() - 0.5 * 0.8796) < 0.01  # standard deviation of a normal cut at two of its own
    flat = s.sample_angle(100_000, 0.5, 2, "uniform", generator)
    assert flat.abs().max() <= 1.0
    assert abs(flat.std() - 1 / math.sqrt(3)) < 0.01
    assert (s.sample_angle(5, 0.0, 2, "uniform", generator) == 0).all()


def test_G06_rays(r):
    camera = s.FFHQ.cameras(r.yaw, r.pitch, 7)
    close(camera.intrinsics, r.intrinsics_7, 1e-5)
    index = (camera.position - r.eye_view3).abs().sum(dim=1).argmin()
    axis = torch.arange(7) + 0.5
    pixels = torch.stack([axis.expand(7, 7), axis[:, None].expand(7, 7), torch.ones(7, 7)])
    directions = camera.rotation[index].T @ (torch.linalg.inv(camera.intrinsics) @ pixels.flatten(1))
    directions = (directions / directions.norm(dim=0)).view(3, 7, 7)
    close(directions, r.rays_7_view3, 1e-6)
    close(camera.rotation[index, 2], r.axis_view3, 1e-5)


def test_G06_texture_coordinates(r):
    planes = s.FFHQ.planes(6)
    grid = torch.linspace(-1, 1, 8)
    expected = r.tex_xyz_8
    height, width = planes[:, 1, None, None] / 2, planes[:, 2, None, None] / 2
    xyz = torch.stack(
        [(grid[None, None] * width).expand(6, 8, 8), (grid[None, :, None] * height).expand(6, 8, 8),
         planes[:, 0, None, None].expand(6, 8, 8)], dim=-1)  # fmt: skip
    close(xyz, expected, 1e-6)
    z = s.FFHQ.normalised(planes[:, 0])
    close(z, r.tex_xyz_normalised_8[:, 0, 0, 2], 1e-6)
    close(2 * z - 1, r.tex_xyz_normalised_m11_8[:, 0, 0, 2], 2e-6)


def test_G07_token_interpolation_weights(r):
    source, target = s.FFHQ.plane_depths(6), s.FFHQ.plane_depths(11)
    close(token_interpolation(source, target), r.interp_6_to_11, 1e-5)
    close(token_interpolation(source, source), r.interp_6_to_6, 1e-5)
    assert np.allclose(token_interpolation(source, target).sum(1), 1)
