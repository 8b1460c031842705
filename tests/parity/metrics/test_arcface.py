import json

import numpy as np
import pytest
import torch

from likeness.perception.arcface import ArcFaceNetwork, aligned_crops, similarity_transforms


@pytest.fixture
def recorded(parity_dir):
    return np.load(parity_dir / "bilayer" / "losses.npz")


def _pixels(recorded) -> torch.Tensor:
    return (torch.from_numpy(recorded["csim.poses"]).reshape(2, 68, 2) + 1) * 32


def _signed(recorded, name: str) -> torch.Tensor:
    return torch.from_numpy(recorded[name][:, 0]).float() / 127.5 - 1


def test_row_15_csim_similarity_transform(recorded):
    transforms = similarity_transforms(_pixels(recorded))  # pixels of the crop to pixels of the 64 x 64 picture
    linear = transforms[:, :, :2] * 56 / 32
    shift = (transforms @ torch.tensor([56.0, 56.0, 1.0])) / 32 - 1
    np.testing.assert_allclose(linear, recorded["csim.affine"][:, :, :2], atol=1e-5)
    np.testing.assert_allclose(shift, recorded["csim.affine"][:, :, 2], atol=1e-5)


def test_row_15_csim_crop(recorded):
    crops = aligned_crops(_signed(recorded, "img.real"), _pixels(recorded))
    np.testing.assert_allclose(crops[:, :, ::4, ::4], recorded["csim.warped_real"], atol=1e-4)


def test_row_15_csim_embedding_and_value(recorded, parity_dir, parameter_value):
    keys = json.loads((parity_dir / "bilayer" / "keys.json").read_text())["csim_insight_face"]
    network = ArcFaceNetwork().eval()
    state = network.state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == {n: shape for n, (shape, _) in keys.items()}
    filled = {
        name: torch.from_numpy(parameter_value(name, tuple(tensor.shape))) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    network.load_state_dict(filled)
    pixels = _pixels(recorded)
    with torch.no_grad():
        real = network(aligned_crops(_signed(recorded, "img.real"), pixels))
        fake = network(aligned_crops(_signed(recorded, "img.fake"), pixels))
    np.testing.assert_allclose(real, recorded["csim.embed_real"], atol=1e-4)
    np.testing.assert_allclose(fake, recorded["csim.embed_fake"], atol=1e-4)
    np.testing.assert_allclose((real * fake).sum(dim=1).mean(), recorded["csim.value"], rtol=1e-4)
