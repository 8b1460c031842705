"""Rows L1, L4, P1: the stage on the engine, its guard, clip, decay, best rule and resume."""

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from likeness.engine import Run, train
from likeness.errors import UserError
from likeness.formats import multiface as mf
from likeness.methods.multiface.data import loss_weight
from likeness.methods.multiface.evaluate import EvaluateConfig, evaluate
from likeness.methods.multiface.method import AvatarStage, SpikeGuard
from likeness.methods.multiface.model import MultifaceAvatar, predict
from likeness.methods.multiface.optimiser import Adam
from likeness.methods.multiface.screen import to_pixels
from likeness.metrics import lpips as lpips_measures


def start(config):
    return train(AvatarStage, config, method="multiface", stage="avatar", argv=["likeness"])


def test_L1_a_term_of_weight_0_is_skipped(small_config):
    stage = AvatarStage(dataclasses.replace(small_config, lambda_kl=0.0, lambda_verts=0.0))
    batch = stage.batches("train", 0, 1)[0]
    assert batch.photo is None
    objective = stage.objective(torch.device("cpu"))
    prediction = predict(stage.avatar, stage.colour, batch.average, batch.verts, batch.view, batch.row, None)
    assert set(objective.terms(prediction, batch)) == {"tex"}


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_L1_the_screen_loss_at_shrunk_photographs(scale, small_config):
    config = dataclasses.replace(small_config, lambda_screen=1.0, screen_scale=scale)
    stage, whole = AvatarStage(config), AvatarStage(dataclasses.replace(config, screen_scale=1))
    batch, unshrunk = stage.batches("valid", 0, 1)[0], whole.batches("valid", 0, 1)[0]
    assert batch.photo.shape[2:] == (48 // scale, 36 // scale)
    area = torch.nn.functional.avg_pool2d(unshrunk.photo, scale)
    torch.testing.assert_close(batch.photo, area, atol=1 / 255, rtol=0)
    verts = stage.objective(torch.device("cpu")).normaliser.verts(batch.verts)
    pixels, large = to_pixels(verts, batch.projection), to_pixels(verts, unshrunk.projection)
    torch.testing.assert_close(pixels[..., :2] * scale, large[..., :2])
    torch.testing.assert_close(pixels[..., 2], large[..., 2])
    prediction = predict(stage.avatar, stage.colour, batch.average, batch.verts, batch.view, batch.row, None)
    screen = stage.objective(torch.device("cpu")).terms(prediction, batch)["screen"]
    assert 0 < float(screen.detach()) < 1e6
    screen.backward()
    assert float(stage.avatar.dec.mesh_fc.weight.grad.abs().sum()) > 0


def test_L1_a_loss_weight_draws_gradients_through_its_geometry(small_config, tmp_path):
    mask = np.full((64, 64, 3), 16, np.uint8)
    mask[20:40, 20:40] = 254
    mf.write_picture(tmp_path / "mask.png", np.asarray(np.kron(mask, np.ones((4, 4, 1))), np.uint8))
    config = dataclasses.replace(
        small_config, lambda_screen=1.0, lambda_tex=0.0, loss_weight_mask=tmp_path / "mask.png"
    )
    weighted, uniform = AvatarStage(config), AvatarStage(dataclasses.replace(config, loss_weight_mask=None))
    uniform.avatar.load_state_dict(weighted.avatar.state_dict())
    losses = []
    for stage in (weighted, uniform):
        batch = stage.batches("valid", 0, 1)[0]
        prediction = predict(stage.avatar, stage.colour, batch.average, batch.verts, batch.view, batch.row, None)
        losses.append(stage.objective(torch.device("cpu")).terms(prediction, batch)["screen"])
        losses[-1].backward()
    assert 0 < float(losses[0].detach()) < float(losses[1].detach())
    assert float(weighted.avatar.dec.mesh_fc.weight.grad.abs().sum()) > 0


def test_L4_guard_drops_leaps_and_gives_in_at_last():
    guard = SpikeGuard(50)
    assert guard.accepts({"total": 1.0, "kl": 1e-6})
    assert not guard.accepts({"total": 51.0, "kl": 1e-6})
    assert not guard.accepts({"total": float("nan"), "kl": 1e-6})
    assert guard.accepts({"total": 49.0, "kl": 1e-6})
    taken = [guard.accepts({"total": 49.0, "kl": 1.0}) for _ in range(22)]
    assert taken == [False] * 20 + [True] * 2


def test_L4_clip_decay_and_separate_rates(small_config):
    stage = AvatarStage(small_config)
    specs, updates = stage.optimizers(), stage.updates()
    assert specs["avatar"].per == "epoch"
    assert specs["avatar"].schedule(2) == pytest.approx(0.95**2)
    assert specs["colour"].schedule is None
    assert updates["avatar"].clip_norm == 10.0
    assert tuple(updates["avatar"].optimizers) == ("avatar", "colour")
    assert updates["colour"].clip_norm is None


def test_L4_best_model_by_screen_or_texture(small_config):
    assert AvatarStage(small_config).best == ("tex", "min")
    assert AvatarStage(dataclasses.replace(small_config, lambda_screen=1.0)).best == ("screen", "min")


def test_L4_a_broken_run_resumes_to_the_same_bits(small_config, small_run, tmp_path):
    broken = dataclasses.replace(small_config, experiment_dir=tmp_path, epochs=1)
    start(broken)
    again = start(dataclasses.replace(broken, epochs=2))
    whole, resumed = MultifaceAvatar.from_run(small_run), MultifaceAvatar.from_run(again.folder)
    for key, value in whole.avatar.state_dict().items():
        assert torch.equal(value, resumed.avatar.state_dict()[key]), key


def test_L4_validation_marks_the_best_checkpoint(small_config, tmp_path):
    run = start(
        dataclasses.replace(small_config, experiment_dir=tmp_path, validate_every=1, lambda_screen=1.0, visuals_every=1)
    )
    assert run.checkpoints.best() is not None
    for name in ("pred", "gt", "pred_tex", "gt_tex"):
        assert list(run.images("train").glob(f"*{name}*")), name


@pytest.mark.parametrize("architecture", ["res", "warp", "non", "bilinear"])
def test_P1_every_architecture_trains_a_step(architecture, small_config, tmp_path):
    start(
        dataclasses.replace(
            small_config, experiment_dir=tmp_path, architecture=architecture, max_updates=1, colour_layout="matrix"
        )
    )


def test_P1_split_batches_give_the_same_gradients_as_whole_ones(small_config, tmp_path):
    plain = dataclasses.replace(small_config, experiment_dir=tmp_path, latent_noise=0.0, max_updates=1)
    whole = start(plain).folder
    parts = start(dataclasses.replace(plain, splits=2, experiment_name="parts")).folder
    first, second = MultifaceAvatar.from_run(whole), MultifaceAvatar.from_run(parts)
    for key, value in first.avatar.state_dict().items():
        assert torch.allclose(value, second.avatar.state_dict()[key], atol=3e-4), key


def test_V1_warp_writes_its_grid_among_the_pictures(small_config, tmp_path):
    config = dataclasses.replace(
        small_config, experiment_dir=tmp_path, architecture="warp", max_updates=1, visuals_every=1
    )
    assert list(start(config).images("train").glob("*warp_grid*"))


@pytest.mark.slow
def test_P1_torchrun_with_two_processes_equals_one(small_config, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [
        "-m", "likeness.cli.main", "train", "multiface", "--preset", "tiny", "--data-dir", str(small_config.data_dir),
        "--experiment-dir", str(tmp_path), "--test-segments", "E061", "--max-updates", "2", "--latent", "16",
        "--resolution", "48", "36", "--latent-noise", "0", "--experiment-name",
    ]  # fmt: skip
    two = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", *words, "two"]
    for command in (two, [sys.executable, *words, "one"]):
        subprocess.run(command, check=True, env=environment, timeout=180)
    assert Run.open(tmp_path / "runs" / "two").checkpoints.whole()
    first, second = (MultifaceAvatar.from_run(tmp_path / "runs" / name).avatar.state_dict() for name in ("one", "two"))
    for key, value in first.items():
        assert float((value - second[key]).norm()) <= 2e-2 * float(value.norm()) + 1e-5, key


@pytest.mark.gpu
def test_P1_a_gpu_step(small_config, tmp_path):
    start(
        dataclasses.replace(small_config, experiment_dir=tmp_path, accelerator="cuda", max_updates=2, lambda_screen=1.0)
    )


@pytest.mark.parametrize("protocol", ["plain", "colour", "original"])
def test_evaluation_protocols(protocol, small_run, capsys):
    figures = evaluate(EvaluateConfig(run=small_run, protocol=protocol, passes=2, rendered=protocol == "plain"))
    assert {"verts", "tex", "denorm_tex", "mesh_mm", "mean_face_mesh_mm"} <= set(figures)
    assert protocol in capsys.readouterr().out
    assert protocol in (small_run / "result.txt").read_text()
    assert ("psnr_covered" in figures) == (protocol == "plain")


def test_an_untrained_camera_takes_the_mean_colour_row(small_config, small_run, tmp_path):
    split = tmp_path / "split.json"
    mf.write_camera_split(split, {"train": ["400002", "400013"], "test": ["400041"], "visual": []})
    config = dataclasses.replace(small_config, experiment_dir=tmp_path, camera_split=split, max_updates=1)
    stage = AvatarStage(config)
    assert stage.colour.cameras == 2
    assert stage.batches("valid", 0, 1)[0].row.tolist() == [-1] * 2
    start(config)


def test_the_fused_optimiser_steps_as_the_plain_one(small_config):
    # It reads parameter, gradient and moments as they lie in memory: all must have one layout.
    stages = [AvatarStage(small_config) for _ in range(2)]
    stages[1].avatar.load_state_dict(stages[0].avatar.state_dict())
    batch = stages[0].batches("valid", 0, 1)[0]
    for stage, kind in zip(stages, (Adam, torch.optim.Adam)):
        optimiser = kind(stage.avatar.parameters(), lr=1e-3)
        for _ in range(3):
            prediction = predict(stage.avatar, stage.colour, batch.average, batch.verts, batch.view, batch.row, None)
            objective = stage.objective(torch.device("cpu"))
            objective.total(objective.terms(prediction, batch)).backward()
            for value in stage.avatar.parameters():
                assert value.grad.stride() == value.stride()
            optimiser.step()
            optimiser.zero_grad()
    for one, other in zip(stages[0].avatar.parameters(), stages[1].avatar.parameters()):
        assert float((one - other).detach().norm()) <= 1e-3 * float(other.detach().norm()) + 1e-6


def test_figures_of_new_cameras_are_apart(small_capture, small_config, tmp_path):
    split = tmp_path / "split.json"
    mf.write_camera_split(split, {"train": ["400002", "400013"], "test": ["400013", "400041"], "visual": []})
    config = dataclasses.replace(small_config, experiment_dir=tmp_path, camera_split=split, max_updates=1)
    figures = evaluate(EvaluateConfig(run=start(config).folder, rendered=True, lpips=False))
    for name in ("texture_grey", "mesh_factor", "texture_factor", "psnr_covered"):
        trained, new = figures[f"{name} (trained cameras)"], figures[f"{name} (new cameras)"]
        assert min(trained, new) - 1e-9 <= figures[name] <= max(trained, new) + 1e-9
    assert figures["texture_grey (trained cameras)"] != figures["texture_grey (new cameras)"]


def test_training_prints_what_it_leaves_out_and_the_published_form(small_config, tmp_path, capsys):
    root = tmp_path / small_config.data_dir.name
    shutil.copytree(small_config.data_dir, root)
    entity = mf.open_entity(root)
    mf.write_frame_list(entity.frame_list, [*mf.read_frame_list(entity.frame_list), ("E001_Neutral", "009999")])
    entity.texture("SEN_one", mf.AVERAGE, "000103").unlink()
    (root / "images" / "SEN_one" / "400077").mkdir()
    run = start(dataclasses.replace(small_config, data_dir=root, experiment_dir=tmp_path, max_updates=2))
    printed = capsys.readouterr().out
    assert "#train samples 18\n#test samples 6" in printed
    assert "1 listed frames were never exported and are left out: E001_Neutral/009999" in printed
    assert "1 frames have views but no mean texture (average/) and are left out: SEN_one/000103" in printed
    assert "cameras 400077 have pictures but no record in KRT" in printed
    assert "training (screen / mesh / tex) nan / " in printed
    assert "mean of the last 2 batches" in printed
    assert (run.folder / "result.txt").read_text().startswith("training (screen / mesh / tex)")


def test_a_topology_that_changes_is_named(small_config, tmp_path):
    root = tmp_path / small_config.data_dir.name
    shutil.copytree(small_config.data_dir, root)
    obj = mf.open_entity(root).topology("SEN_one", "000100")
    lines = obj.read_text().splitlines()
    obj.write_text("\n".join([line.replace("vt ", "vt  ") for line in lines]) + "\n")
    AvatarStage(dataclasses.replace(small_config, data_dir=root))
    obj.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(UserError, match="has another topology than") as caught:
        AvatarStage(dataclasses.replace(small_config, data_dir=root))
    assert "SEN_one" in str(caught.value)


def test_lpips_of_drawn_views_by_the_file_of_its_backbone(small_run, tmp_path):
    if importlib.util.find_spec("lpips") is None:
        pytest.skip("the package lpips is not installed")
    torch.manual_seed(0)
    network = torch.nn.Sequential(*lpips_measures._vgg16()[0])
    torch.save({f"features.{key}": value for key, value in network.state_dict().items()}, tmp_path / "vgg16.pth")
    config = EvaluateConfig(run=small_run, rendered=True, lpips_backbone=tmp_path / "vgg16.pth")
    assert evaluate(config)["lpips_frame"] > 0


def test_a_checkpoint_with_other_cameras_is_refused(small_config):
    stage = AvatarStage(small_config)
    state = stage.state_dict()
    with pytest.raises(UserError, match="colour rows belong to the cameras"):
        stage.load_state_dict({**state, "cameras": ["400013", "400002", "400041"]})


def test_a_split_that_names_an_unknown_camera(small_config, tmp_path):
    split = tmp_path / "split.json"
    mf.write_camera_split(split, {"train": ["400099"], "test": ["400002"], "visual": []})
    with pytest.raises(UserError, match="no record of the cameras 400099"):
        AvatarStage(dataclasses.replace(small_config, camera_split=split))


def test_no_held_out_frame_is_explained(small_config):
    with pytest.raises(UserError, match="no valid sample"):
        AvatarStage(dataclasses.replace(small_config, test_segments=("E999",)))


def test_textures_of_another_size_are_named(small_config, tmp_path):
    root = tmp_path / small_config.data_dir.name
    shutil.copytree(small_config.data_dir, root)
    entity = mf.open_entity(root)
    mf.write_picture(entity.texture("E001_Neutral", "400002", "000100"), np.ones((16, 16, 3), np.uint8))
    stage = AvatarStage(dataclasses.replace(small_config, data_dir=root))
    views = stage.capture.views(stage.train_samples, photos=False)
    with pytest.raises(UserError, match="is 16 x 16, expected 32 x 32"):
        views.batch([0])


def test_loss_weight_file(tmp_path, data_dir):
    weight = loss_weight(data_dir / "multiface" / "loss_weight_mask.png", 1024)
    assert weight.shape == (3, 1024, 1024)
    assert float(weight.max()) == 1.0
    assert float(weight.min()) == pytest.approx(16 / 254)
