"""Residual block variants, predicted layers and spectral norm against recorded arrays."""

import json

import numpy as np
import pytest
import torch

from likeness.methods.bilayer.networks.adaptive import Predicted, SpadeNorm, adaptive_conv, adaptive_scale, make_norm
from likeness.methods.bilayer.networks.blocks import ResBlock

CASES = (
    "down_none", "down_bn", "same_none_identity_skip", "same_none_conv_skip", "up_nearest_none",
    "up_bilinear_efficient_bn", "up_nearest_in", "up_spade_bn", "down_maxpool_aggregate2", "first_feats_separable",
    "fixed_pixel_bias",
)  # fmt: skip
TOLERANCE = 1e-5


def _block(kwargs: dict) -> ResBlock:
    return ResBlock(
        kwargs["in_channels"],
        kwargs["out_channels"],
        norm=kwargs.get("norm_layer_type", "none"),
        resize=kwargs["resize_layer_type"],
        activation=kwargs["activation_type"],
        efficient_upsampling=kwargs.get("efficient_upsampling", False),
        separable_conv=kwargs.get("separable_conv", False),
        pixelwise_bias=kwargs.get("pixelwise_bias_type", "none"),
        spatial_size=kwargs.get("spatial_size"),
        split_first=kwargs.get("return_first_feats", False),
    )


@pytest.mark.parametrize("case", CASES)
def test_residual_block(fixtures, case):
    arrays = fixtures.load("blocks")
    kwargs = json.loads(bytes(arrays[f"{case}.kwargs"]))
    block = _block(kwargs)
    keys = {f"{k}:{tuple(v.shape)}".replace(",)", ",)") for k, v in block.state_dict().items()}
    assert keys == set(arrays[f"{case}.keys"].tolist())
    fixtures.fill(block, f"block.{case}.")
    x = torch.from_numpy(arrays[f"{case}.in"])
    for mode in ("eval", "train"):
        block.train(mode == "train")
        out, features = block(x, frames_per_person=kwargs.get("frames_per_person", 1))
        assert np.abs(out.detach().numpy() - arrays[f"{case}.{mode}.out"]).max() < TOLERANCE
        for index, feature in enumerate(features):
            if f"{case}.{mode}.feat{index}" in arrays.files:
                assert np.abs(feature.detach().numpy() - arrays[f"{case}.{mode}.feat{index}"]).max() < TOLERANCE
    for key, buffer in block.named_buffers():
        if f"{case}.train.{key}" in arrays.files:
            assert np.abs(buffer.numpy() - arrays[f"{case}.train.{key}"]).max() < TOLERANCE


def test_predicted_layers(fixtures):
    arrays = fixtures.load("blocks")
    x = torch.from_numpy(arrays["ada.in"])

    def group(name: str) -> Predicted:
        return Predicted(torch.from_numpy(arrays[f"{name}.weight"]), torch.from_numpy(arrays[f"{name}.bias"]))

    results = {f"ada.{k}": adaptive_conv(x, group(f"ada.{k}")) for k in ("conv1", "conv3")}
    for kind in ("bn", "in", "none"):
        norm = make_norm(f"ada_{kind}", 5).train()
        results[f"ada.norm_{kind}"] = norm(x, iter([group(f"ada.norm_{kind}")]))
    spade = make_norm("ada_spade_bn", 5, 4).train()
    assert isinstance(spade, SpadeNorm)
    spade.pixel_feats.data = torch.from_numpy(arrays["ada.spade.pixel_feats"])
    results["ada.spade"] = spade(x, iter([group("ada.spade.conv_weight"), group("ada.spade.conv_bias")]))
    for name, value in results.items():
        assert np.abs(value.detach().numpy() - arrays[f"{name}.out"]).max() < TOLERANCE, name
    assert torch.equal(adaptive_scale(x, group("ada.norm_none")), results["ada.norm_none"])


def test_pixel_unshuffle(fixtures):
    arrays = fixtures.load("blocks")
    out = torch.nn.functional.pixel_unshuffle(torch.from_numpy(arrays["unshuffle.in"]), 2)
    assert np.abs(out.numpy() - arrays["unshuffle.out"]).max() < TOLERANCE
