"""Row C1: the original's command lines, and those of the seed, word for word."""

import dataclasses
import json
import shutil

import pytest

from likeness.cli.arguments import parse
from likeness.cli.main import run as likeness
from likeness.engine import train
from likeness.errors import UserError
from likeness.formats import multiface as mf
from likeness.methods.multiface.compat import rewrite
from likeness.methods.multiface.config import PRESETS, MultifaceConfig
from likeness.methods.multiface.evaluate import EvaluateConfig, evaluate
from likeness.methods.multiface.method import AvatarStage
from likeness.methods.multiface.published import export_original

SEED_TRAIN = (
    "--data_dir /d/m--20180227--0000--6795937--GHS --krt_dir /d/m--20180227--0000--6795937--GHS/KRT "
    "--framelist_train /d/frame_list.txt --framelist_test ./mini_frame_list.txt --result_path ./mini_dataset "
    "--test_segment {segments} --lambda_screen 1 --model_path ./mini_dataset/best_model.pth"
)


@pytest.fixture
def segments(tmp_path):
    path = tmp_path / "mini_test_segment.json"
    path.write_text(json.dumps({"segment": ["E061_Lips_Puffed"]}))
    return path


def config_of(words):
    return parse(MultifaceConfig, rewrite("train", words), "likeness train multiface", default=PRESETS["paper"])


def test_C1_seed_training_line(segments):
    config = config_of(SEED_TRAIN.format(segments=segments).split())
    assert config.test_segments == ("E061_Lips_Puffed",)
    assert config.lambda_screen == 1.0
    assert str(config.krt).endswith("GHS/KRT")
    assert str(config.start_from).endswith("best_model.pth")
    assert str(config.experiment_dir) == "mini_dataset"


def test_C1_every_training_option(segments, capsys):
    words = (
        "--local_rank 0 --train_batch_size 4 --val_batch_size 2 --arch warp --nlatent 128 --lr 1e-4 --resolution 96 72 "
        "--tex_size 512 --mesh_inp_size 504 --epochs 3 --data_dir d --krt_dir d/KRT --framelist_train a "
        f"--framelist_test b --loss_weight_mask m.png --test_segment_config {segments} --lambda_verts 2 "
        "--lambda_screen 3 --lambda_tex 4 --lambda_kl 5 --max_iter 99 --log_every 7 --val_every 8 --val_num 9 "
        "--n_worker 1 --pass_thres 10 --result_path r --model_ckpt None"
    ).split()
    config = config_of(words)
    assert (config.batch_size, config.architecture, config.latent, config.tex_size) == (4, "warp", 128, 512)
    assert (config.resolution, config.epochs, config.max_updates, config.validation_batches) == ((96, 72), 3, 100, 10)
    assert (config.lambda_verts, config.lambda_screen, config.lambda_tex, config.lambda_kl) == (2, 3, 4, 5)
    assert (config.visuals_every, config.validate_every, config.workers, config.pass_threshold) == (7, 8, 1, 10)
    assert config.start_from is None
    printed = capsys.readouterr().out
    for name in ("local_rank", "mesh_inp_size", "val_batch_size"):
        assert f"--{name} is dropped" in printed


def test_C1_defaults_are_the_originals():
    config = PRESETS["paper"]
    assert (config.batch_size, config.lr, config.latent, config.tex_size) == (16, 3e-4, 256, 1024)
    assert (config.max_updates, config.pass_threshold, config.epochs) == (200001, 50, 50)
    assert (config.lambda_verts, config.lambda_screen, config.lambda_tex, config.lambda_kl) == (1, 0, 1, 0.01)
    assert PRESETS["6795937"].test_segments == ("EXP_ROM07_Facial_Expressions",)
    assert PRESETS["5067077"].test_segments == ("EXP_free_face",)


def test_C1_our_own_words_pass_through():
    words = ["--data-dir", "d", "--test-segments", "E1", "E2", "--no-x", "--lr", "1e-3"]
    assert rewrite("train", words) == words
    assert rewrite("evaluate", ["--run", "r", "--protocol", "plain"]) == ["--run", "r", "--protocol", "plain"]


def test_C1_test_line_with_a_run(small_run, small_capture, tmp_path, capsys):
    segments = tmp_path / "s.json"
    segments.write_text(json.dumps({"segment": ["E061"]}))
    words = (
        f"evaluate multiface --local_rank 0 --model_path {small_run} --data_dir {small_capture.root} "
        f"--krt_dir {small_capture.krt} --framelist_test {small_capture.frame_list} --test_segment {segments} "
        "--val_num 1 --val_batch_size 2 --max_iter 5 --log_every 6 --val_every 7 --pass_thres 8 --arch base "
        "--nlatent 16 --tex_size 256 --resolution 48 36 --mesh_inp_size 288 --lambda_screen 1 --n_worker 2 "
        "--result_path r --loss_weight_mask m.png --lr 1e-4"
    )
    likeness(words.split())
    printed = capsys.readouterr().out
    assert "(screen / mesh / tex)" in printed
    for name in ("max_iter", "log_every", "val_every", "pass_thres"):
        assert f"--{name} is dropped: it belongs to training" in printed
    assert "--arch is dropped: the run knows it" in printed


def test_C1_test_line_with_a_published_file(small_run, small_capture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    export_original(small_run, tmp_path / "mini.pth")
    words = f"evaluate multiface --model_path mini.pth --data_dir {small_capture.root} --val_batch_size 4"
    likeness([*words.split(), "--test-segments", "E061"])
    assert "(screen / mesh / tex)" in capsys.readouterr().out
    assert (tmp_path / "runs" / "mini" / "result.txt").is_file()
    with pytest.raises(UserError, match="by --data-dir"):
        evaluate(EvaluateConfig(run=tmp_path / "mini.pth"))
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "mini.pth", tmp_path / "other" / "mini.pth")
    with pytest.raises(UserError, match="which is a run of other weights"):
        evaluate(EvaluateConfig(run=tmp_path / "other" / "mini.pth", data_dir=small_capture.root))


def test_C1_a_published_file_of_some_cameras(small_config, small_capture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mf.write_camera_split(tmp_path / "split.json", {"train": ["400013", "400041"], "test": ["400002"], "visual": []})
    config = dataclasses.replace(small_config, experiment_dir=tmp_path, camera_split=tmp_path / "split.json")
    run = train(AvatarStage, config, method="multiface", stage="avatar", argv=["likeness"]).folder
    export_original(run, tmp_path / "two.pth")
    words = f"evaluate multiface --run two.pth --data-dir {small_capture.root} --camera-split split.json"
    likeness([*words.split(), "--test-segments", "E061"])
    assert "(screen / mesh / tex)" in capsys.readouterr().out


def test_C1_visualize_line(small_run, small_capture, tmp_path, capsys):
    words = (
        f"animate multiface --model_path {small_run} --data_dir {small_capture.root} --result_path {tmp_path} "
        "--camera_config c.json --camera_setting full --save_video 1 --lambda_screen 1 --test_segment_config s.json "
        "--max_iter 3 --view error"
    )
    likeness(words.split())
    assert (tmp_path / "video.mp4").is_file()
    printed = capsys.readouterr().out
    assert "--camera_config is dropped: --camera names one" in printed
    assert "--save_video is dropped" in printed


def test_C1_a_published_file_trains_on(small_run, small_config, tmp_path, capsys):
    export_original(small_run, tmp_path / "best_model.pth")
    likeness(
        [
            "train", "multiface", "--preset", "tiny", "--data_dir", str(small_config.data_dir), "--result_path",
            str(tmp_path), "--test-segments", "E061", "--resolution", "48", "36", "--nlatent", "16", "--max_iter", "0",
            "--model_path", str(tmp_path / "best_model.pth"),
        ]
    )  # fmt: skip
    assert "finished" in capsys.readouterr().out
