"""ONNX and TorchScript files of an avatar give what torch gives."""

import numpy as np
import onnxruntime
import pytest
import torch

from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.export import write_export
from likeness.methods.bilayer.networks import BASE, NetworkOptions


@pytest.fixture(scope="module")
def identity(fixtures, inputs_of):
    options = NetworkOptions(image_size=64, enh_bottleneck_tensor_size=32)
    x = inputs_of(fixtures.load("mobile_64"))
    avatar = Avatar(fixtures.networks(options, BASE), options)
    keypoints = (x["source_poses"][0, 0].numpy().reshape(68, 2) + 1) / 2 * 64
    image = ((x["source_imgs"][0, 0] + 1) / 2).numpy()
    return avatar.identify([image], [keypoints], [x["source_segs"][0, 0].numpy()]), x["target_poses"][0]


@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
def test_row_13_onnx_equals_torch(identity, tmp_path):
    person, pose = identity
    write_export(person, tmp_path / "a.onnx", "onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    colour, mask = session.run(None, {"pose": pose.numpy()})
    with torch.no_grad():
        expected = person(pose)
    assert np.abs(colour - expected[0].numpy()).max() <= 1e-4
    assert np.abs(mask - expected[1].numpy()).max() <= 1e-4


@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
def test_row_13_torchscript_equals_torch(identity, tmp_path):
    person, pose = identity
    write_export(person, tmp_path / "a.pt", "torchscript")
    again = torch.jit.load(str(tmp_path / "a.pt"))(pose)
    with torch.enable_grad():  # the same direct convolutions as in the file, not the faster ones of driving
        expected = person(pose)
    assert torch.allclose(again[0], expected[0], atol=1e-5)
    assert torch.allclose(again[1], expected[1], atol=1e-5)
