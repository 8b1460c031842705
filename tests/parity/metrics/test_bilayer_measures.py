import numpy as np
import pytest
import torch

from likeness.metrics.lpips import lpips_from
from likeness.metrics.pose import landmark_error
from likeness.metrics.psnr import psnr_bytes
from likeness.metrics.ssim import ssim


@pytest.fixture
def recorded(parity_dir):
    return np.load(parity_dir / "bilayer" / "losses.npz")


def _unit(recorded, name: str) -> torch.Tensor:
    return torch.from_numpy(recorded[name][:, 0]).float() / 255


@pytest.mark.parametrize("variant", ["signed_range", "unit_range"])
def test_row_15_ssim_both_variants(recorded, variant):
    real, fake = _unit(recorded, "img.real"), _unit(recorded, "img.fake")
    if variant == "signed_range":
        real, fake = 2 * real - 1, 2 * fake - 1
    value = ssim(fake, real, data_range=1.0, window="gaussian", border="zero").mean()
    np.testing.assert_allclose(value, recorded[f"ssim.{variant}"], rtol=1e-5)


def test_row_15_psnr_of_bytes(recorded):
    fake = (torch.from_numpy(recorded["psnr.fake"][:, 0]).float() + 1) / 2
    real = (2 * _unit(recorded, "img.real") - 1 + 1) / 2  # truncation sees the rounding of this way there and back
    np.testing.assert_allclose(psnr_bytes(fake, real), recorded["psnr.value"], rtol=1e-5)


def test_row_15_nme(recorded):
    error = landmark_error(torch.from_numpy(recorded["nme.fake"]), torch.from_numpy(recorded["nme.real"]))
    np.testing.assert_allclose(error, recorded["nme.per_image"], rtol=1e-5)
    np.testing.assert_allclose(error.mean(), recorded["nme.value"], rtol=1e-5)


def test_row_15_lpips(recorded, parameter_value):
    sizes = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (256, 256)]
    sizes += [(512, 256), (512, 512), (512, 512), (512, 512), (512, 512), (512, 512)]
    features = {}
    for number, (outputs, inputs) in zip((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), sizes, strict=True):
        for leaf, shape in (("weight", (outputs, inputs, 3, 3)), ("bias", (outputs,))):
            value = parameter_value(f"vgg16_imagenet.features.{number}.{leaf}", shape)
            features[f"{number}.{leaf}"] = torch.from_numpy(value)
    heads = {}
    for index, channels in enumerate((64, 128, 256, 512, 512)):
        name = f"lin{index}.model.1.weight"
        heads[name] = torch.from_numpy(np.abs(parameter_value(name, (1, channels, 1, 1))))
    measure = lpips_from(features, heads, "vgg")
    distances = measure(2 * _unit(recorded, "img.fake") - 1, 2 * _unit(recorded, "img.real") - 1)
    np.testing.assert_allclose(distances, recorded["lpips.vgg"], rtol=1e-4)
