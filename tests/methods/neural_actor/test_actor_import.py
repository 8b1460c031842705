"""Published files of both kinds become runs that training goes on from."""

import argparse
import dataclasses

import cv2
import numpy as np
import pytest
import torch

from likeness.cli.main import run as command
from likeness.engine import Run, train
from likeness.errors import UserError
from likeness.formats.actor import read_body
from likeness.methods.neural_actor.config import PRESETS, RendererConfig
from likeness.methods.neural_actor.method import RendererStage
from likeness.methods.neural_actor.vid2vid.blocks import add_spectral_norm
from likeness.methods.neural_actor.vid2vid.config import TextureConfig
from likeness.methods.neural_actor.vid2vid.discriminator import DiscriminatorConfig, TextureDiscriminator
from likeness.methods.neural_actor.vid2vid.generator import GeneratorConfig, TextureGenerator
from likeness.methods.neural_actor.vid2vid.method import TextureStage


def published_renderer(data, path):
    """A file in the published layout, with small networks on the body in `data`; returns the network."""
    config = dataclasses.replace(PRESETS["tiny"], data=data, view_resolution=(64, 64))
    network = RendererStage(config).renderer
    flags = argparse.Namespace(
        **{name: getattr(config.network, name) for name in ("inputs_to_texture", "texture_encoder_layers")},
        use_local_coordinate=True,
        texture_to_deformation=True,
        background_stop_gradient=True,
        fixed_num_samples=15,
        min_dis_eps=0.07,
        train_views="0..3",
        valid_views="3",
        view_resolution="64x64",
        new_tpose="/home/author/transform_tpose.json",
    )
    history = [{"num_updates": 5003, "optimizer_name": "FairseqAdam"}]
    torch.save({"args": flags, "model": network.state_dict(), "optimizer_history": history, "extra_state": {}}, path)
    return network


def test_NA25_imported_renderer_is_a_run_that_training_resumes(actor_studio, tmp_path, capsys):
    data = actor_studio / "training"
    network = published_renderer(data, tmp_path / "nerf_x.pt")
    out = tmp_path / "runs" / "x"
    command(["import", "neural_actor", str(tmp_path / "nerf_x.pt"), "--out", str(out), "--data", str(data)])
    assert "after 5003 updates" in capsys.readouterr().out
    config = Run.open(out).config(RendererConfig)
    assert (config.render.fixed_num_samples, config.render.min_dis_eps) == (15, 0.07)
    assert (config.train_views, config.view_resolution, config.new_tpose) == ("0..3", (64, 64), True)
    stage = RendererStage(config)
    Run.open(out).load("renderer", stage.renderer)
    for key, value in stage.renderer.state_dict().items():
        assert torch.equal(value, network.state_dict()[key]), key
    torch.testing.assert_close(stage.renderer.encoder.canonical_bones, network.encoder.canonical_bones)
    config = dataclasses.replace(
        config, accelerator="cpu", max_updates=5004, epochs=2, pixel_per_view=32, validate_every=0, visuals_every=0
    )
    run = train(RendererStage, config, method="neural_actor", stage="renderer", argv=[])
    assert run.folder == out and str(run.checkpoints.find()) == "2-5004"
    with pytest.raises(UserError, match="exists already"):
        command(["import", "neural_actor", str(tmp_path / "nerf_x.pt"), "--out", str(out)])


def test_NA25_imported_renderer_brings_its_body(actor_studio, tmp_path, capsys):
    data = actor_studio / "training"
    published_renderer(data, tmp_path / "nerf_x.pt")
    out = tmp_path / "imported"
    command(["import", "neural_actor", str(tmp_path / "nerf_x.pt"), "--out", str(out)])
    assert "pictures will be wrong" in capsys.readouterr().out.replace("\n", " ")
    ours, theirs = read_body(out / "body"), read_body(data)
    for name in ("vertices", "faces", "face_uv", "weights"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("whole", [True, False])
def test_NA25_imported_texture_predictor_is_a_run_that_training_resumes(tmp_path, whole):
    sizes = GeneratorConfig(size=256, filters=2, max_filters=4, latent=4, flow_filters=2, flow_blocks=1)
    judges = DiscriminatorConfig(image_filters=2, image_layers=2, temporal=1, temporal_filters=2, temporal_layers=1)
    average, discriminator = TextureGenerator(sizes), TextureDiscriminator(judges)
    state = {f"module.averaged_model.{key}": value.clone() for key, value in average.state_dict().items()}
    content = {"net_G": state, "net_D": {}, "current_epoch": 4, "current_iteration": 90}
    if whole:
        trained = add_spectral_norm(TextureGenerator(sizes))
        add_spectral_norm(discriminator)
        state |= {f"module.module.{key}": value for key, value in trained.state_dict().items()}
        content["net_D"] = {f"module.{key}": value for key, value in discriminator.state_dict().items()}
    torch.save(content, tmp_path / "vid2vid_x.pt")
    for name in ("normal", "tex"):
        (tmp_path / name).mkdir()
        for frame in range(2):
            cv2.imwrite(str(tmp_path / name / f"{frame}.png"), np.full((256, 256, 3), 90 * frame, np.uint8))
    out = tmp_path / "runs" / "t"
    words = ["import", "neural_actor", str(tmp_path / "vid2vid_x.pt"), "--out", str(out), "--data", str(tmp_path)]
    command(words)
    config = Run.open(out).config(TextureConfig)
    assert config.generator == sizes and config.discriminator == (judges if whole else DiscriminatorConfig())
    config = dataclasses.replace(
        config, accelerator="cpu", batch_size=1, max_updates=91, clip_largest=4, precision="32"
    )
    if not whole:
        return
    run = train(TextureStage, config, method="neural_actor", stage="texture", argv=[])
    assert str(run.checkpoints.find()) == "5-91"
