"""Training of the texture predictor: clips, the average, the order of updates."""

import copy
import dataclasses

import cv2
import numpy as np
import pytest
import torch

from likeness.engine import train
from likeness.errors import UserError
from likeness.media.image import read_image
from likeness.media.video import count_frames
from likeness.methods.neural_actor.export_original import export_original
from likeness.methods.neural_actor.vid2vid.clips import Clips, clip_length, crop_picture, mean_picture, read_pairs
from likeness.methods.neural_actor.vid2vid.config import TextureConfig
from likeness.methods.neural_actor.vid2vid.discriminator import DiscriminatorConfig
from likeness.methods.neural_actor.vid2vid.generator import GeneratorConfig
from likeness.methods.neural_actor.vid2vid.infer import (
    InferConfig,
    infer,
    label_and_image_files,
    load_generator,
    predict_sequence,
)
from likeness.methods.neural_actor.vid2vid.method import TextureStage, predict, refresh_average

GENERATOR = GeneratorConfig(size=256, filters=2, max_filters=4, latent=4, flow_filters=2, flow_blocks=1)
JUDGES = DiscriminatorConfig(image_filters=2, image_layers=2, temporal_filters=2, temporal_layers=1, max_filters=4)


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    for name in ("normal", "tex"):
        (folder / name).mkdir()
        for frame in range(5):
            values = np.full((64, 64, 3), 20 * frame, np.uint8)
            cv2.imwrite(str(folder / name / f"{frame:06d}.png"), values)
    return folder


def config(maps, where, **options):
    sizes = {"generator": GENERATOR, "discriminator": JUDGES}
    return TextureConfig(data=maps, experiment_dir=where, accelerator="cpu", **{**sizes, **options})


def test_NA20_clips_grow_and_depend_on_seed_epoch_and_position_alone(maps):
    assert [clip_length(epoch, 4, 16) for epoch in (1, 2, 3, 4, 80)] == [4, 8, 16, 16, 16]
    clips = Clips(read_pairs(maps), 32, batch_size=2, first=1, largest=4, largest_scale=1.2, seed=3)
    lengths = []
    for epoch in (1, 2, 3, 4):
        clips.set_epoch(epoch)
        batch = clips[1]
        assert batch.labels.shape == batch.images.shape == (2, batch.labels.shape[1], 3, 32, 32)
        lengths.append(batch.labels.shape[1])
        levels = ((batch.labels[:, :, 0, 0, 0] + 1) * 127.5).round()
        assert (levels.diff(dim=1) == 20).all()
    assert lengths == [1, 2, 4, 4] and len(clips) == 2
    again = Clips(read_pairs(maps), 32, batch_size=2, first=1, largest=4, largest_scale=1.2, seed=3)
    again.set_epoch(4)
    assert torch.equal(again[1].labels, batch.labels)


def test_NA20_folders_without_pairs_are_named(tmp_path):
    with pytest.raises(UserError, match="neither normal/ and tex/"):
        read_pairs(tmp_path)


def test_NA20_average_copies_first_and_then_moves_with_the_norm_folded_in(maps, tmp_path):
    networks = TextureStage(config(maps, tmp_path)).networks
    generator, average = networks["generator"], networks["average"]
    refresh_average(generator, average, 0.0)
    name = "res_0.conv_block_0.layers.conv"
    weight = generator.get_submodule(name).weight.detach().clone()
    torch.testing.assert_close(average.get_submodule(name).weight, weight)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.zero_()
    refresh_average(generator, average, 0.9)
    torch.testing.assert_close(average.get_submodule(name).weight, 0.1 * weight)


WRONG = [
    {"splits": 2},
    {"clip_first": 0},
    {"clip_first": 8, "clip_largest": 4},
    {"largest_scale": 0.9},
    {"generator": dataclasses.replace(GENERATOR, frames=1)},
    {"largest_scale": 1.2, "generator": dataclasses.replace(GENERATOR, mean_picture=True)},
]


@pytest.mark.parametrize("options", WRONG)
def test_NA20_settings_that_cannot_work(maps, tmp_path, options):
    with pytest.raises(UserError):
        config(maps, tmp_path, **options)


def test_NA20_texels_keep_their_places_without_enlargement(maps):
    clips = Clips(read_pairs(maps), 64, batch_size=1, first=2, largest=2, largest_scale=1.0, seed=3)
    path = read_pairs(maps)[0][0]
    assert torch.equal(crop_picture(read_image(path), 64, 64, np.ones(2)), read_image(path) * 2 - 1)
    assert clips[0].images.shape == (1, 2, 3, 64, 64)


def test_NA20_a_small_predictor_starts_at_the_mean_picture_and_learns_from_there(maps, tmp_path):
    small = dataclasses.replace(GENERATOR, mean_picture=True)
    options = {"generator": small, "largest_scale": 1.0, "spectral_norm": False, "initial_gain": 1.2}
    settings = config(
        maps, tmp_path, pixel_weight=10.0, epochs=1, max_updates=1, clip_first=1, visuals_every=0, **options
    )
    mean = mean_picture(read_pairs(maps), 256)
    assert float(mean[0, 0, 0]) == pytest.approx(2 * 40 / 255 - 1, abs=1e-6)
    run = train(TextureStage, settings, method="neural_actor", stage="texture", argv=[])
    generator = load_generator(run.folder)
    label = torch.rand(1, 3, 256, 256)
    made = generator(label).image[0]
    assert 0 < (made - mean).abs().max() < 0.1  # the last convolution starts small
    assert not [name for name in generator.state_dict() if name.endswith("weight_orig")]
    stage, ctx = TextureStage(settings), Recorded()
    stage.step(stage.batches("train", 0, 1)[0], ctx)
    assert "pixel" in ctx.calls[1][1] and stage.updates()["generator"].weights["pixel"] == 10.0
    with pytest.raises(UserError, match="original cannot read"):
        export_original(run.folder, tmp_path / "out")


def test_NA20_without_history_each_map_is_made_by_itself(maps, tmp_path):
    alone = dataclasses.replace(GENERATOR, frames=1)
    options = {"generator": alone, "clip_first": 1, "clip_largest": 1, "gan_weight": 0.0, "feature_weight": 0.0}
    settings = config(maps, tmp_path, pixel_weight=1.0, **options)
    stage, ctx = TextureStage(settings), Recorded()
    stage.step(stage.batches("train", 0, 1)[0], ctx)
    assert ctx.calls == [("generator", {"pixel"})]  # nobody asks the discriminators
    generator = stage.networks["average"]
    assert not [name for name, _ in generator.named_modules() if name.startswith(("flow", "down", "img_prev", "res"))]
    labels = [torch.rand(3, 256, 256) for _ in range(2)]
    pictures = list(predict_sequence(generator, labels))
    torch.testing.assert_close(pictures[1], next(iter(predict_sequence(generator, labels[1:]))))


class Recorded:
    """Stands in for the engine's context: notes the order of updates."""

    update_count = 0

    def __init__(self):
        self.calls = []

    def update(self, name, terms):
        self.calls.append((name, set(terms)))


def test_NA20_each_frame_updates_the_discriminators_and_then_the_generator(maps, tmp_path):
    stage = TextureStage(config(maps, tmp_path))
    ctx = Recorded()
    stage.step(stage.batches("train", 0, 1)[0], ctx)
    assert [name for name, _ in ctx.calls] == ["discriminator", "generator"] * 4
    judged = [terms for name, terms in ctx.calls if name == "discriminator"]
    assert judged == [{"hinge_image"}] * 2 + [{"hinge_image", "hinge_temporal0"}] * 2
    image, moved = {"gan_image", "features_image"}, {"flow", "warp", "mask", "gan_temporal0", "features_temporal0"}
    assert [terms for name, terms in ctx.calls if name == "generator"] == [image] * 2 + [image | moved] * 2


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_NA20_trains_on_the_engine(maps, tmp_path, precision):
    settings = config(
        maps, tmp_path, precision=precision, epochs=1, max_updates=2, clip_first=3, average_from=1, visuals_every=1
    )
    before = copy.deepcopy(TextureStage(settings).networks)
    run = train(TextureStage, settings, method="neural_actor", stage="texture", argv=[])
    after = TextureStage(settings).networks
    for name, network in after.items():
        run.load(name, network)
        assert all(value.isfinite().all() for value in network.state_dict().values())
        assert any(not torch.equal(a, b) for a, b in zip(network.parameters(), before[name].parameters()))


def test_NA20_resumes_on_the_same_bits(maps, tmp_path):
    options = {"clip_first": 2, "epochs": 1, "save_every": 1, "save_unit": "update", "visuals_every": 0}
    whole = config(maps, tmp_path / "a", max_updates=3, **options)
    runs = [train(TextureStage, whole, method="m", stage="t", argv=[])]
    for updates in (2, 3):
        part = config(maps, tmp_path / "b", max_updates=updates, **options)
        rest = train(TextureStage, part, method="m", stage="t", argv=[])
    runs.append(rest)
    for name in ("generator", "discriminator", "average"):
        first, second = (
            torch.load(run.checkpoints.path(run.checkpoints.find(), name), weights_only=True) for run in runs
        )
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_NA20_inference_writes_pictures_and_a_video_and_compares(maps, tmp_path):
    settings = config(maps, tmp_path, epochs=1, max_updates=1, clip_first=2, visuals_every=0, validate_every=0)
    run = train(TextureStage, settings, method="neural_actor", stage="texture", argv=[])
    linked = tmp_path / "linked"
    linked.mkdir()
    for link, folder in (("images", "tex"), ("seg_maps", "normal")):
        (linked / link).symlink_to(maps / folder)
    for data in (maps, linked):
        scores = infer(InferConfig(run=run.folder, data=data, out=tmp_path / "out"))
        assert scores.keys() == {"psnr"}
        assert [path.name for path in sorted((tmp_path / "out").glob("*.png"))] == [f"{k:06d}.png" for k in range(5)]
        assert count_frames(tmp_path / "out" / "textures.mp4") == 5
    pictures = [read_image(path) for path in sorted((tmp_path / "out").glob("*.png"))]
    generator = load_generator(run.folder)
    labels = torch.stack([crop_picture(read_image(path), 256, 256, np.zeros(2)) for path in read_labels(maps)])[None]
    fakes = []
    with torch.no_grad():
        for _ in range(5):  # the whole history, as in training
            fakes.append(predict(generator, labels, fakes).image)
    for fake, picture in zip(fakes, pictures):
        torch.testing.assert_close((fake[0] + 1) / 2, picture, atol=0.6 / 255, rtol=0)


def read_labels(folder):
    return [label for label, _ in read_pairs(folder)]


def test_NA20_inference_names_what_is_wrong(maps, tmp_path):
    with pytest.raises(UserError, match="is not a run"):
        load_generator(tmp_path)
    with pytest.raises(UserError, match="holds no normal maps"):
        label_and_image_files(tmp_path)
