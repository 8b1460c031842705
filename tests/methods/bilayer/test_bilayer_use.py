"""Inference in three ways, animation, streaming, evaluation and personal avatars; a stub stands for the detector."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from likeness.engine import train
from likeness.errors import UserError
from likeness.media.image import write_image
from likeness.media.video import probe, read_frames, write_video
from likeness.methods.bilayer import animate as animate_module
from likeness.methods.bilayer import personalize as personalize_module
from likeness.methods.bilayer import prepare
from likeness.methods.bilayer.animate import AnimateConfig, animate
from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.config import PRESETS
from likeness.methods.bilayer.evaluate import EvaluateConfig, evaluate
from likeness.methods.bilayer.infer import InferConfig, infer
from likeness.methods.bilayer.method import BaseStage
from likeness.methods.bilayer.personalize import PersonalizeConfig, personalize
from likeness.methods.bilayer.prepare import Preparer
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


def test_row_23_personal_avatar_in_one_command(tmp_path, stubbed, small_config, monkeypatch, capsys):
    frames = [np.full((80, 90, 3), 90 + 4 * i, np.uint8) for i in range(16)]
    write_video(tmp_path / "me.mp4", frames, 25, synthetic=False)
    monkeypatch.setitem(PRESETS, "tiny", small_config())
    only = {"identity": False, "lpips": False, "pose": False}
    monkeypatch.setattr(personalize_module, "evaluate", lambda c: evaluate(dataclasses.replace(c, **only)))
    config = PersonalizeConfig(video=tmp_path / "me.mp4", out=tmp_path / "runs" / "me", frames=16, steps=3)
    with pytest.raises(UserError, match="--consent"):
        personalize(config)
    run = personalize(dataclasses.replace(config, consent=True))
    assert (run.folder / "avatar.mp4").is_file()
    assert (run.folder / "evaluation" / "evaluation.json").is_file()
    assert "minutes on this machine" in capsys.readouterr().out
