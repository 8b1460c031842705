"""Crop, stickman, identity grid, warp and standing statistics against recorded arrays."""

import numpy as np
import torch
from PIL import Image

from likeness.geometry.head_crop import crop_head, crop_square
from likeness.methods.bilayer import stickman
from likeness.methods.bilayer.model import Pairs, forward_base, standing_statistics
from likeness.methods.bilayer.networks import BASE, NetworkOptions
from likeness.methods.bilayer.networks.warp import identity_grid, sample


def test_row_14_crop_geometry(fixtures, data_dir):
    arrays = fixtures.load("preprocess")
    photo = np.asarray(Image.open(data_dir / "bilayer" / "source.jpg").convert("RGB"))
    for index, keypoints in enumerate(arrays["keypoints"]):
        centre, half = crop_square(keypoints)
        assert centre.tolist() == arrays["center"][index].tolist()
        assert half == arrays["half_side"][index]
        image, saved = crop_head(photo, keypoints, 256)
        assert np.abs(saved - arrays["keypoints_saved_px"][index]).max() < 1e-3
        pose = stickman.normalise(keypoints - (centre - half), 2 * half)
        assert np.abs(pose - arrays["pose_normalised"][index]).max() < 1e-5
        recorded = arrays["crop_u8"][index].astype(int)
        errors = [np.abs(image[s::4, s::4].astype(int) - recorded).max() for s in (0, 2)]
        assert min(errors) <= 2
        assert np.abs(image.mean((0, 1)) - arrays["crop_mean"][index]).max() < 1


def test_row_14_stickman_and_flip(fixtures):
    arrays = fixtures.load("preprocess")
    for pose, recorded in zip(arrays["pose_normalised"], arrays["stickmen_u8"], strict=True):
        drawn = np.round((stickman.draw(pose, 256) + 1) / 2 * 255).astype(int)
        assert (drawn == recorded).mean() >= 0.97
    assert abs(stickman.draw(np.full(136, 9, np.float32), 64)[0, 0, 0] - arrays["stickmen_background"]) < 1e-5
    assert np.abs(stickman.flip(arrays["flip.in"], float(arrays["image_size_wh"][0])) - arrays["flip.out"]).max() < 1e-4


def test_row_14_identity_grid_and_warp(fixtures):
    arrays = fixtures.load("preprocess")
    assert np.abs(identity_grid(8)[0].numpy() - arrays["identity_grid_8"]).max() < 1e-5
    warped = sample(torch.from_numpy(arrays["warp.in"]), torch.from_numpy(arrays["warp.uv"]))
    assert np.abs(warped.numpy() - arrays["warp.out"]).max() < 1e-5


def test_row_12_standing_statistics(fixtures, inputs_of):
    """The recorded buffers are the agreed initial values: in that run BatchNorm had stayed in evaluation mode.

    So the recorded outputs check evaluation with given statistics, and the averages are checked against ones computed
    here from the inputs of every BatchNorm layer.
    """
    arrays = fixtures.load("bn_stats_64")
    options = NetworkOptions(image_size=64, enh_bottleneck_tensor_size=32)
    networks = fixtures.networks(options, BASE)
    batches = [Pairs(**inputs_of(arrays, f"b{i}.in.")) for i in range(3)]
    buffers = {f"buf/{n}/{k}": b for n, net in networks.items() for k, b in net.named_buffers()}
    recorded = [k for k in arrays.files if k.startswith("buf/")]
    assert all(np.abs(buffers[k].numpy() - arrays[k]).max() < 1e-4 for k in recorded)
    with torch.no_grad():
        out = forward_base(networks, options, batches[0])
    assert np.abs(out.target.imgs[:, None].numpy() - arrays["out.pred_target_imgs"]).max() < 1e-4
    assert np.abs(out.texture[:, None].numpy() - arrays["out.pred_tex_hf_rgbs"]).max() < 1e-4

    seen: dict[str, list] = {}
    for name, network in networks.items():
        for key, layer in network.named_modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.register_forward_pre_hook(
                    lambda _, x, key=f"buf/{name}/{key}": seen.setdefault(key, []).append(
                        x[0].transpose(0, 1).flatten(1)
                    )
                )
    spectral = {k: b.clone() for k, b in networks["texture_generator"].named_buffers() if k.endswith("weight_u")}
    assert standing_statistics(networks, options, batches) == 3
    assert len(seen) * 2 == len(recorded)
    for key, inputs in seen.items():
        assert len(inputs) == 3
        mean = torch.stack([x.mean(1) for x in inputs]).mean(0)
        variance = torch.stack([x.var(1) for x in inputs]).mean(0)
        assert torch.allclose(buffers[f"{key}.running_mean"], mean, atol=1e-4)
        assert torch.allclose(buffers[f"{key}.running_var"], variance, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(b, networks["texture_generator"].get_buffer(k)) for k, b in spectral.items())
    assert not any(m.training for n in networks.values() for m in n.modules())
