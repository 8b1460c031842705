import importlib
import importlib.util
import sys
import types

import numpy as np
import pytest
import skimage.metrics
import torch
from torch import nn

from likeness.errors import UserError
from likeness.metrics import csim
from likeness.metrics import lpips as lpips_measures
from likeness.metrics.depth import depth_error
from likeness.metrics.fid import frechet_distance, kernel_distance
from likeness.metrics.psnr import psnr
from likeness.metrics.ssim import ssim


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(2, 3, 40, 33, generator=generator)
    return first, (first + 0.1 * torch.randn(2, 3, 40, 33, generator=generator)).clamp(0, 1)


def _channels_last(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).double().numpy()


def test_psnr_is_scikit_images(pair):
    for ours, one, two in zip(psnr(*pair), *pair, strict=True):
        reference = skimage.metrics.peak_signal_noise_ratio(_channels_last(one), _channels_last(two), data_range=1)
        assert ours.item() == pytest.approx(reference, rel=1e-9)
    assert torch.isinf(psnr(pair[0], pair[0])).all()


def test_masked_psnr_counts_covered_pixels_only(pair):
    first, second = pair
    mask = torch.zeros(2, 1, 40, 33)
    mask[..., :20, :] = 1
    assert torch.allclose(psnr(first, second, mask=mask), psnr(first[..., :20, :], second[..., :20, :]))


def test_ssim_is_scikit_images(pair):
    pair = [images.double() for images in pair]
    for ours, one, two in zip(ssim(*pair), *pair, strict=True):
        one, two = _channels_last(one), _channels_last(two)
        reference = skimage.metrics.structural_similarity(one, two, data_range=1, channel_axis=-1)
        assert ours.item() == pytest.approx(reference, rel=1e-9)
    for ours, one, two in zip(ssim(*pair, window="gaussian"), *pair, strict=True):
        reference = skimage.metrics.structural_similarity(
            _channels_last(one), _channels_last(two), data_range=1, channel_axis=-1,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert ours.item() == pytest.approx(reference, rel=1e-6)
    assert torch.allclose(ssim(pair[0], pair[0]), torch.ones(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="smaller than the window"):
        ssim(torch.rand(1, 3, 5, 5), torch.rand(1, 3, 5, 5))


def _torchvision_stub(monkeypatch) -> None:
    def network(layers):
        def build(pretrained=False, weights=None):
            return types.SimpleNamespace(features=nn.Sequential(*layers()[0]))

        return build

    models = types.ModuleType("torchvision.models")
    models.vgg16, models.alexnet = network(lpips_measures._vgg16), network(lpips_measures._alexnet)
    root = types.ModuleType("torchvision")
    root.models, root.transforms = models, types.ModuleType("torchvision.transforms")
    monkeypatch.setitem(sys.modules, "torchvision", root)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setitem(sys.modules, "torchvision.transforms", root.transforms)


@pytest.mark.parametrize("net", ["vgg", "alex"])
def test_lpips_is_the_published_packages(monkeypatch, tmp_path, pair, net):
    if importlib.util.find_spec("lpips") is None:
        pytest.skip("the package lpips is not installed")
    _torchvision_stub(monkeypatch)
    reference = importlib.import_module("lpips").LPIPS(net=net, pnet_rand=True, verbose=False)
    state = {}
    for number in range(1, 6):  # the reference keeps torchvision's numbering inside its slices
        for name, tensor in getattr(reference.net, f"slice{number}").state_dict().items():
            state[f"features.{name}"] = tensor
    torch.save(state | {"classifier.0.weight": torch.zeros(1)}, tmp_path / "backbone.pth")
    first, second = (torch.nn.functional.interpolate(2 * images - 1, 64) for images in pair)
    ours = lpips_measures.load_lpips(tmp_path / "backbone.pth", net)(first, second)
    with torch.no_grad():
        np.testing.assert_allclose(ours, reference(first, second).flatten(), rtol=1e-5)


def test_st_lpips_is_its_packages(monkeypatch, pair):
    if importlib.util.find_spec("stlpips_pytorch") is None:
        pytest.skip("the package stlpips-pytorch is not installed")
    _torchvision_stub(monkeypatch)
    for name, attribute in (("IPython", "embed"), ("torchsummary", "summary")):
        stub = types.ModuleType(name)
        setattr(stub, attribute, None)
        monkeypatch.setitem(sys.modules, name, stub)
    package = importlib.import_module("stlpips_pytorch.stlpips")
    reference = package.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    first, second = (torch.nn.functional.interpolate(2 * images - 1, 64) for images in pair)
    ours = lpips_measures.load_st_lpips()(first, second)
    with torch.no_grad():
        np.testing.assert_allclose(ours, reference(first, second).flatten(), rtol=1e-5)
    assert lpips_measures.load_st_lpips()(first, first).abs().max() == 0


def test_missing_and_wrong_weights_name_the_file_that_is_wanted(tmp_path):
    with pytest.raises(UserError, match="vgg16-397923af"):
        lpips_measures.load_lpips(None)
    with pytest.raises(UserError, match=r"none\.pth.*alexnet-owt"):
        lpips_measures.load_lpips(tmp_path / "none.pth", "alex")
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="another network"):
        lpips_measures.load_lpips(tmp_path / "other.pth", heads=tmp_path / "other.pth")


def test_frechet_distance_of_gaussians_is_the_closed_form():
    random = np.random.default_rng(0)
    first = random.normal(size=(4000, 6)) * np.arange(1, 7)
    second = random.normal(size=(4000, 6)) * np.arange(2, 8) + 3
    # For diagonal covariances: squared shift of the means plus squared differences of the deviations.
    assert frechet_distance(first, second) == pytest.approx(6 * 9 + 6, rel=0.03)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-8)
    small = first / 10
    assert abs(kernel_distance(small, small[::-1], subsets=20, subset_size=500).mean) < 1e-3
    with pytest.raises(ValueError, match="fewer than a subset"):
        kernel_distance(first, second, subset_size=5000)


def test_depth_error_ignores_scale_and_offset():
    depth = torch.rand(12, 12, generator=torch.Generator().manual_seed(0)) + 1
    assert depth_error(depth, 3 * depth - 2, torch.ones(12, 12)) < 1e-10
    assert torch.isnan(depth_error(depth, depth, torch.zeros(12, 12)))


def test_identity_similarity():
    embeddings = torch.tensor([[1.0, 0.1], [1.0, -0.1]])
    assert csim.cosine(embeddings[:1], embeddings[1:]) > 0.97
    assert csim.cosine(embeddings[:1], embeddings[1:], centre=embeddings.mean(dim=0)) == pytest.approx(-1)
    assert csim.distance(embeddings[:1], embeddings[1:]) == pytest.approx(0.2)
