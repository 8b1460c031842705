import numpy as np
import pytest
import torch

from likeness.errors import UserError
from likeness.metrics import inception


def test_layout_and_size_are_the_published_networks(tmp_path):
    network = inception.InceptionFeatures()
    # torchvision's Inception-v3 less its auxiliary head and its last layer.
    assert sum(p.numel() for p in network.parameters()) == 27_161_264 - 3_326_696 - 2_049_000
    names = set(network.state_dict())
    for name in (
        "Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch5x5_2.bn.running_var", "Mixed_6c.branch7x7dbl_5.conv.weight",
        "Mixed_7a.branch7x7x3_4.conv.weight", "Mixed_7c.branch3x3dbl_3b.bn.bias",
    ):  # fmt: skip
        assert name in names
    torch.save(network.state_dict() | {"fc.weight": torch.zeros(1008, 2048)}, tmp_path / "inception.pth")
    loaded = inception.load_inception(tmp_path / "inception.pth")
    pictures = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for rule in ("torch-fidelity", "pytorch-fid"):
        assert inception.features(loaded, [pictures], rule).shape == (1, 2048)
    with pytest.raises(ValueError, match="uint8"):
        inception.features(loaded, [pictures.float()])


def test_tensorflow_1_resampling_has_no_half_pixel_offset():
    ramp = torch.arange(4.0)[None, None, None].expand(1, 1, 4, 4)
    out = inception.resize_tensorflow_1(ramp, 8)
    np.testing.assert_allclose(out[0, 0, 0], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3])
    assert torch.equal(inception.resize_tensorflow_1(ramp, 4), ramp)


def test_missing_and_wrong_weights_name_the_file(tmp_path):
    with pytest.raises(UserError, match=r"pt_inception-2015-12-05"):
        inception.load_inception(None)
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: these are not"):
        inception.load_inception(tmp_path / "other.pth")
