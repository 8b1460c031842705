import importlib.util
import sys

import cv2
import numpy as np
import pytest
import torch

from likeness.errors import UserError
from likeness.media.image import read_uint8
from likeness.media.video import read_frames
from likeness.perception.faces import find_face
from likeness.perception.segmentation import erode
from likeness.perception.smoothing import OneEuroFilter, smooth


def test_erosion_takes_the_least_of_the_square_without_corners():
    mask = np.random.default_rng(0).random((9, 11)).astype(np.float32)
    expected = np.empty_like(mask)
    for row in range(9):
        for column in range(11):
            near = [
                mask[row + dy, column + dx]
                for dy in range(-2, 3)
                for dx in range(-2, 3)
                if abs(dx) + abs(dy) < 4 and 0 <= row + dy < 9 and 0 <= column + dx < 11
            ]
            expected[row, column] = min(near)
    np.testing.assert_array_equal(erode(mask), expected)


def test_mask_covers_the_person(mediapipe_installed, astronaut):
    from likeness.perception.segmentation import MediaPipeSegmenter

    segmenter = MediaPipeSegmenter()
    mask = segmenter(astronaut[:400, :300])
    assert mask.shape == (400, 300)
    assert mask.dtype == np.float32
    assert 0 <= mask.min() < mask.max() <= 1
    assert segmenter(astronaut)[100:180, 190:260].mean() > 0.95  # the face


def test_dlib_tells_people_apart(tracker, data_dir):
    if importlib.util.find_spec("dlib") is None or importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("the extra `identity` is not installed")
    from likeness.perception.identity import SAME_PERSON, DlibIdentity

    encoder = DlibIdentity()
    embeddings = []
    for clip in ("id00001/studio/00001", "id00002/studio/00001"):
        for frame in read_frames(data_dir / "videos" / f"{clip}.mp4", step=60):
            face = find_face(frame.image, tracker=tracker)
            embeddings.append(encoder(frame.image, face.landmarks))
            if frame.index == 120:
                break
    embeddings = np.array(embeddings)
    distances = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=-1)
    assert embeddings.shape == (6, 128)
    assert distances[:3, :3].max() < SAME_PERSON < distances[:3, 3:].min()
    assert encoder.name == "dlib-resnet-128"


def test_missing_identity_packages_are_explained(monkeypatch):
    from likeness.perception import identity

    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match=r"likeness\[identity\]"):
        identity.DlibIdentity()
    monkeypatch.undo()
    monkeypatch.setattr(identity.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="face-recognition-models"):
        identity._dlib_weights()


def test_arcface_weights_are_checked(tmp_path):
    from likeness.perception.identity import ArcFaceIdentity

    with pytest.raises(UserError, match=r"model_ir_se50\.pth"):
        ArcFaceIdentity(tmp_path / "none.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="no ArcFace"):
        ArcFaceIdentity(tmp_path / "other.pth")


def test_a_whole_body_has_its_joints(mediapipe_installed, data_dir):
    from likeness.perception import bodies

    frames = []
    for frame in read_frames(data_dir / "videos/id00007/fullbody/00001.mp4"):
        frames.append(frame.image)
        if frame.index == 3:
            break
    tracker = bodies.MediaPipeBodies()
    found = [tracker.detect(frames[0]), *tracker.follow(frames)]
    for body in found:
        assert body.joints.shape == (33, 2)
        assert body.world.shape == (33, 3)
        assert body.joints[bodies.NOSE, 1] < body.joints[bodies.LEFT_SHOULDER, 1] < body.joints[bodies.LEFT_HIP, 1]
        shoulders = body.world[bodies.LEFT_SHOULDER] - body.world[bodies.RIGHT_SHOULDER]
        assert 0.2 < np.linalg.norm(shoulders) < 0.5
    assert tracker.detect(np.zeros((64, 64, 3), np.uint8)) is None


def test_smoothing_steadies_a_still_face_and_follows_a_moving_one():
    random = np.random.default_rng(0)
    times = np.arange(100) / 25
    still = np.full((100, 68, 2), 200.0) + random.normal(scale=1.0, size=(100, 68, 2))
    steady = np.array(list(smooth(still, times, size=100.0)))
    assert steady[20:].std(axis=0).mean() < 0.6 * still[20:].std(axis=0).mean()
    moving = np.linspace(0, 400, 100)[:, None, None] + np.zeros((100, 68, 2))
    followed = np.array(list(smooth(moving, times, size=100.0)))
    assert np.abs(followed - moving).max() < 12
    one_euro = OneEuroFilter()
    np.testing.assert_array_equal(one_euro(still[0], 0.0), still[0])


def test_smoothing_does_not_depend_on_the_pictures_size():
    random = np.random.default_rng(0)
    points, times = random.normal(size=(10, 68, 2)), np.arange(10) / 30
    large = np.array(list(smooth(7 * points, times, size=700.0)))
    np.testing.assert_allclose(large, 7 * np.array(list(smooth(points, times, size=100.0))))


def test_grey_pictures_go_the_whole_way(tracker, tmp_path, astronaut):
    cv2.imwrite(str(tmp_path / "grey.png"), cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY))
    assert find_face(read_uint8(tmp_path / "grey.png"), tracker=tracker).eye_distance > 40
