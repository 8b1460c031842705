"""Networks against the recorded outputs of the published implementation."""

import json

import pytest
import torch
import torch.nn.functional as F

from likeness.methods.gmpi.alpha import blend_margins
from likeness.methods.gmpi.networks import MPIGenerator, token_interpolation
from likeness.nets import stylegan2_ops as ops
from likeness.nets.activation import scaled_lrelu_
from likeness.nets.stylegan2 import Generator, truncate
from likeness.nets.stylegan2_discriminator import Discriminator


def close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance


def norms_close(network, expected, relative=1e-3):
    actual = {name: p.grad.norm().item() if p.grad is not None else 0.0 for name, p in network.named_parameters()}
    assert set(expected) == {name for name, p in network.named_parameters() if p.grad is not None}
    wrong = {n: (actual[n], e) for n, e in expected.items() if abs(actual[n] - e) > relative * max(abs(e), 1e-3)}
    assert not wrong


def test_N01_primitives(recorded):
    r = recorded("primitives")
    kernel = ops.resample_filter()
    close(kernel, r.filter, 0)
    close(ops.upsample2(r.x), r.upsample2, 1e-5)
    close(ops.downsample2(r.x), r.downsample2, 1e-5)
    close(ops.convolve(r.x, r.w3, up=2), r.conv3_up2, 1e-5)
    close(ops.convolve(r.x, r.w3), r.conv3, 1e-5)
    close(ops.convolve(r.x, r.w3, down=2), r.conv3_down2, 1e-5)
    close(ops.convolve(r.x, r.w1, down=2), r.conv1_down2, 1e-5)
    for up, noise, expected in (
        (1, 0.0, r.modconv3_demod1),
        (2, 0.0, r.modconv3_up2),
        (1, 0.3 * r.noise, r.modconv3_noise_add),
    ):
        raw, scale = ops.modulated_convolve(r.x, r.w3, r.styles, up=up)
        close(raw * scale[:, :, None, None] + noise, expected, 1e-5)
    close(scaled_lrelu_(r.x.clone(), 1.0, r.bias, gain=ops.SQRT2), r.bias_act_lrelu, 1e-5)
    close(ops.normalise_second_moment(r.styles), r.second_moment, 1e-5)
    close(ops.minibatch_deviation(r.x, 2), r.mbstd_group2, 1e-5)
    close(ops.minibatch_deviation(r.x, 1), r.mbstd_group1, 1e-5)


def test_N04_background_blend(recorded):
    r = recorded("primitives")
    for size in (8, 32):
        source, expected = getattr(r, f"background_in_{size}"), getattr(r, f"background_out_{size}")
        q = max(1, int(0.05 * size))
        close(blend_margins(source[..., : q + 1], source[..., -q - 1 :], size, 1e-8), expected, 1e-5)


@pytest.fixture(scope="module")
def depth_generator(fill):
    return fill(MPIGenerator(64, z_dim=64, w_dim=64, channel_base=2048, channel_max=64, largest_alpha=32)).eval()


def test_N02_mapping_truncation_cutoff(recorded, depth_generator):
    r = recorded("generator_depth")
    mapping = depth_generator.mapping
    with torch.no_grad():
        w = mapping(r.z)
    close(w, r.ws, 1e-5)
    close(truncate(w, mapping.w_avg, 0.7, 10)[:, 0], r.ws_psi, 1e-5)
    close(truncate(w, mapping.w_avg, 0.7, 10, 4), r.ws_psi_cutoff4, 1e-5)


def test_N03_depth_variant(recorded, depth_generator):
    r = recorded("generator_depth")
    with torch.no_grad():
        mpi = depth_generator(r.z, r.plane_z_normalised)
        first = depth_generator(r.z[:1], r.plane_z_normalised, psi=0.7, noise="none")
        eleven = depth_generator(r.z[:1], r.planes11_z_normalised, noise="none")
    close(mpi.foreground, r.rgb_fg, 1e-4)
    close(mpi.alpha, r.alpha, 1e-4)
    close(first.foreground, r.psi_rgb_fg, 1e-4)
    close(first.background, r.psi_rgb_bg, 1e-4)
    close(first.alpha, r.psi_alpha, 1e-4)
    close(F.avg_pool2d(eleven.alpha, 4)[0], r.planes11_alpha_32, 1e-4)


def test_N04_background_plane(recorded, depth_generator):
    r = recorded("generator_depth")
    with torch.no_grad():
        mpi = depth_generator(r.z, r.plane_z_normalised)
    close(mpi.background, r.rgb_bg, 1e-4)
    assert (mpi.alpha[:, -1] == 1).all()


def test_N05_alpha_logits_stop_growing(recorded, depth_generator):
    r = recorded("generator_depth")
    generator = depth_generator
    with torch.no_grad():
        ws = truncate(generator.mapping(r.z[:1]), generator.mapping.w_avg, 1.0, 10)
        colours, maps = generator.synthesis(ws, r.plane_z_normalised)
    assert not hasattr(generator.synthesis.b64, "toalpha")
    close(colours, r.logit_rgb_first, 1e-3)
    close(maps, r.logit_alpha_first, 1e-3)


def test_N07_activations(recorded, depth_generator):
    r = recorded("generator_depth")
    for activation in ("none", "sigmoid"):
        depth_generator.activation = activation
        with torch.no_grad():
            mpi = depth_generator(r.z[:1], r.plane_z_normalised)
        depth_generator.activation = "tanh"
        close(mpi.foreground[..., ::2, ::2], getattr(r, f"act_{activation}_rgb_fg"), 1e-4)


def test_N08_generator_gradients(recorded, depth_generator, draw):
    r = recorded("generator_depth")
    depth_generator.zero_grad()
    mpi = depth_generator(r.z, r.plane_z_normalised)
    (mpi.dense() * draw(102, (2, 6, 4, 64, 64))).sum().backward()
    norms_close(depth_generator, r.meta["grad_norms"])


VARIANT_OPTIONS = dict(z_dim=32, w_dim=32, channel_base=512, channel_max=32, largest_alpha=32, depth_bins=8)


@pytest.mark.parametrize(("variant", "label"), [("vanilla", "vanilla"), ("tokens", "token"), ("depth2alpha",) * 2])
def test_N06_other_variants(recorded, fill, draw, variant, label):
    r = recorded("generator_variants")
    planes = 32 if variant == "tokens" else 4
    generator = fill(MPIGenerator(32, variant=variant, planes=planes, **VARIANT_OPTIONS)).eval()
    depths = torch.linspace(0, 1, 32) if variant == "tokens" else r.plane_z_normalised
    mpi = generator(r.z, depths)
    close(mpi.foreground, getattr(r, f"{label}_rgb_fg"), 1e-4)
    close(mpi.background, getattr(r, f"{label}_rgb_bg"), 1e-4)
    close(mpi.alpha[:, :: 4 if variant == "tokens" else 1], getattr(r, f"{label}_alpha"), 1e-4)
    (mpi.dense() * draw(106, (1, planes, 4, 32, 32))).sum().backward()
    norms_close(generator, r.meta[label]["grad_norms"])
    assert sum(p.numel() for p in generator.parameters()) == r.meta[label]["params"]


def test_N06_G07_tokens_interpolated(recorded, fill):
    r = recorded("generator_variants")
    generator = fill(MPIGenerator(32, variant="tokens", **VARIANT_OPTIONS)).eval()

    def raw(count):
        return (1 / torch.linspace(1 / 1.12, 1 / 0.95, count, dtype=torch.float64)).flip(0).float()

    def inverse(count):
        return (raw(count) - 0.95) / (raw(count)[-1] - 0.95)

    close(token_interpolation(raw(32), raw(40)), r.token_interp40_weights, 1e-5)
    with torch.no_grad():
        mpi = generator(r.z, inverse(40), token_depths=inverse(32))
        again = generator(r.z, inverse(32))
    close(mpi.alpha[0, ::4], r.token_interp40_alpha, 1e-4)
    close(again.alpha[:, ::4], r.token_alpha, 1e-4)  # no interpolated count is kept as state


DISCRIMINATOR = dict(channel_base=2048, channel_max=64)


def test_N09_discriminator_heads(recorded, fill):
    r = recorded("discriminator")
    with torch.no_grad():
        for group in (1, 2, 4):
            network = fill(Discriminator(64, condition_dim=16, group=group, **DISCRIMINATOR))
            close(network(r.img, r.pose), getattr(r, f"score_group{group}"), 1e-4)
        network = fill(Discriminator(64, condition_dim=16, group=0, **DISCRIMINATOR))
        close(network(r.img, r.pose), r.score_no_mbstd, 1e-4)
        network = fill(Discriminator(64, condition_dim=0, group=1, **DISCRIMINATOR))
        close(network(r.img), r.score_unconditional, 1e-4)
        network = fill(Discriminator(64, condition_dim=9, group=1, **DISCRIMINATOR))
        close(network(r.img, r.pose[:, :9]), r.score_pose9, 1e-4)
    with pytest.raises(ValueError, match="none were given"):
        network(r.img)


@pytest.mark.parametrize("resolution", [256, 512, 1024])
def test_N10_keys_and_counts(gmpi_dir, resolution):
    keys = json.loads((gmpi_dir / "keys.json").read_text())
    base = 16384 if resolution == 256 else 32768
    counts = {256: (30145984, 24009056), 512: (36708245, 28990816), 1024: (36801722, 29020480)}[resolution]
    with torch.device("meta"):
        networks = {
            f"generator_{resolution}": MPIGenerator(resolution, channel_base=base),
            f"discriminator_{resolution}": Discriminator(resolution, channel_base=base, condition_dim=16, group=1),
            f"stylegan2_G_ema_{resolution}": Generator(resolution, channel_base=base),
            f"stylegan2_D_{resolution}": Discriminator(resolution, channel_base=base),
        }
    for name, network in networks.items():
        assert {k: list(v.shape) for k, v in network.state_dict().items()} == {k: v[0] for k, v in keys[name].items()}
    order = [name for name, _ in networks[f"generator_{resolution}"].named_parameters()]
    assert order == keys[f"ema_shadow_order_{resolution}"]
    for count, name in zip(counts, (f"generator_{resolution}", f"discriminator_{resolution}"), strict=True):
        assert sum(p.numel() for p in networks[name].parameters()) == count


@pytest.mark.parametrize(
    ("variant", "label", "count"),
    [("vanilla", "vanilla", 26128002), ("tokens", "token", 26130281), ("depth2alpha", "depth2alpha", 26050409)],
)
def test_N10_variant_keys(gmpi_dir, variant, label, count):
    keys = json.loads((gmpi_dir / "keys.json").read_text())
    with torch.device("meta"):
        network = MPIGenerator(256, variant=variant, planes=32, channel_base=16384)
    found = {k: list(v.shape) for k, v in network.state_dict().items()}
    depth, difference = keys["generator_256"], keys[f"variant_{label}_256_difference"]
    only_here = {k: v[0] for k, v in difference["only_here"].items()}
    assert set(found) == set(depth) - set(difference["not_here"]) | set(only_here)
    assert {k: found[k] for k in only_here} == only_here
    assert sum(p.numel() for p in network.parameters()) == count
