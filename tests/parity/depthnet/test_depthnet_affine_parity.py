"""The closed-form affine, its ridge and its gradients against independent float64 least squares."""

import numpy as np
import pytest
import torch

from likeness.methods.depthnet.affine import apply_affine, fit_affine, fit_affine_of_xy
from likeness.methods.depthnet.losses import keypoint_loss


@pytest.fixture(scope="module")
def pairs(recorded):
    return recorded("closed_form")


def inputs(pairs, dtype):
    return (torch.from_numpy(pairs[name]).to(dtype) for name in ("src_xy", "src_z", "tgt_xy"))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-5), (torch.float64, 1e-9)])
def test_row_6_closed_form(pairs, dtype, tolerance):
    source, depth, target = inputs(pairs, dtype)
    affine = fit_affine(source, depth, target)
    assert affine.dtype == dtype
    predicted = apply_affine(affine, source, depth).transpose(1, 2)
    assert np.abs(predicted.numpy() - pairs["pred_f64"]).max() <= tolerance
    assert np.abs(affine.numpy() - pairs["m_f64"]).max() <= 5e-4 * np.abs(pairs["m_f64"]).max()


@pytest.mark.parametrize("scale", [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-8])
def test_row_6_scaling_depth_changes_no_target(pairs, scale):
    source, depth, target = inputs(pairs, torch.float32)
    affine = fit_affine(source, depth * scale, target)
    predicted = apply_affine(affine, source, depth * scale).transpose(1, 2)
    assert np.abs(predicted.numpy() - pairs["pred_f64"]).max() <= 5e-5


@pytest.mark.parametrize("kind", ["zero", "constant", "planar", "nearly planar", "large planar", "one point"])
@pytest.mark.parametrize("l1", [False, True])
def test_row_6_degenerate_depth_is_finite_and_best(pairs, kind, l1):
    source, depth, target = inputs(pairs, torch.float32)
    if kind == "zero":
        depth = torch.zeros_like(depth)
    elif kind == "constant":
        depth = torch.full_like(depth, 0.37)
    elif kind == "one point":
        source = torch.full_like(source, 0.4)
    else:
        noise = 1e-4 * depth if kind == "nearly planar" else 0.0
        depth = 0.3 * source[:, :, 0] - 1.7 * source[:, :, 1] + 0.2 + noise
        depth = 1e6 * depth if kind == "large planar" else depth
    leaf = depth.clone().requires_grad_(True)
    affine = fit_affine(source, leaf, target)
    assert torch.isfinite(affine).all()
    keypoint_loss(leaf, None, source, target, l1=l1).backward()
    assert torch.isfinite(leaf.grad).all()
    rows = torch.cat([source, depth[:, :, None], torch.ones_like(depth)[:, :, None]], 2).double().numpy()
    for n in range(len(rows)):
        scaled = rows[n] / np.maximum(np.linalg.norm(rows[n], axis=0), 1e-300)
        best = scaled @ np.linalg.lstsq(scaled, target[n].double().numpy(), rcond=1e-6)[0]
        ours = rows[n] @ affine[n].detach().double().numpy().T
        square = ((target[n].numpy() - best) ** 2).mean()
        assert ((target[n].numpy() - ours) ** 2).mean() <= square * 1.001 + 1e-7


def test_row_6_affine_of_xy_alone(pairs):
    source, _, target = inputs(pairs, torch.float64)
    affine = fit_affine_of_xy(source, target)
    assert affine[:, :, 2].abs().max() < 1e-12
    rows = torch.cat([source, torch.ones(len(source), 66, 1)], 2)
    best = torch.linalg.lstsq(rows, target).solution.transpose(1, 2)
    torch.testing.assert_close(affine[:, :, [0, 1, 3]], best)


def test_row_7_ridge(pairs):
    source, depth, target = inputs(pairs, torch.float32)
    for ridge, name in ((0.05, "005"), (1.0, "1")):
        affine = fit_affine(source, depth, target, ridge)
        want = pairs[f"m_ridge{name}_f64"]
        assert np.abs(affine.numpy() - want).max() <= 5e-4 * np.abs(want).max()
    predicted = apply_affine(fit_affine(source, depth, target, 0.05), source, depth).transpose(1, 2)
    assert np.abs(predicted.numpy() - pairs["pred_ridge005_f64"]).max() <= 5e-5
    leaf = depth.clone().requires_grad_(True)
    keypoint_loss(leaf, None, source, target, ridge=0.05).backward()
    step = 1e-4 * leaf.grad / leaf.grad.norm()
    rise = [
        keypoint_loss((depth + sign * step).double(), None, source.double(), target.double(), ridge=0.05)
        for sign in (1, -1)
    ]
    torch.testing.assert_close((rise[0] - rise[1]) / 2e-4, leaf.grad.norm().double(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("l1", [False, True])
@pytest.mark.parametrize("detach", [False, True])
def test_row_8_losses_and_gradients(pairs, l1, detach):
    source, depth, target = inputs(pairs, torch.float32)
    leaf = depth.clone().requires_grad_(True)
    loss = keypoint_loss(leaf, None, source, target, l1=l1, detach=detach)
    loss.backward()
    name = ("l1" if l1 else "l2") + ("_detach" if detach else "")
    want = pairs[f"dz_{name}_f64"]
    np.testing.assert_allclose(loss.item(), pairs[f"loss_{name}"][1], rtol=1e-4)
    assert np.abs(leaf.grad.numpy() - want).max() <= 1e-3 * np.abs(want).max()


def test_row_8_true_depths_in_place_of_predicted_ones(pairs):
    source, _, target = inputs(pairs, torch.float32)
    true = torch.from_numpy(pairs["gt_z"])
    np.testing.assert_allclose(keypoint_loss(true, None, source, target).item(), pairs["gtz_loss"], rtol=1e-4)
    affine = fit_affine(source, true, target).numpy()
    assert np.abs(affine - pairs["gtz_m"]).max() <= 5e-4 * np.abs(pairs["gtz_m"]).max()
