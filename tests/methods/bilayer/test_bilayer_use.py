"""Inference in three ways, animation, streaming, evaluation and personal avatars; a stub stands for the detector."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch

from likeness.engine import train
from likeness.errors import UserError
from likeness.formats import heads
from likeness.media.image import write_image
from likeness.media.video import probe, read_frames, write_video
from likeness.methods.bilayer import animate as animate_module
from likeness.methods.bilayer import personalize as personalize_module
from likeness.methods.bilayer import prepare, stickman
from likeness.methods.bilayer.animate import AnimateConfig, animate, follow
from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.config import PRESETS
from likeness.methods.bilayer.evaluate import EvaluateConfig, evaluate
from likeness.methods.bilayer.export_weights import WeightsConfig, export_weights
from likeness.methods.bilayer.infer import InferConfig, infer
from likeness.methods.bilayer.method import BaseStage
from likeness.methods.bilayer.networks import BASE
from likeness.methods.bilayer.pairs import Videos
from likeness.methods.bilayer.personalize import PersonalizeConfig, personalize, training_settings
from likeness.methods.bilayer.prepare import Preparer
from likeness.methods.bilayer.published import SHIPPED
from likeness.methods.bilayer.stream import Streamer
from likeness.perception.protocols import Face


class StubFaces:
    """Takes pictures brighter than a tenth for faces, whose mouth opens with the brightness of a corner."""

    def detect(self, image, any_face=False):
        if image.mean() < 25:
            return []
        height, width = image.shape[:2]
        angle = np.linspace(0, 2 * np.pi, 68)
        radius = 0.25 + 0.05 * np.sin(3 * angle) * image[0, 0, 0] / 255
        points = np.stack([width * (0.5 + radius * np.cos(angle)), height * (0.55 + radius * np.sin(angle))], 1)
        return [Face(points.astype(np.float32), np.zeros(68, np.float32))]

    def follow(self, frames, face=None):
        for frame in frames:
            found = self.detect(frame)
            yield found[0] if found else None


@pytest.fixture
def stubbed(monkeypatch):
    monkeypatch.setattr(prepare, "MediaPipeFaces", StubFaces)
    monkeypatch.setattr(prepare, "MediaPipeSegmenter", lambda: lambda image: np.ones(image.shape[:2], np.float32))


@pytest.fixture
def run(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data")
    config = small_config(data_root=root, experiment_dir=tmp_path, experiment_name="mine", epochs=1)
    return train(BaseStage, config, method="bilayer", stage="base", argv=["test"]).folder


@pytest.fixture
def media(tmp_path):
    write_image(tmp_path / "photo.png", torch.full((3, 80, 90), 0.6), synthetic=False)
    write_image(tmp_path / "dark.png", torch.zeros(3, 80, 90), synthetic=False)
    frames = [np.full((80, 90, 3), 100 + 10 * i, np.uint8) for i in range(8)]
    frames[3] = np.zeros((80, 90, 3), np.uint8)
    write_video(tmp_path / "clip.mp4", frames, 25, synthetic=False)
    return tmp_path


def test_row_21_three_ways_of_inference(run, media, stubbed, tmp_path, capsys):
    common = {"experiment_name": "mine", "experiment_dir": tmp_path, "results": tmp_path / "results"}
    infer(InferConfig(**common, preprocess=True, from_video=True, video_path=media / "clip.mp4", target_frame_num=5))
    photo = media / "photo.png"
    infer(InferConfig(**common, preprocess=True, source_img_path=photo, target_img_path=photo))
    stored = {"dataset_root": tmp_path / "data", "source_relative_path": "train/id0/v0/c0/0"}
    infer(InferConfig(**common, preprocess=False, **stored, target_relative_path="train/id0/v0/c0/1"))
    for suffix in ("True_True", "True_False", "False_False"):
        assert (tmp_path / "results" / f"pred_target_0_{suffix}.jpg").is_file()
        for kind in ("imgs", "stickmen", "segs"):
            for who in ("source", "target"):
                assert (tmp_path / "results" / f"{who}_{kind}_0_{suffix}.png").is_file()
    infer(InferConfig(**common, preprocess=False, from_video=True, **stored, target_relative_path="train/id0/v0/c0/1"))
    assert "needs --preprocess True" in capsys.readouterr().out


def test_row_21_bad_input_is_told(run, media, stubbed, tmp_path):
    common = {"experiment_name": "mine", "experiment_dir": tmp_path, "results": tmp_path / "results"}
    video = media / "clip.mp4"
    with pytest.raises(UserError, match="found 8 frames"):
        infer(InferConfig(**common, from_video=True, video_path=video, target_frame_num=99))
    with pytest.raises(UserError, match="no face"):
        infer(InferConfig(**common, source_img_path=media / "dark.png", target_img_path=media / "photo.png"))
    with pytest.raises(UserError, match="--video-path"):
        infer(InferConfig(**common, from_video=True))
    with pytest.raises(UserError, match="--dataset-root"):
        infer(InferConfig(**common, preprocess=False))
    other = tmp_path / "runs" / "other"
    other.mkdir()
    (other / "config.yaml").write_text("method: gmpi\nstage: gmpi\nconfig: {}\n")
    with pytest.raises(UserError, match="run of gmpi"):
        Avatar.from_run(other)


@pytest.mark.parametrize("relative", [False, True])
def test_row_22_animate_by_a_video(run, media, stubbed, tmp_path, relative):
    config = AnimateConfig(
        run=run, source=(media / "photo.png", media / "photo.png"), driving=str(media / "clip.mp4"),
        out=tmp_path / "out.mp4", side_by_side=True, relative=relative,
    )  # fmt: skip
    animate(config)
    assert probe(tmp_path / "out.mp4").size == (32, 96)
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 8
    with pytest.raises(UserError, match="the video has 8"):
        animate(dataclasses.replace(config, frames=20, out=tmp_path / "no.mp4"))
    assert not (tmp_path / "no.mp4").exists()


def test_row_22_the_driving_videos_sound_is_kept(run, media, stubbed, data_dir, tmp_path):
    clip = data_dir / "videos" / "id00002" / "studio" / "00001.mp4"
    animate(
        AnimateConfig(run=run, source=(media / "photo.png",), driving=str(clip), out=tmp_path / "out.mp4", frames=5)
    )
    assert probe(clip).has_audio
    assert probe(tmp_path / "out.mp4").has_audio


def test_row_22_landmarks_are_steadied(media, stubbed):
    class Shaking(StubFaces):
        def detect(self, image, any_face=False):
            noise = np.random.default_rng(int(image[0, 0, 0])).normal(0, 1.5, (68, 2)).astype(np.float32)
            return [Face(face.landmarks + noise, face.depth) for face in super().detect(image)]

    preparer = Preparer(32, Shaking())
    jitter = []
    for smooth in (False, True):
        poses = [d.pose for d in follow(str(media / "clip.mp4"), preparer, smooth) if d.pose is not None]
        jitter.append(np.abs(np.diff(poses, axis=0)).mean())
    assert jitter[1] < 0.7 * jitter[0]


def test_row_22_a_webcam_drives_until_it_is_stopped(run, media, stubbed, tmp_path, monkeypatch):
    def camera(path, *unused):
        assert path == "webcam:0"
        yield from read_frames(media / "clip.mp4")
        raise KeyboardInterrupt

    monkeypatch.setattr(animate_module, "read_frames", camera)
    animate(AnimateConfig(run=run, source=(media / "photo.png",), driving="webcam:0", out=tmp_path / "cam.mp4"))
    assert len(list(read_frames(tmp_path / "cam.mp4"))) == 8


def test_animation_tells_its_bit_rate_and_runs_in_bfloat16(run, media, tmp_path, stubbed, capsys):
    config = AnimateConfig(
        run=run, source=(media / "photo.png",), driving=str(media / "clip.mp4"), out=tmp_path / "a.mp4",
        bitrate=True, precision="bfloat16",
    )  # fmt: skip
    animate(config)
    told = capsys.readouterr().out
    assert "as landmarks 276 bytes a frame" in told
    assert "as H.264 at the same size" in told


def test_row_22_streaming_counts_its_bytes(run, media, stubbed):
    streamer = Streamer(Avatar.from_run(run), Preparer(32))
    frames = [f.image for f in read_frames(media / "clip.mp4") if f.index != 3]
    with pytest.raises(UserError, match="update_source"):
        streamer.predict(np.zeros((68, 2), np.float32))
    points = [streamer.extract_keypoints(frame) for frame in frames]
    streamer.update_source(frames[0], points[0])
    sent = streamer.sent_bytes
    pictures = [streamer.predict(p) for p in points]
    assert streamer.landmark_bytes == 276 * len(frames)
    assert streamer.sent_bytes == sent + 276 * len(frames)
    assert pictures[0].shape == (3, 32, 32)
    rates = streamer.rates([np.zeros((32, 32, 3), np.uint8)] * len(frames), 25)
    assert rates.landmarks == pytest.approx(276 * 8 * 25 / 1000)
    assert rates.h264 > 0
    with pytest.raises(UserError, match="68 landmarks"):
        streamer.predict(np.zeros((5, 2), np.float32))


def test_row_15_evaluation_measures_beside_baselines(run, tmp_path):
    means = evaluate(
        EvaluateConfig(run=run, data_root=tmp_path / "data", identity=False, lpips=False, pose=False, pairs_per_video=2)
    )
    assert set(means) == {"avatar", "source", "mean"}
    assert {"L1", "PSNR", "SSIM", "SSIM_signed"} <= set(means["avatar"])
    written = json.loads((run / "evaluation" / "evaluation.json").read_text())
    assert written["avatar"]["L1"] == pytest.approx(means["avatar"]["L1"])
    with pytest.raises(UserError, match="imgs/metrics"):
        evaluate(EvaluateConfig(run=run, data_root=tmp_path / "data", phase="metrics"))


@pytest.mark.parametrize("init", ["none", "run"])
def test_row_23_personal_avatar_in_one_command(tmp_path, stubbed, small_config, monkeypatch, capsys, request, init):
    frames = [np.full((80, 90, 3), 90 + 4 * i, np.uint8) for i in range(16)]
    write_video(tmp_path / "me.mp4", frames, 25, synthetic=False)
    monkeypatch.setitem(PRESETS, "tiny", small_config())
    only = {"identity": False, "lpips": False, "pose": False}
    monkeypatch.setattr(personalize_module, "evaluate", lambda c: evaluate(dataclasses.replace(c, **only)))
    start = str(request.getfixturevalue("run")) if init == "run" else "none"
    config = PersonalizeConfig(
        video=tmp_path / "me.mp4", out=tmp_path / "anywhere" / "me", frames=16, steps=3, init=start
    )
    with pytest.raises(UserError, match="--consent"):
        personalize(config)
    run = personalize(dataclasses.replace(config, consent=True))
    assert run.folder == tmp_path / "anywhere" / "me"
    assert (run.folder / "avatar.mp4").is_file()
    assert (run.folder / "evaluation" / "evaluation.json").is_file()
    assert "minutes on this machine" in capsys.readouterr().out
    stored = {phase: [int(n.rsplit("/", 1)[1]) for n in Videos.list(run.folder / "data", phase).frames[0]]
              for phase in ("train", "test")}  # fmt: skip
    assert max(stored["train"]) < min(stored["test"])
    named = dataclasses.replace(config, out=tmp_path / "runs" / "name")
    assert training_settings(named).experiment_name == "name"


def test_row_23_personal_avatar_needs_faces(tmp_path, stubbed, small_config, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", small_config())
    write_video(tmp_path / "dark.mp4", [np.zeros((80, 90, 3), np.uint8)] * 12, 25, synthetic=False)
    config = PersonalizeConfig(video=tmp_path / "dark.mp4", out=tmp_path / "me", consent=True, init="none", steps=2)
    with pytest.raises(UserError, match="0 of its frames show a face"):
        personalize(config)
    with pytest.raises(UserError, match="--frames"):
        personalize(dataclasses.replace(config, frames=3))
    with pytest.raises(UserError, match="no preset"):
        personalize(dataclasses.replace(config, preset="huge"))


def test_row_15_the_source_may_be_of_another_clip(run, tmp_path):
    only = {"identity": False, "lpips": False, "pose": False, "pairs_per_video": 2}
    evaluate(EvaluateConfig(run=run, data_root=tmp_path / "data", source_phase="train", **only))
    with (run / "evaluation" / "evaluation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    first = Videos.list(tmp_path / "data", "train").frames
    assert {row["source"] for row in rows} == {frames[0] for frames in first}
    assert json.loads((run / "evaluation" / "evaluation.json").read_text())["source_phase"] == "train"


def test_row_13_a_small_run_is_the_same_avatar(run, tmp_path):
    export_weights(WeightsConfig(run=run, out=tmp_path / "small"))
    size = sum(p.stat().st_size for p in (tmp_path / "small" / "checkpoints").iterdir())
    assert size < 0.4 * sum((run / "checkpoints" / f"1_{name}.pth").stat().st_size for name in BASE)
    frame = heads.read_frame(tmp_path / "data", "train", "id0/v0/c0/0", 32)
    pictures = []
    for folder in (run, tmp_path / "small"):
        identity = Avatar.from_run(folder).identify([frame.image], [frame.keypoints], [frame.mask])
        pictures.append(identity.drive(stickman.normalise(frame.keypoints, 32)).over())
    assert (pictures[0] - pictures[1]).abs().max() < 0.01
    written = (tmp_path / "small" / "config.yaml").read_text()
    assert str(tmp_path) not in written


def test_row_22_the_avatar_that_ships(tmp_path, make_tree):
    """It stands wherever a run can stand, and training can start from it."""
    root = make_tree(tmp_path / "data", people=1, frames=2, size=64)
    frame = heads.read_frame(root, "train", "id0/v0/c0/0", 64)
    identity = Avatar.from_run("shipped").identify([frame.image], [frame.keypoints], [frame.mask])
    picture = identity.drive(stickman.normalise(frame.keypoints, 64))
    assert picture.colour.shape == (3, 64, 64)
    assert (picture.mask[0] - torch.from_numpy(frame.mask[0])).abs().mean() < 0.25
    assert sum(file.stat().st_size for file in (SHIPPED / "checkpoints").iterdir()) < 4e6
    settings = training_settings(PersonalizeConfig(video=tmp_path / "me.mp4", out=tmp_path / "me", steps=60))
    assert settings.init_experiment_dir == SHIPPED
    assert (settings.epochs, settings.samples_per_video) == (3, 25 * settings.batch_size)
    assert settings.adv_from_epoch > settings.epochs
