"""What a training of the renderer writes: JSON, TensorBoard, checkpoints under the original's names."""

import dataclasses
import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from likeness.cli.main import run as command
from likeness.engine import Run, train
from likeness.engine.logs import read_log
from likeness.errors import UserError
from likeness.methods.neural_actor.config import PRESETS, RendererConfig
from likeness.methods.neural_actor.method import RendererStage
from likeness.methods.neural_actor.published import load_renderer, load_texture_predictor
from likeness.methods.neural_actor.vid2vid.config import TextureConfig
from likeness.methods.neural_actor.vid2vid.discriminator import DiscriminatorConfig
from likeness.methods.neural_actor.vid2vid.generator import GeneratorConfig
from likeness.methods.neural_actor.vid2vid.method import TextureStage


@pytest.fixture(scope="module")
def run(actor_studio, tmp_path_factory):
    """Twelve updates in virtual epochs of six, a checkpoint after each, five kept; validated after each fourth."""
    config = dataclasses.replace(
        PRESETS["tiny"],
        data=actor_studio / "training",
        experiment_dir=tmp_path_factory.mktemp("run"),
        accelerator="cpu",
        view_resolution=(32, 32),
        valid_view_resolution=(24, 24),
        epochs=2,
        virtual_epoch_steps=6,
        pixel_per_view=16,
        save_every=1,
        save_unit="update",
        keep_last=5,
        validate_every=4,
        validate_unit="update",
        visuals_every=4,
        log_every=2,
        subsample_valid=3,
    )
    return train(RendererStage, config, method="neural_actor", stage="renderer", argv=[])


def test_NA14_json_lines(run):
    lines = read_log(run.folder / "log.jsonl")
    steps = [line for line in lines if line["kind"] == "step"]
    assert [line["update"] for line in steps] == [2, 4, 6, 8, 10, 12] and [line["epoch"] for line in steps] == [
        1
    ] * 3 + [2] * 3
    for line in steps:
        assert {"loss", "color", "gradient_norm/renderer", "pace", "wall"} <= line.keys()
        assert line["loss"] == pytest.approx(line["color"]) and line["gradient_norm/renderer"] > 0
        assert 0 < line["lr"]["renderer"] <= 1e-3
    valid = [line for line in lines if line["kind"] == "valid"]
    assert [line["update"] for line in valid] == [4, 8, 12] and {"loss", "psnr", "ssim"} <= valid[0].keys()
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [1, 2]


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0})
    accumulator.Reload()
    return accumulator


def test_NA14_tensorboard_scalars_and_images(run):
    steps = events(run.folder / "metrics")
    tags = set(steps.Tags()["scalars"])
    assert {
        "losses/loss",
        "losses/color",
        "losses/gradient_norm/renderer",
        "lrs/renderer",
        "timing/steps_per_second",
    } <= tags
    assert {"metrics/loss", "metrics/psnr", "metrics/ssim"} <= tags
    assert [event.step for event in steps.Scalars("losses/loss")] == [2, 4, 6, 8, 10, 12]
    pictures = events(run.folder / "tensorboard_paper")
    images = pictures.Tags()["images"]
    shown = ("rendered_and_true", "depth", "normal", "voxel")
    assert {f"results_{phase}/{name}" for phase in ("train", "test") for name in shown} <= set(images)
    assert len(pictures.Images("results_test/rendered_and_true")) == 3


def test_NA13_NA14_the_originals_names(run, tmp_path, capsys):
    assert len(run.checkpoints.whole()) <= 6  # five, and the best where it is older
    command(["export", "neural_actor", "--layout", "original", "--run", str(run.folder), "--out", str(tmp_path)])
    names = {path.name for path in tmp_path.glob("*.pt")}
    kept = {f"checkpoint_2_{update}.pt" for update in (9, 10, 11, 12)}
    assert kept <= names and {"checkpoint_last.pt", "checkpoint_best.pt", "checkpoint2.pt"} <= names
    lines = [json.loads(line) for line in (tmp_path / "train.log").read_text().splitlines()]
    first = lines[0]
    assert (first["epoch"], first["update"], first["num_updates"]) == (1, 0.333, "2")
    assert all(
        isinstance(first[name], str) and float(first[name]) >= 0
        for name in ("loss", "color", "lr", "gnorm", "ups", "wall")
    )
    assert any("valid_psnr" in line for line in lines)
    assert [event.step for event in events(tmp_path / "tensorboard" / "train_inner").Scalars("loss")] == [
        2,
        4,
        6,
        8,
        10,
        12,
    ]
    assert events(tmp_path / "tensorboard" / "valid").Scalars("psnr") and events(
        tmp_path / "tensorboard" / "train"
    ).Scalars("loss")
    assert events(tmp_path / "tensorboard" / "images").Tags()["images"]
    ours = torch.load(run.checkpoints.path(run.checkpoints.find(), "renderer"), weights_only=True)
    theirs = load_renderer(tmp_path / "checkpoint_last.pt").state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items() if not key.endswith("canonical_bones"))
    words = ["import", "neural_actor", str(tmp_path / "checkpoint_last.pt"), "--out", str(tmp_path / "back")]
    command(words)
    config, before = Run.open(tmp_path / "back").config(RendererConfig), run.config(RendererConfig)
    assert (config.network, config.render.fixed_num_samples) == (before.network, before.render.fixed_num_samples)
    assert (config.train_views, config.view_resolution) == (before.train_views, before.view_resolution)
    with pytest.raises(UserError, match="no finished checkpoint '77'"):
        command(
            [
                "export",
                "neural_actor",
                "--layout",
                "original",
                "--run",
                str(run.folder),
                "--out",
                str(tmp_path),
                "--which",
                "77",
            ]
        )


def test_NA13_texture_predictors_names(actor_studio, tmp_path):
    config = TextureConfig(
        data=actor_studio / "training",
        experiment_dir=tmp_path,
        accelerator="cpu",
        clip_first=2,
        clip_largest=2,
        max_updates=1,
        visuals_every=0,
        generator=GeneratorConfig(size=256, filters=2, max_filters=4, latent=4, flow_filters=2, flow_blocks=1),
        discriminator=DiscriminatorConfig(
            image_filters=2, image_layers=2, temporal=1, temporal_filters=2, temporal_layers=1
        ),
    )
    run = train(TextureStage, config, method="neural_actor", stage="texture", argv=[])
    command(["export", "neural_actor", "--layout", "original", "--run", str(run.folder), "--out", str(tmp_path / "o")])
    path = tmp_path / "o" / "epoch_00001_iteration_000000001_checkpoint.pt"
    assert (tmp_path / "o" / "latest_checkpoint.txt").read_text() == f"latest_checkpoint: {path.name}\n"
    read = load_texture_predictor(path)
    average = torch.load(run.checkpoints.path(run.checkpoints.find(), "average"), weights_only=True)
    assert all(torch.equal(value, average[key]) for key, value in read.generator.state_dict().items())
    assert read.discriminator.config == config.discriminator and (read.epoch, read.iteration) == (1, 1)
