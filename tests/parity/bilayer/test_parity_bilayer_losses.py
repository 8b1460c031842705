"""Every loss in every variant against recorded values."""

import numpy as np
import pytest
import torch

from likeness.methods.bilayer import losses


@pytest.fixture(scope="module")
def arrays(fixtures):
    return fixtures.load("losses")


def _picture(arrays, name):
    return torch.from_numpy(arrays[name]).float() / 255 * 2 - 1


def _close(value, expected, rel=1e-5):
    assert float(value) == pytest.approx(float(expected), rel=rel)


@pytest.mark.parametrize("kind", ["gan", "rgan", "ragan"])
def test_row_09_adversarial(arrays, kind):
    real, dis, gen = (torch.from_numpy(arrays[f"adv.{k}"]) for k in ("real", "fake_dis", "fake_gen"))
    _close(0.5 * losses.adversarial_discriminator(real, dis, kind), arrays[f"adv.{kind}.D_ADV"])
    _close(0.5 * losses.adversarial_generator(real, gen, kind), arrays[f"adv.{kind}.G_ADV"])


@pytest.mark.parametrize("kind", ["l1", "mse"])
def test_row_09_feature_matching_and_pixelwise(arrays, kind):
    real, fake = ([torch.from_numpy(arrays[f"fm.{k}.{i}"]) for i in range(3)] for k in ("real", "fake"))
    _close(10 * losses.feature_matching(real, fake, kind), arrays[f"fm.{kind}"])
    _close(
        10 * losses.pixelwise(_picture(arrays, "img.fake"), _picture(arrays, "img.real"), kind), arrays[f"pix.{kind}"]
    )


def test_row_09_segmentation(arrays):
    logits = torch.from_numpy(arrays["seg.logits"]).float()
    real = torch.from_numpy(arrays["seg.real"]).float() / 255
    for kind in ("bce", "dice"):
        _close(10 * losses.segmentation(logits, real, kind), arrays[f"seg.{kind}"])


def test_row_09_warping_regularizer_and_its_decay(arrays):
    value = float(losses.warping_regularizer(torch.from_numpy(arrays["wpr.delta"])))
    mine = [value * losses.warping_weight(call, 10, 0.5, 3) for call in range(1, 13)]
    assert np.allclose(mine, arrays["wpr.decay_sequence"], rtol=1e-5)


@pytest.mark.parametrize("pooling", ["avgpool", "maxpool"])
def test_row_09_perceptual(fixtures, arrays, pooling):
    fake = _picture(arrays, "img.fake").flatten(0, 1).requires_grad_()
    real = _picture(arrays, "img.real").flatten(0, 1)
    total = torch.zeros(())
    for name, weight, prefix, stat in (
        ("VGG19", 10, "vgg19_imagenet.", "vgg19"),
        ("VGGFace", 0.01, "vgg16_face.", "vggface"),
    ):
        network = losses.VggFeatures(19 if name == "VGG19" else 16, face=name == "VGGFace", pooling=pooling)
        fixtures.fill(network, prefix)
        reference = network(real)
        if pooling == "avgpool":
            for level, feature in enumerate(reference):
                v = feature.detach().numpy().astype(np.float64)
                mine = [v.mean(), v.std(), np.sqrt((v**2).sum()), v.min(), v.max()]
                assert np.allclose(mine, arrays[f"per.feat.{stat}.{level}.stat"], rtol=1e-4, atol=1e-6)
        term = weight * losses.perceptual(network(fake), reference)
        _close(term, arrays[f"per.{pooling}.{name}"], rel=1e-4)
        total = total + term
    total.backward()
    gradient = fake.grad.numpy().reshape(2, 1, 3, 64, 64)
    assert np.linalg.norm(gradient) == pytest.approx(float(arrays[f"per.{pooling}.grad_norm"]), rel=1e-4)
    recorded = arrays[f"per.{pooling}.grad"]
    stride = 64 // recorded.shape[-1]
    assert any(
        np.abs(gradient[..., s::stride, s::stride] - recorded).max() <= 1e-4 * np.abs(recorded).max()
        for s in (0, stride // 2)
    )
