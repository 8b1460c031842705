"""Rows L1, W1 and V1 (curve): losses, colour correction in both layouts and the display curve."""

import numpy as np
import pytest
import torch

from likeness.methods.multiface.colour import DiagonalColour, MatrixColour, as_matrix
from likeness.methods.multiface.losses import kl_divergence, screen_loss, texture_loss
from likeness.methods.multiface.networks import Code
from likeness.methods.multiface.pictures import display_curve


@pytest.fixture
def arrays(load_npz):
    return load_npz("losses_colour_gamma")


def diagonal(arrays):
    colour = DiagonalColour(len(arrays["cc.diag.weight"]) + 1)
    weight, bias = (torch.from_numpy(arrays[f"cc.diag.{name}"]) for name in ("weight", "bias"))
    colour.load_state_dict(
        {
            "weight_anchor": torch.ones(1, 3, 1, 1),
            "bias_anchor": torch.zeros(1, 3, 1, 1),
            "weight": weight,
            "bias": bias,
        }
    )
    return colour


def test_L1_texture_screen_and_kl(arrays, mf_params):
    noise = lambda name, shape: torch.from_numpy(mf_params.noise(f"loss/{name}", shape))  # noqa: E731
    shape = (2, 3, 24, 20)
    predicted, truth = noise("pred_tex", shape), noise("gt_tex", shape)
    mask = (noise("mask", shape) > -0.5).float()
    loss = texture_loss(predicted, truth, mask)
    assert float(loss) == pytest.approx(float(arrays["loss.tex"]), rel=1e-5)
    pictures = [noise(name, (2, 24, 20, 3)).permute(0, 3, 1, 2) for name in ("pred_screen", "photo", "screen_mask")]
    loss = screen_loss(pictures[0], pictures[1], pictures[2].abs(), float(arrays["loss.texstd"]) ** 2)
    assert float(loss) == pytest.approx(float(arrays["loss.screen"]), rel=1e-5)
    code = Code(torch.from_numpy(arrays["kl.mean"]), torch.from_numpy(arrays["kl.logstd"]))
    assert float(kl_divergence(code)) == pytest.approx(float(arrays["kl"]), rel=1e-5)


def test_W1_colour_layouts(arrays):
    texture, camera = torch.from_numpy(arrays["cc.tex"]), torch.from_numpy(arrays["cc.cam"])
    with torch.no_grad():
        colour = diagonal(arrays)
        np.testing.assert_allclose(colour(texture, camera), arrays["cc.diag.out"], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(as_matrix(colour)(texture, camera), arrays["cc.diag.out"], rtol=1e-6, atol=1e-6)
        matrix = MatrixColour(6)
        matrix.load_state_dict({key: torch.from_numpy(arrays[f"cc.matrix.{key}"]) for key in ("weights", "bias")})
        np.testing.assert_allclose(matrix(texture, camera), arrays["cc.matrix.out_train"], rtol=1e-6, atol=1e-6)
        matrix.eval()
        np.testing.assert_allclose(matrix(texture, camera), arrays["cc.matrix.out_eval"], rtol=1e-6, atol=1e-6)


def test_V1_display_curve(arrays):
    colours = torch.from_numpy(arrays["gamma.in"]).T[:, :, None]
    found = display_curve(colours)[..., 0].T
    np.testing.assert_allclose(found, arrays["gamma.out_numpy"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.float(), arrays["gamma.out_torch"], rtol=1e-5, atol=1e-6)
