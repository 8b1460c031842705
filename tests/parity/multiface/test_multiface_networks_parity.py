"""Rows N1-N9: networks against recorded outputs, gradients, keys and initial statistics."""

import json

import numpy as np
import pytest
import torch

from likeness.methods.multiface.colour import DiagonalColour, MatrixColour
from likeness.methods.multiface.layers import fold
from likeness.methods.multiface.losses import kl_divergence
from likeness.methods.multiface.networks import Avatar

ROWS = {"base": "N1", "res": "N2", "warp": "N3", "non": "N4", "bilinear": "N5"}


def close(found, expected, tolerance, rms=None):
    expected = torch.from_numpy(np.asarray(expected, dtype=np.float64))
    scale = float(expected.square().mean().sqrt()) if rms is None else rms
    assert float((found.detach().double() - expected).abs().max()) <= tolerance * scale


def picture(found, arrays, name, tolerance, size):
    rms = float(np.sqrt(np.square(arrays[f"{name}.rms"]).mean()))
    close(found[..., 3 :: size // 16, 5 :: size // 16], arrays[f"{name}.sub"], tolerance, rms)
    close(found[..., :12, -12:], arrays[f"{name}.crop"], tolerance, rms)
    flat = found.detach().double().flatten(2)
    close(flat.mean(-1), arrays[f"{name}.mean"], tolerance, rms)
    close(flat.square().mean(-1).sqrt(), arrays[f"{name}.rms"], tolerance, rms)
    close(flat.amax(-1), arrays[f"{name}.max"], tolerance, rms)


def forward(fill, mf_params, arrays, settings):
    net = fill(settings["arch"], settings["tex_size"], settings["n_latent"], settings["n_cams"], settings["vertices"])
    tag, batch, size = settings["tag"], settings["batch"], settings["tex_size"]
    noise = lambda name, shape: torch.from_numpy(mf_params.noise(f"{tag}/{name}", shape))  # noqa: E731
    average = noise("avg_tex", (batch, 3, size, size))
    mesh = noise("mesh", (batch, settings["vertices"], 3))
    code = net.avatar.encode(average, mesh)
    decoded = net.avatar.decode(code.sample(torch.from_numpy(arrays["eps"])), torch.from_numpy(arrays["view"]))
    corrected = net.colour(decoded.texture, torch.from_numpy(arrays["cams"]))
    return net, noise, (average, mesh), code, decoded, corrected


def check(fill, mf_params, arrays, settings):
    net, noise, inputs, code, decoded, corrected = forward(fill, mf_params, arrays, settings)
    size = settings["tex_size"]
    textures = {"warp": 5e-4, "res": 3e-4}.get(settings["arch"], 1e-4)
    mean, logstd = net.avatar.enc.raw(*inputs)
    close(mean, arrays["enc.mean_raw"], 1e-4)
    close(logstd, arrays["enc.logstd_raw"], 1e-4)
    features = net.avatar.enc.texture_encoder(inputs[0])
    close(features[:, :64], arrays["enc.texture_features.first64"], 1e-4, float(arrays["enc.texture_features.rms"][0]))
    step = 37 if settings["vertices"] > 1000 else 1
    close(decoded.verts[:, ::step], arrays["verts"], 1e-4)
    picture(decoded.texture, arrays, "tex_without_cc", textures, size)
    picture(corrected, arrays, "tex", textures, size)
    if settings["arch"] == "warp":
        picture(decoded.unwarped, arrays, "unwarped_tex", 1e-4, size)
        picture(decoded.grid.permute(0, 3, 1, 2), arrays, "warp_grid", 1e-4, size)
    kl = kl_divergence(code)
    assert float(kl) == pytest.approx(float(arrays["kl"]), rel=1e-4)
    if "loss" not in arrays:
        return
    loss = (
        (corrected - noise("tex", tuple(corrected.shape))).square().mean()
        + (decoded.verts - noise("verts", tuple(decoded.verts.shape))).square().mean()
        + 0.01 * kl
    )
    assert float(loss) == pytest.approx(float(arrays["loss"]), rel=1e-4)
    loss.backward()
    parameters = net.parameters()
    # The recorded norms of parameters are float32 sums, hence a floor far below any of them.
    for key, norm in zip(arrays["grad.keys"], arrays["grad.l2"]):
        assert float(parameters[str(key)].grad.double().norm()) == pytest.approx(norm, rel=1e-3, abs=1e-9), key
    assert set(parameters) == {str(key) for key in arrays["grad.keys"]}


@pytest.mark.parametrize("architecture", [pytest.param(name, id=f"{row}-{name}") for name, row in ROWS.items()])
def test_N1_N2_N3_N4_N5_N7_forward_and_gradients_at_512(architecture, fill, mf_params, load_npz, config_of):
    arrays = load_npz(f"net_{architecture}_512")
    check(fill, mf_params, arrays, config_of(arrays))


@pytest.mark.parametrize("architecture", ["base", "warp"])
def test_N6_N7_forward_at_1024(architecture, fill, mf_params, load_npz, config_of):
    arrays = load_npz(f"net_{architecture}_1024")
    check(fill, mf_params, arrays, config_of(arrays))


@pytest.mark.parametrize("architecture", list(ROWS))
def test_N8_keys_shapes_and_counts(architecture, mf_dir):
    tables = json.loads((mf_dir / "keys.json").read_text())
    with torch.device("meta"):
        avatar, colour = meta_avatar(architecture), DiagonalColour(38)
    found = {f"module.{key}": list(value.shape) for key, value in avatar.state_dict().items()}
    found |= {f"module.cc.{key}": list(value.shape) for key, value in colour.state_dict().items()}
    assert found == {key: shape for key, (shape, _) in tables[architecture].items()}
    counts = {"base": 24313806, "res": 25394085, "warp": 33134480, "non": 15172017, "bilinear": 23684478}
    parameters = [*avatar.parameters(), *colour.parameters(), *colour.buffers()]
    assert sum(parameter.numel() for parameter in parameters) == counts[architecture]


def meta_avatar(architecture):
    torch.manual_seed(0)
    with torch.device("cpu"):
        return Avatar(architecture, 1024, 256, 7306)


def test_N8_matrix_layout_keys(mf_dir):
    table = json.loads((mf_dir / "keys.json").read_text())["base_with_matrix_colour_correction"]
    found = {f"module.cc.{key}": list(value.shape) for key, value in MatrixColour(40).state_dict().items()}
    assert found == {key: shape for key, (shape, _) in table.items() if ".cc." in key}


def test_N9_initialisation_statistics(load_npz):
    arrays = load_npz("losses_colour_gamma")
    torch.manual_seed(0)
    avatar, colour = Avatar("warp", 512, 128, 168), DiagonalColour(4)
    state = avatar.state_dict() | {f"cc.{key}": value for key, value in colour.state_dict().items()}
    assert {str(key) for key in arrays["init.keys"]} == set(state)
    for key, std, absmax in zip(arrays["init.keys"], arrays["init.std"], arrays["init.absmax"]):
        value = state[str(key)].double()
        if value.numel() > 1000:
            assert float(value.std(correction=0)) == pytest.approx(std, rel=0.1, abs=1e-12), key
            assert float(value.abs().max()) == pytest.approx(absmax, rel=0.1, abs=1e-12), key
        elif str(key).endswith((".bias", "bias_anchor")) and not str(key).startswith("warp.upsample.5"):
            assert float(value.abs().max()) == absmax == 0, key


@pytest.mark.parametrize("architecture", list(ROWS))
def test_folding_for_inference_keeps_the_outputs(architecture, fill):
    net = fill(architecture, 512, 128, 4, 168)
    z, view = torch.randn(1, 128), torch.tensor([[0.0, 0.0, 1.0]])
    with torch.no_grad():
        expected, found = net.avatar.decode(z, view), fold(net.avatar).decode(z, view)
    assert torch.allclose(found.verts, expected.verts, atol=1e-4)
    assert float((found.texture - expected.texture).abs().max()) < 1e-3 * float(expected.texture.std())
