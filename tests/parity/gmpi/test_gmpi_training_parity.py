"""Losses, shading, averages, import and one whole training step against the recorded values."""

import copy
import math
import os
import pickle

import pytest
import torch

from likeness.engine import AverageSpec
from likeness.engine.averages import Averages
from likeness.errors import UserError
from likeness.methods.gmpi import lighting, losses
from likeness.methods.gmpi import scene as s
from likeness.methods.gmpi.initialise import start_from, transfer
from likeness.methods.gmpi.networks import MPI, MPIGenerator
from likeness.methods.gmpi.pickles import read_stylegan2
from likeness.nets.stylegan2 import Generator
from likeness.nets.stylegan2_discriminator import Discriminator
from likeness.render.multiplane import render


def close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance


def test_L01_points_normals_and_shading(recorded):
    r = recorded("lighting")
    planes = s.FFHQ.planes(8)
    alpha = r.mpi[:, :, 3]
    depth = lighting.expected_depth(alpha, planes[:, 0])
    close(depth, r.depth, 1e-5)
    surface = lighting.points(lighting.blurred(depth), planes)
    close(surface, r.points, 1e-5)
    close(lighting.normals(surface), r.normals, 2e-4)
    for index in range(3):
        yaw, pitch, calls, ambient, diffuse = getattr(r, f"light_{index}").tolist()
        direction = lighting.light_directions(torch.tensor([yaw]), torch.tensor([pitch]), 1.0)
        strength = lighting.ramp(int(calls), 1000)
        assert (ambient, diffuse) == pytest.approx((0.9 * strength, 0.1 * strength), abs=1e-6)
        for plane in range(8):
            colours = r.mpi[:, plane, :3]
            shaded = lighting.shade(MPI(colours, colours, alpha), planes, direction, ambient, diffuse)
            close(shaded.foreground, getattr(r, f"shaded_rgb_{index}")[:, plane], 1e-3)
    assert lighting.ramp(0, 1000) == 0.0
    assert lighting.ramp(2001, 1000) == 1.0


def test_T01_losses_and_second_order_gradients(recorded, fill):
    r = recorded("discriminator")
    network = fill(Discriminator(64, channel_base=2048, channel_max=64, condition_dim=16, group=1))
    real = r.img.requires_grad_()
    scores = network(real, r.pose)
    penalty = losses.r1_penalty(scores, real)
    fake = network(r.fake, r.fake_pose)
    close(5 * penalty.detach(), r.r1_penalty, 1e-4)
    close(losses.real_loss(scores).detach(), r.loss_real, 1e-4)
    close(losses.fake_loss(fake).detach(), r.loss_fake, 1e-4)
    (losses.real_loss(scores) + losses.fake_loss(fake) + 5.0 * penalty).backward()
    apart = {name: parameter.grad for name, parameter in network.named_parameters()}
    network.zero_grad()
    together = losses.real_loss_and_penalty(network, r.img, r.pose)
    for one, other in zip(together, (losses.real_loss(scores), penalty)):
        close(one.detach(), other.detach(), 1e-5)
    (together[0] + losses.fake_loss(network(r.fake, r.fake_pose)) + 5.0 * together[1]).backward()
    for name, expected in r.meta["grad_norms_of_total_loss"].items():
        assert apart[name].norm().item() == pytest.approx(expected, rel=1e-3), name
        torch.testing.assert_close(network.get_parameter(name).grad, apart[name], rtol=1e-3, atol=1e-4 * expected)


def test_T02_T03_one_step_of_both_networks(recorded, fill):
    r = recorded("train_step")
    scene, planes = s.FFHQ, s.FFHQ.planes(4)
    depths = scene.normalised(planes[:, 0])
    generator = fill(MPIGenerator(32, z_dim=32, w_dim=32, channel_base=512, channel_max=32)).train()
    network = fill(Discriminator(32, channel_base=512, channel_max=32, condition_dim=16, group=1))
    average = Averages({"g": generator}, {"ema": AverageSpec("g", losses.ema_decay(0.999))})
    adam = {n: torch.optim.Adam(x.parameters(), 0.002, (0.0, 0.9)) for n, x in (("g", generator), ("d", network))}

    def show(mpi, yaw, pitch, source=None):
        cameras = scene.cameras(yaw, pitch, 32)
        image = render(mpi.colours, mpi.alpha, planes, cameras, source=source).image * 2 - 1
        return image, s.pose_vector(cameras)

    real_pose = s.onto_sphere(s.deep3d_to_world(r.real_angle, r.real_trans, 1.0), 1.0).flatten(1)
    close(real_pose, r.real_pose, 1e-5)
    with torch.no_grad():
        fake, pose = show(generator(r.z_d, depths), r.yaw_d[:, 0], r.pitch_d[:, 0])
    close(fake, r.fake_d, 1e-4)
    close(pose, r.fake_pose_d, 1e-5)
    real = r.real.requires_grad_()
    scores, scores_fake = network(real, real_pose), network(fake, pose)
    close(scores.detach(), r.score_real, 1e-4)
    close(scores_fake.detach(), r.score_fake_d, 1e-4)
    penalty = losses.r1_penalty(scores, real)
    assert 5 * penalty.item() == pytest.approx(r.meta["d"]["r1"], abs=1e-4)
    (losses.real_loss(scores) + losses.fake_loss(scores_fake) + 5 * penalty).backward()
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 10)
    assert norm.item() == pytest.approx(r.meta["d"]["grad_norm_before_clip"], rel=1e-3)
    adam["d"].step()

    pitch, yaw = r.candidate_pitch_yaw.unbind(-1)
    with torch.no_grad():
        candidates, poses = show(
            generator(r.z_g, depths), yaw.flatten(), pitch.flatten(), torch.arange(2).repeat_interleave(4)
        )
        candidate_scores = network(candidates, poses).view(2, 4)
    close(candidate_scores, r.candidate_scores, 1e-3)
    worst = losses.worst_view(candidate_scores)[:, None]
    close(yaw.gather(1, worst), r.worst_yaw, 1e-6)
    close(pitch.gather(1, worst), r.worst_pitch, 1e-6)
    image, pose = show(generator(r.z_g, depths), yaw.gather(1, worst)[:, 0], pitch.gather(1, worst)[:, 0])
    close(image.detach(), r.image_g, 1e-4)
    score = network(image, pose)
    close(score.detach(), r.score_g, 1e-3)
    loss = losses.real_loss(score)
    assert loss.item() == pytest.approx(r.meta["g"]["loss"], abs=1e-4)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(generator.parameters(), 10)
    assert norm.item() == pytest.approx(r.meta["g"]["grad_norm_before_clip"], rel=1e-3)
    adam["g"].step()
    average.refresh("step")
    close(generator.mapping.w_avg, r.w_avg_after, 1e-5)
    for network_, key in ((generator, "g_params_after_sum_norm"), (network, "d_params_after_sum_norm"),
                          (average.networks["ema"], "ema_after_sum_norm")):  # fmt: skip
        for name, (total, size) in r.meta[key].items():
            p = network_.get_parameter(name).detach()
            assert p.norm().item() == pytest.approx(size, rel=1e-4, abs=1e-5), name
            assert abs(p.sum().item() - total) <= 2e-3 * math.sqrt(p.numel()), name


@pytest.mark.parametrize(("decay", "name"), [(0.999, "shadow_0_999"), (0.9999, "shadow_0_9999")])
def test_T04_average_schedule(recorded, decay, name):
    r = recorded("ema")
    module = torch.nn.Module()
    module.p = torch.nn.Parameter(r.start.clone())
    average = Averages({"g": module}, {"ema": AverageSpec("g", losses.ema_decay(decay))})
    for update, expected in zip(r.updates, getattr(r, name), strict=True):
        with torch.no_grad():
            module.p += update
        average.refresh("step")
        close(average.networks["ema"].p.detach(), expected, 1e-6)


TINY = dict(channel_base=128, channel_max=8)


def tiny_pair():
    torch.manual_seed(0)
    generator = MPIGenerator(16, z_dim=8, w_dim=8, **TINY)
    return generator, Discriminator(16, condition_dim=16, group=1, **TINY)


def test_I01_the_pickle_is_read_and_its_source_never_run(gmpi_dir, fill):
    networks = read_stylegan2(gmpi_dir / "stylegan2_tiny.pkl")
    reference = fill(Generator(16, z_dim=8, w_dim=8, **TINY)).state_dict()
    assert networks["G_ema"].keys() == reference.keys()
    assert all(torch.equal(networks["G_ema"][k], reference[k]) for k in reference if not k.endswith("filter"))
    assert torch.equal(networks["G"]["synthesis.b4.const"] * 2, networks["G_ema"]["synthesis.b4.const"])


def test_I02_the_average_is_taken_b4_out_repeated_and_alpha_left(gmpi_dir):
    generator, discriminator = tiny_pair()
    before = copy.deepcopy(generator.state_dict())
    left = start_from(gmpi_dir / "stylegan2_tiny.pkl", generator, discriminator)
    networks = read_stylegan2(gmpi_dir / "stylegan2_tiny.pkl")
    assert torch.equal(generator.synthesis.b16.conv1.weight, networks["G_ema"]["synthesis.b16.conv1.weight"])
    assert networks["D"]["b4.out.weight"].shape == (1, 8)
    assert torch.equal(discriminator.b4.out.weight, networks["D"]["b4.out.weight"].expand(16, -1))
    assert {name.split(".")[2] if name.count(".") > 2 else name for name in left} == {
        "toalpha", "pos_enc_embed", "mapping.weight", "mapping.bias"
    }  # fmt: skip
    name = "synthesis.b8.toalpha.weight"
    assert torch.equal(generator.state_dict()[name], before[name])


def test_V05_sanity_plane_0_equals_the_2d_generator(gmpi_dir):
    source = read_stylegan2(gmpi_dir / "stylegan2_tiny.pkl")["G_ema"]
    flat = Generator(16, z_dim=8, w_dim=8, **TINY)
    transfer(source, flat, "tiny")
    generator, discriminator = tiny_pair()
    generator.activation = "none"
    start_from(gmpi_dir / "stylegan2_tiny.pkl", generator, discriminator)
    z = torch.randn(2, 8)
    with torch.no_grad():
        picture = flat.eval()(z)
        mpi = generator.eval()(z, torch.linspace(0, 1, 5))
    torch.testing.assert_close(mpi.foreground, (picture.clamp(-1, 1) + 1) / 2, atol=1e-6, rtol=0)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile",)


def test_I05_hostile_and_truncated_pickles_are_refused_by_name(tmp_path, monkeypatch, gmpi_dir):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hostile.pkl").write_bytes(pickle.dumps({"G": Hostile(), "D": None, "G_ema": None}))
    with pytest.raises(UserError, match=r"posix\.system"):
        read_stylegan2(tmp_path / "hostile.pkl")
    assert not (tmp_path / "hostile").exists()
    whole = (gmpi_dir / "stylegan2_tiny.pkl").read_bytes()
    (tmp_path / "cut.pkl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="refused"):
        read_stylegan2(tmp_path / "cut.pkl")
    (tmp_path / "other.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError, match="holds no network"):
        read_stylegan2(tmp_path / "other.pkl")


def test_I02_another_resolution_is_refused(gmpi_dir):
    generator = MPIGenerator(8, z_dim=8, w_dim=8, **TINY)
    with pytest.raises(UserError, match="no place for"):
        transfer(read_stylegan2(gmpi_dir / "stylegan2_tiny.pkl")["G_ema"], generator, "tiny")
