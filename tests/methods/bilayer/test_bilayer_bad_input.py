"""Mistakes in data and runs, each told in a message that says what was found and how to mend it."""

import shutil

import numpy as np
import pytest
from PIL import Image

from likeness.engine import train
from likeness.errors import UserError
from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.data import make_batches
from likeness.methods.bilayer.evaluate import EvaluateConfig, evaluate
from likeness.methods.bilayer.method import BaseStage


def _fit(config):
    return train(BaseStage, config, method="bilayer", stage="base", argv=["test"])


@pytest.mark.parametrize("tree", ["imgs", "keypoints", "segs"])
def test_bad_input_missing_tree(tmp_path, make_tree, small_config, tree):
    root = make_tree(tmp_path / "data")
    shutil.rmtree(root / tree)
    with pytest.raises(UserError, match=f"needs the folder {tree}/train.*likeness extract heads"):
        make_batches(small_config(data_root=root), "train")


def test_bad_input_empty_video_is_passed_over(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data", people=3)
    for tree in ("imgs", "keypoints", "segs"):
        for file in (root / tree / "train/id1/v0/c0").iterdir():
            file.unlink()
    samples = make_batches(small_config(data_root=root), "train").epoch_samples()
    assert {sample.sources[0].split("/")[0] for sample in samples} == {"id0", "id2"}


def test_bad_input_keypoints_of_another_count(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data", people=1, frames=2)
    for file in (root / "keypoints/train/id0/v0/c0").iterdir():
        np.save(file, np.zeros((98, 2), np.float32))
    with pytest.raises(UserError, match=r"expected 68 landmarks.*\(98, 2\)"):
        _ = make_batches(small_config(data_root=root, batch_size=1), "train")[0]


def test_bad_input_masks_of_another_size(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data", people=1, frames=2)
    for file in (root / "segs/train/id0/v0/c0").iterdir():
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(file)
    with pytest.raises(UserError, match="the mask is 16 pixels wide, its image 32"):
        _ = make_batches(small_config(data_root=root, batch_size=1), "train")[0]


def test_bad_input_run_of_another_architecture(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data")
    run = _fit(small_config(data_root=root, experiment_dir=tmp_path, experiment_name="a", epochs=1, validate_every=0))
    wider = small_config(
        data_root=root, experiment_dir=tmp_path, experiment_name="b", emb_num_channels=16, emb_max_channels=32,
        tex_num_channels=16, tex_max_channels=32, init_experiment_dir=run.folder,
    )  # fmt: skip
    with pytest.raises(UserError, match="another architecture"):
        _fit(wider)
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace("pse_num_channels: 16", "pse_num_channels: 32"))
    with pytest.raises(UserError, match="another architecture"):
        Avatar.from_run(run.folder)
    with pytest.raises(UserError, match="is not a run: expected a folder"):
        Avatar.from_run(tmp_path / "nowhere")


def test_bad_input_names_and_phases(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data")
    for option in (
        {"networks_to_train": ("generator",)},
        {"lrs": {"generator": 1.0}},
        {"spn_networks": ("generator",)},
    ):
        name = next(iter(option)).replace("_", "-")
        with pytest.raises(UserError, match=f"--{name}: no network generator"):
            BaseStage(small_config(data_root=root, **option))
    run = _fit(small_config(data_root=root, experiment_dir=tmp_path, epochs=1, validate_every=0))
    with pytest.raises(UserError, match="has no checkpoint '9'"):
        Avatar.from_run(run.folder, "9")
    shutil.rmtree(root / "imgs/train/id0")
    with pytest.raises(UserError, match="video id0/v0 has no frame in phase 'train'"):
        evaluate(EvaluateConfig(run=run.folder, data_root=root, source_phase="train"))
