"""The rasteriser and its gradients against a recorded float64 evaluation of Multiface's projection."""

import zlib

import numpy as np
import pytest
import torch

from likeness.render.interpolate import interpolate
from likeness.render.rasterise import rasterise
from likeness.render.texture import sample_texture

SEEDS = {"render_small": 11, "render_batch": 12, "render_offscreen": 13}


def noise(name, shape):
    return torch.from_numpy(np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32))


def load(parity_dir, name):
    with np.load(parity_dir / "multiface" / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def draw(f):
    homogeneous = f["pos"] @ f["M"][:, :, :3].mT + f["M"][:, None, :, 3]
    depth = homogeneous[..., 2:]
    vertices = torch.cat([homogeneous[..., :2] / depth, depth], dim=-1)
    raster = rasterise(vertices, f["tri"], tuple(f["resolution"].tolist()), perspective=False)
    uv = interpolate(f["uv"], raster, f["uv_tri"])
    return vertices, raster, uv, sample_texture(f["tex"], uv, raster.mask)


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def clip_to_pixels(clip, size):
    height, width = size
    x, y, _, w = clip.unbind(-1)
    return torch.stack([(x / w + 1) * width / 2, (y / w + 1) * height / 2, w], dim=-1)[None]


@pytest.mark.parametrize("name", SEEDS)
def test_R1_ids_weights_depth_uv_colour(parity_dir, name):
    f = load(parity_dir, name)
    vertices, raster, uv, colour = draw(f)
    safe = f["safe"]
    assert torch.equal(raster.triangle[safe], f["triangle"][safe].int())
    scaled = raster.depth / vertices[..., 2].amax(1)[:, None, None]
    found = torch.cat([raster.barycentric[..., :2], scaled[..., None]], dim=-1)
    torch.testing.assert_close(found[safe], f["bary_depth"][safe], rtol=0, atol=2e-4)
    torch.testing.assert_close(uv.movedim(1, -1)[safe], f["uv_image"][safe], rtol=0, atol=2e-4)
    torch.testing.assert_close(colour.movedim(1, -1)[safe], f["color"][safe], rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", SEEDS)
def test_R2_gradients_to_positions_uv_texture(parity_dir, name):
    f = load(parity_dir, name)
    f["uv"] = f["uv"].expand_as(f["grad_uv"]).clone()
    for key in ("pos", "uv", "tex"):
        f[key].requires_grad_()
    colour = draw(f)[-1].movedim(1, -1)
    (colour * noise(f"rast{SEEDS[name]}/weight", tuple(colour.shape))).sum().backward()
    assert relative(f["pos"].grad, f["grad_pos"]) <= 1e-3
    assert relative(f["uv"].grad, f["grad_uv"]) <= 1e-3
    if "grad_tex" in f:
        assert relative(f["tex"].grad, f["grad_tex"]) <= 1e-3
    assert abs(float(f["tex"].grad.norm()) / float(f["grad_tex.l2"]) - 1) <= 1e-3


def test_R3_perspective_correct(parity_dir):
    f = load(parity_dir, "raster_perspective")
    size = tuple(f["resolution"].tolist())
    clip, attributes = f["clip"].requires_grad_(), f["attr"].requires_grad_()
    raster = rasterise(clip_to_pixels(clip, size), f["tri"], size)
    out = interpolate(attributes, raster, f["tri"])[0].movedim(0, -1)
    safe = f["safe"]
    assert torch.equal(raster.triangle[0][safe], f["triangle"][safe].int())
    torch.testing.assert_close(raster.barycentric[0, ..., :2][safe], f["bary_depth"][safe][:, :2], rtol=0, atol=2e-4)
    torch.testing.assert_close(out[safe], f["interpolated"][safe], rtol=0, atol=2e-4)
    # Clip z of this recording is a linear function of w, and so is z / w of 1 / depth.
    design = torch.stack([clip[:, 3], torch.ones(len(clip))], dim=-1).detach()
    slope, offset = torch.linalg.lstsq(design.double(), clip[:, 2:3].detach().double()).solution[:, 0]
    seen = safe & (f["triangle"] >= 0)
    ndc = slope + offset / raster.depth[0][seen].double()
    torch.testing.assert_close(ndc.float(), f["bary_depth"][seen][:, 2], rtol=0, atol=2e-4)

    (out * noise("persp14/weight", tuple(out.shape))).sum().backward()
    assert relative(clip.grad[:, [0, 1, 3]], f["grad_clip"][:, [0, 1, 3]]) <= 1e-3
    assert relative(attributes.grad, f["grad_attr"]) <= 1e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", SEEDS)
def test_R4_gpu_agrees(parity_dir, name):
    f = load(parity_dir, name)
    _, raster, _, colour = draw(f)
    _, other, _, other_colour = draw({key: value.cuda() for key, value in f.items()})
    safe = f["safe"]
    assert torch.equal(raster.triangle[safe], other.triangle.cpu()[safe])
    torch.testing.assert_close(other_colour.cpu().movedim(1, -1)[safe], colour.movedim(1, -1)[safe], rtol=0, atol=2e-4)
