"""The head-crop tree: what is written is read back, and both published variants are understood."""

import numpy as np
import pytest
from PIL import Image

from likeness.errors import UserError
from likeness.formats import heads


def _write(root, name="id1/v1/c1/0", size=32, phase="train"):
    rng = np.random.default_rng(0)
    image = np.broadcast_to(np.linspace(0, 1, size, dtype=np.float32), (3, size, size)).copy()
    keypoints = rng.uniform(0, size, (68, 2)).astype(np.float32)
    mask = np.broadcast_to(np.linspace(0, 1, size, dtype=np.float32), (1, size, size)).copy()
    heads.write_frame(root, phase, name, image, keypoints, mask)
    return image, keypoints, mask


def test_round_trip_and_dtypes(tmp_path):
    image, keypoints, mask = _write(tmp_path)
    frame = heads.read_frame(tmp_path, "train", "id1/v1/c1/0")
    assert np.abs(frame.image - image).max() < 0.05
    assert np.array_equal(frame.keypoints, keypoints)
    assert frame.mask is not None
    assert np.abs(frame.mask - mask).max() <= 0.5 / 255 + 1e-6
    assert np.load(tmp_path / "keypoints/train/id1/v1/c1/0.npy").shape == (1, 136)


def test_resizing_moves_keypoints_with_the_image(tmp_path):
    _, keypoints, _ = _write(tmp_path, size=32)
    frame = heads.read_frame(tmp_path, "train", "id1/v1/c1/0", size=64)
    assert frame.image.shape == (3, 64, 64)
    assert np.allclose(frame.keypoints, keypoints * 2)


def test_both_keypoint_shapes_and_three_channel_masks(tmp_path):
    _, keypoints, mask = _write(tmp_path)
    np.save(tmp_path / "keypoints/train/id1/v1/c1/0.npy", np.c_[keypoints, keypoints])
    grey = np.floor(mask[0] * 255 + 0.5).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "segs/train/id1/v1/c1/0.png")
    frame = heads.read_frame(tmp_path, "train", "id1/v1/c1/0")
    assert np.array_equal(frame.keypoints, keypoints)
    assert frame.mask is not None
    assert np.array_equal(frame.mask[0], grey.astype(np.float32) / 255)


def test_frames_are_the_intersection_in_string_order(tmp_path):
    for frame in (0, 1, 2, 10, 11, 100):
        _write(tmp_path, f"id1/v1/c1/{frame}", size=8)
    (tmp_path / "segs/train/id1/v1/c1/2.png").unlink()
    assert [n.rsplit("/", 1)[1] for n in heads.list_frames(tmp_path, "train", "id1/v1")] == [
        "0",
        "1",
        "10",
        "100",
        "11",
    ]
    assert len(heads.list_frames(tmp_path, "train", "id1/v1", masks=False)) == 6
    assert heads.list_videos(tmp_path, "train") == ["id1/v1"]


def test_user_errors_say_what_is_wrong(tmp_path):
    _write(tmp_path)
    with pytest.raises(UserError, match="segs/test|imgs/test"):
        heads.require_tree(tmp_path, "test")
    np.save(tmp_path / "keypoints/train/id1/v1/c1/0.npy", np.zeros((5, 2)))
    with pytest.raises(UserError, match="68 landmarks"):
        heads.read_frame(tmp_path, "train", "id1/v1/c1/0")
    _write(tmp_path)
    Image.new("L", (16, 16)).save(tmp_path / "segs/train/id1/v1/c1/0.png")
    with pytest.raises(UserError, match="16 pixels wide"):
        heads.read_frame(tmp_path, "train", "id1/v1/c1/0")
