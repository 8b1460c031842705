import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from likeness.errors import UserError
from likeness.formats import heads
from likeness.geometry.mean_face import mean_face
from likeness.perception import head_sets


def _fill(root, videos=10, clips=3, frames=10, masks=True) -> None:
    picture, mask = np.zeros((3, 8, 8), np.float32), np.zeros((1, 8, 8), np.float32)
    for video in range(videos):
        for clip in range(clips):
            for frame in range(frames):
                points = np.full((68, 2), frame, np.float32)
                name = f"id{video}/v/{clip:05d}/{frame}"
                heads.write_frame(root, "train", name, picture, points, mask if masks else None)


def _count(root, phase: str, masks=True) -> int:
    return len(list(heads.iterate_frames(root, phase, masks))) if (root / "imgs" / phase).is_dir() else 0


def test_a_share_of_the_frames_goes_to_test(tmp_path):
    _fill(tmp_path, videos=2, clips=2)
    before = set(heads.iterate_frames(tmp_path, "train"))
    assert head_sets.split_frames(tmp_path, share=0.05) == 2
    train, test = (set(heads.iterate_frames(tmp_path, phase)) for phase in ("train", "test"))
    assert len(test) == 2
    assert train | test == before
    assert not train & test
    with pytest.raises(UserError, match="between 0 and 1"):
        head_sets.split_frames(tmp_path, share=5)


def test_videos_are_held_out_and_one_clip_of_the_others(tmp_path):
    _fill(tmp_path, videos=11, frames=2)
    assert head_sets.hold_out(tmp_path) == (2, 9)
    assert (_count(tmp_path, "train"), _count(tmp_path, "test"), _count(tmp_path, "unseen_test")) == (36, 18, 12)
    unseen = set(heads.list_videos(tmp_path, "unseen_test"))
    train = {v for v in heads.list_videos(tmp_path, "train") if heads.list_clips(tmp_path, "train", v)}
    assert len(train) == 9
    assert not unseen & train


def test_sets_of_one_person_and_of_one_video(tmp_path):
    _fill(tmp_path / "all", videos=3, clips=4, frames=2, masks=False)
    assert head_sets.person_set(tmp_path / "all", "id1", tmp_path / "person") == 4
    assert heads.list_videos(tmp_path / "person", "train") == ["id1/v"]
    assert _count(tmp_path / "person", "train", masks=False) == 8
    assert head_sets.video_set(tmp_path / "all", "id2/v", tmp_path / "video") == (2, 2)
    assert heads.list_clips(tmp_path / "video", "test", "id2/v") == ["id2/v/00002", "id2/v/00003"]
    assert _count(tmp_path / "all", "train", masks=False) == 24
    with pytest.raises(UserError, match="nobody called id9"):
        head_sets.person_set(tmp_path / "all", "id9", tmp_path / "nobody")
    with pytest.raises(UserError, match="lower --test-clips"):
        head_sets.video_set(tmp_path / "all", "id2/v", tmp_path / "none", test_clips=4)


def test_the_metrics_set_has_a_few_frames_of_every_video(tmp_path, capsys):
    _fill(tmp_path, videos=3, frames=5)
    _fill(tmp_path / "short", videos=1, clips=1, frames=1)
    assert head_sets.metrics_set(tmp_path, phase="train", sources=1, targets=2) == 3
    for video in heads.list_videos(tmp_path, "metrics"):
        assert len(heads.list_frames(tmp_path, "metrics", video)) == 3
    assert head_sets.metrics_set(tmp_path / "short", phase="train") == 0
    assert "left out: id0/v" in capsys.readouterr().out


def test_yaws_and_distances(tmp_path):
    picture = np.zeros((3, 256, 256), np.float32)
    for frame, yaw in enumerate((-30, 0, 20)):
        points = mean_face().numpy() @ Rotation.from_euler("Y", yaw, degrees=True).as_matrix().T + [0, 0, 500]
        pixels = 1.2 * 256 * points[:, :2] / points[:, 2:] + 128
        heads.write_frame(tmp_path, "train", f"a/b/c/{frame}", picture, pixels.astype(np.float32), None)
    assert head_sets.extract_yaws(tmp_path, tmp_path / "yaws") == 3
    yaws = [np.load(tmp_path / f"yaws/train/a/b/c/{n}.npy", allow_pickle=False)[0] for n in range(3)]
    np.testing.assert_allclose(yaws, [-30, 0, 20], atol=0.05)
    assert head_sets.keypoint_distances(tmp_path) == 1
    distances = pickle.loads((tmp_path / "keypoints/train/a/b/c/L2_distances.pkl").read_bytes())
    first, second = (heads.read_keypoints(tmp_path / f"keypoints/train/a/b/c/{n}.npy") for n in (0, 1))
    assert distances[("0", "1")] == pytest.approx(np.square(first - second).sum(), rel=1e-5)
    assert set(distances) == {("0", "1"), ("0", "2"), ("1", "2")}
    assert len(list(heads.iterate_frames(tmp_path, "train", masks=False))) == 3
