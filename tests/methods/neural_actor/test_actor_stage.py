"""The renderer's stage: schedules, views, inputs, and learning on a synthetic actor."""

import dataclasses

import numpy as np
import pytest
import torch

from likeness.capture.neural_actor import NeuralActorCapture, capture_neural_actor
from likeness.engine import train
from likeness.errors import UserError
from likeness.media.image import read_image
from likeness.methods.neural_actor.config import PRESETS, RendererConfig, parse_views
from likeness.methods.neural_actor.data import ActorFolder, TrainingFrames, over_background, read_rgba
from likeness.methods.neural_actor.encodings import parse_inputs
from likeness.methods.neural_actor.losses import alpha_loss, learning_rate_factor
from likeness.methods.neural_actor.method import RendererStage
from likeness.methods.neural_actor.networks.actor import DENSITY_INPUTS, TEXTURE_INPUTS
from likeness.methods.neural_actor.renderer import Rendered


def test_NA12_schedule_starts_at_zero_and_decays():
    config = PRESETS["paper"]
    factors = [learning_rate_factor(n, config.warmup_updates, config.decay_steps) for n in (0, 1, 250_000, 300_000)]
    assert factors[0] == 0.0 and factors[1] == pytest.approx(1.0, abs=1e-4) and factors[2] == pytest.approx(0.1)
    assert config.lr * factors[3] == pytest.approx(1.26e-5, rel=2e-3)


@pytest.mark.parametrize(
    ("text", "views"),
    [("0..11", list(range(11))), ("0,3,7,10", [0, 3, 7, 10]), ("0..6:2,9", [0, 2, 4, 9])],
)
def test_views_of_a_string(text, views):
    assert parse_views(text, "train_views") == views


def test_views_that_cannot_be_read():
    with pytest.raises(UserError, match="train_views: cannot read 'a'"):
        RendererConfig(train_views="0,a")


def test_NA7_input_strings():
    specs = parse_inputs("feat:0:256,attnout:0:256,texture:0:512,ray:4:3:b", TEXTURE_INPUTS)
    assert sum(spec.width for spec in specs) == 1051
    assert parse_inputs("pos:6:3", DENSITY_INPUTS)[0].width == 39
    assert parse_inputs("ray:4", TEXTURE_INPUTS)[0].kind == "a"
    for text, words in (
        ("shape:3", "no input 'shape'"),
        ("pos:x", "whole numbers"),
        ("pos:6:3,pos:2", "named twice"),
        ("pos:6:3:c", "no encoding 'c'"),
        ("", "names no input"),
    ):
        with pytest.raises(UserError, match=words):
            parse_inputs(text, DENSITY_INPUTS)


def test_alpha_loss_is_least_where_rays_see_all_or_nothing():
    assert float(alpha_loss(torch.tensor([0.0, 1.0]))) == 0.0
    assert float(alpha_loss(torch.tensor([0.5]))) == pytest.approx(float(torch.log1p(torch.tensor(0.25 / 0.11))))


def test_pictures_are_laid_over_the_background():
    picture = np.zeros((2, 2, 4), np.float32)
    picture[0, 0] = (0.5, 0.25, 0, 1)
    picture[0, 1] = (1, 1, 1, 1)
    colors, alpha = over_background(picture, (2, 2), np.ones(3, np.float32))
    assert np.allclose(colors[0], (0, -0.5, -1)) and np.allclose(colors[1:], 1)
    assert alpha.tolist() == [1, 0, 0, 0]


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    out = tmp_path_factory.mktemp("studio")
    capture_neural_actor(NeuralActorCapture(out=out, preset="tiny", frames=2, test_frames=1, cameras=4, size=64))
    return out / "training"


def tiny(studio, where, **options):
    config = dataclasses.replace(
        PRESETS["tiny"], data=studio, experiment_dir=where, accelerator="cpu", view_resolution=(64, 64), **options
    )
    return config


def test_frames_and_views_depend_on_seed_epoch_and_position_alone(studio):
    folder = ActorFolder(studio, (16, 16), (1.0, 1.0, 1.0))
    frames = TrainingFrames(folder, [0, 1], [0, 1, 2], steps=12, views_per_batch=1, seed=3)
    seen = [(int(batch.frame[0]), int(batch.view[0])) for batch in (frames[i] for i in range(12))]
    frames.set_epoch(2)
    frames.set_epoch(1)
    assert [(int(frames[i].frame[0]), int(frames[i].view[0])) for i in range(12)] == seen
    for start in range(0, 12, 3):  # a bag without replacement
        assert {view for _, view in seen[start : start + 3]} == {0, 1, 2}
    for start in range(0, 12, 2):
        assert {frame for frame, _ in seen[start : start + 2]} == {0, 1}


class Recorded:
    """Stands in for the engine's context: keeps the losses."""

    device = torch.device("cpu")

    def __init__(self):
        self.terms = {}

    def generator(self, name):
        return torch.Generator().manual_seed(len(name))

    def log(self, name, value):
        pass

    def update(self, name, terms):
        self.terms = terms


@pytest.mark.parametrize(("random", "least", "most"), [(False, 0.0, 1e-6), (True, 3.5, 4.5)])
def test_proof_white_fog_around_the_actor_costs_over_random_backgrounds_alone(
    studio, tmp_path, monkeypatch, random, least, most
):
    stage = RendererStage(tiny(studio, tmp_path, random_background=random))
    batch = stage.folder.batch(0, [1])
    empty = dataclasses.replace(batch, target=torch.ones_like(batch.target), alpha=torch.zeros_like(batch.alpha))

    def fog(body, texture_map, origin, directions, bounds, generator=None):
        count = len(directions)
        return Rendered(torch.ones(count, 3), torch.full((count,), 3.0), torch.zeros(count), None, None)

    monkeypatch.setattr(stage, "render_pixels", fog)
    ctx = Recorded()
    stage.step(empty, ctx)
    assert least <= float(ctx.terms["color"]) <= most


def test_proof_the_studios_pictures_carry_alpha_and_are_the_same_over_white(studio):
    frame = ActorFolder(studio, (64, 64), (1.0, 1.0, 1.0)).frames[0]
    rgba = read_rgba(frame.pictures[0])
    assert 0 < rgba[..., 3].mean() < 0.5 and ((rgba[..., 3] > 0.2) & (rgba[..., 3] < 0.8)).any()
    over, _ = over_background(rgba, (64, 64), np.ones(3, np.float32))
    plain = read_image(frame.pictures[0]).permute(1, 2, 0).reshape(-1, 3).numpy()
    assert np.abs((over + 1) / 2 - plain).max() < 0.01


def test_views_that_are_not_there_are_named(studio):
    folder = ActorFolder(studio, (16, 16), (1.0, 1.0, 1.0))
    with pytest.raises(UserError, match="view 9 is asked for"):
        folder.require([0], [0, 9])


@pytest.mark.slow
def test_NA21_overfits_two_frames_of_a_synthetic_actor(studio, tmp_path):
    config = tiny(studio, tmp_path, epochs=1, virtual_epoch_steps=150, valid_views="0", subsample_valid=1)
    run = train(RendererStage, config, method="neural_actor", stage="renderer", argv=[])
    stage = RendererStage(config)
    run.load("renderer", stage.renderer)
    stage.renderer.eval()
    gains = []
    with torch.no_grad():
        for frame in (0, 1):
            ours, truth = stage.picture(stage.folder.batch(frame, [0]))
            error = (ours - truth).square().mean()
            gains.append(10 * torch.log10((1 - truth).square().mean() / error))
    assert min(gains) >= 8.0, gains


def test_NA13_checkpoints_kept_and_resume_on_the_same_bits(studio, tmp_path):
    options = {"epochs": 1, "virtual_epoch_steps": 12, "save_every": 1, "save_unit": "update", "keep_last": 5}
    options |= {"validate_every": 0, "visuals_every": 0, "pixel_per_view": 32}
    whole = train(RendererStage, tiny(studio, tmp_path / "a", **options), method="m", stage="r", argv=[])
    assert len(whole.checkpoints.whole()) == 5
    half = tiny(studio, tmp_path / "b", **(options | {"max_updates": 7}))
    train(RendererStage, half, method="m", stage="r", argv=[])
    rest = train(RendererStage, tiny(studio, tmp_path / "b", **options), method="m", stage="r", argv=[])
    first, second = (
        torch.load(run.checkpoints.path(run.checkpoints.find(), "renderer"), weights_only=True) for run in (whole, rest)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
