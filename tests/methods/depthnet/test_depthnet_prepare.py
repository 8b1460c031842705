"""Preparation of a broken 3DFAW tree: the file at fault is named and nothing is left behind."""

import errno
import os

import numpy as np
import pytest
from PIL import Image

from likeness.errors import UserError
from likeness.formats.depthnet3dfaw import load_archive, write_landmarks
from likeness.methods.depthnet.prepare import PrepareConfig, prepare


@pytest.fixture
def tree(tmp_path):
    rng = np.random.default_rng(0)
    for split, names in (("train", ["t0", "t1"]), ("valid", ["v0", "v1", "v2"])):
        for name in names:
            (tmp_path / f"{split}_img").mkdir(exist_ok=True)
            Image.new("RGB", (120, 100), (90, 60, 30)).save(tmp_path / f"{split}_img" / f"{name}.jpg")
            write_landmarks(tmp_path / f"{split}_lm" / f"{name}_lm.csv", rng.uniform(20, 90, (66, 3)))
    (tmp_path / "list_valid_test.txt").write_text("v0,valid\nv1,test,left\nv2,test,right\n")
    return tmp_path


def outputs(tree):
    return sorted(path.name for path in tree.iterdir() if path.suffix == ".npz" or "cropped" in path.name)


def test_prepared_tree(tree):
    prepare(PrepareConfig(tree))
    assert outputs(tree) == ["test.npz", "train.npz", "valid.npz", "valid_img_cropped_80x80"]
    assert list(load_archive(tree / "test.npz").orientations) == ["left", "right"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tree: (tree / "valid_img" / "v1.jpg").unlink(), "valid_img/v1.jpg: no such picture"),
        (lambda tree: (tree / "train_img" / "t1.jpg").unlink(), "train_img/t1.jpg: no such picture"),
        (lambda tree: (tree / "train_img" / "t1.jpg").write_bytes(b"x"), "train_img/t1.jpg: cannot be read"),
        (lambda tree: (tree / "valid_lm" / "v2_lm.csv").unlink(), "valid_lm/v2_lm.csv: no such landmark file"),
        (lambda tree: (tree / "train_lm" / "t0_lm.csv").write_text("1,2,3\n"), "train_lm/t0_lm.csv: found 1 rows"),
        (lambda tree: (tree / "list_valid_test.txt").unlink(), "list_valid_test.txt: no such split file"),
        (lambda tree: (tree / "list_valid_test.txt").write_text("nobody,valid\n"), "nobody"),
        (lambda tree: [path.unlink() for path in (tree / "train_lm").iterdir()], "holds no <id>_lm.csv"),
    ],
)
def test_row_2_prepare_names_the_file(tree, damage, message):
    damage(tree)
    with pytest.raises(UserError) as caught:
        prepare(PrepareConfig(tree))
    assert message in str(caught.value)
    assert outputs(tree) == []


def test_full_disk_leaves_nothing_half_written(tree, monkeypatch):
    def full(*unused, **keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="disk is full"):
        prepare(PrepareConfig(tree))
    assert [name for name in outputs(tree) if name.endswith(".npz")] == []
    assert not [path for path in tree.iterdir() if path.name.startswith(".")]


def test_no_tree(tmp_path):
    with pytest.raises(UserError, match="train_img"):
        prepare(PrepareConfig(tmp_path))
