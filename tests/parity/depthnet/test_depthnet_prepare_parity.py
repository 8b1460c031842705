"""The preparation of a miniature 3DFAW tree against what the original made of it."""

import shutil

import numpy as np
import pytest

from likeness.formats.depthnet3dfaw import load_archive, normalise, read_landmarks, read_split_list
from likeness.media.image import read_uint8
from likeness.methods.depthnet.prepare import PrepareConfig, prepare


@pytest.fixture
def tree(parity_dir, tmp_path):
    folder = tmp_path / "3dfaw"
    shutil.copytree(
        parity_dir / "depthnet" / "fake_3dfaw", folder, ignore=shutil.ignore_patterns("*.npz", "valid_img_cropped*")
    )
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_row_1_prepared_arrays_and_crops(parity_dir, tree):
    prepare(PrepareConfig(tree))
    recorded = parity_dir / "depthnet" / "fake_3dfaw"
    for split in ("train", "valid", "test"):
        ours, want = np.load(tree / f"{split}.npz"), np.load(recorded / f"{split}.npz")
        assert sorted(ours.files) == sorted(want.files)
        order = [np.argsort(archive["y_keypts"][:, 0, 0]) for archive in (ours, want)]
        for name in want.files:
            a, b = ours[name], want[name]
            if split == "train":
                a, b = a[order[0]], b[order[1]]
            if a.dtype.kind == "U":
                assert list(a) == list(b)
            else:
                assert a.dtype == b.dtype == np.float32
                assert np.abs(a - b).max() <= 1e-7
        assert len(load_archive(tree / f"{split}.npz")) == len(want["y_keypts"])
    crops = sorted((recorded / "valid_img_cropped_80x80").iterdir())
    assert [path.name for path in crops] == sorted(p.name for p in (tree / "valid_img_cropped_80x80").iterdir())
    for path in crops:
        ours, want = (read_uint8(p).astype(float) for p in (tree / "valid_img_cropped_80x80" / path.name, path))
        assert ours.shape == want.shape == (80, 80, 3)
        assert np.abs(ours - want).mean() <= 6


def test_row_1_landmarks_without_final_newline(tree):
    path = tree / "train_lm" / "tr000_lm.csv"
    whole = read_landmarks(path)
    path.write_text(path.read_text().rstrip())
    assert np.array_equal(read_landmarks(path), whole)


def test_row_1_training_faces_are_sorted(tree):
    from PIL import Image

    prepare(PrepareConfig(tree))
    train = load_archive(tree / "train.npz")
    for index, path in enumerate(sorted((tree / "train_lm").iterdir())):
        with Image.open(tree / "train_img" / f"{path.name.removesuffix('_lm.csv')}.jpg") as picture:
            xy, depth = normalise(read_landmarks(path), *picture.size)
        assert np.array_equal(train.xy[index], xy)
        assert np.array_equal(train.depth[index], depth)
    assert read_split_list(tree / "list_valid_test.txt")[4].orientation == "left"
