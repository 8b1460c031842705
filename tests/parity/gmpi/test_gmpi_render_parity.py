"""Rendered multiplane images against the recorded ones."""

import pytest
import torch

from likeness.methods.gmpi import scene as s
from likeness.render.multiplane import OutsideBackPlane, render

SCENES = {"FFHQ": s.FFHQ, "AFHQCat": s.AFHQCAT}


def close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance


def show(scene, mpi, cameras, **options):
    rendered = render(mpi[:, :, :3], mpi[:, :, 3], scene.planes(8), cameras, **options)
    return rendered.image * 2 - 1, rendered.depth


@pytest.mark.parametrize("name", ["FFHQ", "AFHQCat"])
@pytest.mark.parametrize("size", [32, 20])
def test_R01_R02_image_depth_and_texture_gradients(recorded, draw, name, size):
    r = recorded("render")
    scene, mpi = SCENES[name], getattr(r, f"mpi_{name}").requires_grad_()
    cameras = scene.cameras(getattr(r, f"yaw_{name}")[:, 0], getattr(r, f"pitch_{name}")[:, 0], size)
    image, depth = show(scene, mpi, cameras)
    close(image.detach(), getattr(r, f"image_{name}_{size}"), 5e-5)
    close(depth.detach(), getattr(r, f"depth_{name}_{size}"), 5e-5)
    (image * draw(142, image.shape)).sum().backward()
    close(mpi.grad[:, 0], getattr(r, f"grad_{name}_{size}_plane0"), 2e-3)
    assert abs(mpi.grad.norm() / r.meta[f"grad_norm_{name}_{size}"] - 1) < 1e-3


def test_R03_translucent_back_and_inset_corners(recorded):
    r = recorded("render")
    cameras = s.AFHQCAT.cameras(r.yaw_AFHQCat[:, 0], r.pitch_AFHQCat[:, 0], 20)
    inset, _ = show(s.AFHQCAT, r.mpi_AFHQCat, cameras, align_corners=False)
    close(inset, r.image_not_align_corners_20, 5e-5)
    back = r.mpi_AFHQCat.clone()
    back[:, -1, 3] = back[:, -1, 3] * 0.5
    image, depth = show(s.AFHQCAT, back, cameras)
    close(image, r.image_translucent_back_20, 5e-5)
    close(depth, r.depth_translucent_back_20, 5e-5)


@pytest.mark.parametrize(
    ("scene", "yaw", "pitch"), [(s.FFHQ, 0.632, 0.499), (s.METFACES, 0.728, 0.563), (s.AFHQCAT, 0.686, 0.797)]
)
def test_R04_poses_beyond_the_volume_are_refused(scene, yaw, pitch):
    alphas = torch.zeros(1, 8, 4, 4)
    colours = torch.zeros(1, 1, 3, 4, 4)
    for a, b in ((yaw, 0.0), (0.0, pitch)):
        inside = scene.cameras(torch.tensor([a * 0.998]), torch.tensor([b * 0.998]), 16)
        render(colours, alphas, scene.planes(8), inside)
        outside = scene.cameras(torch.tensor([a * 1.01]), torch.tensor([b * 1.01]), 16)
        with pytest.raises(OutsideBackPlane):
            render(colours, alphas, scene.planes(8), outside)
