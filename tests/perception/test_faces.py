import itertools
import subprocess
import sys
import warnings

import numpy as np
import pytest

from likeness.errors import UserError
from likeness.media.image import read_uint8, resize_uint8
from likeness.media.video import read_frames
from likeness.perception.faces import find_face
from likeness.perception.protocols import Face


def test_portrait_has_68_points_where_a_face_has_them(tracker, astronaut):
    face = find_face(astronaut, tracker=tracker)
    assert face.landmarks.shape == (68, 2)
    assert face.landmarks_66.shape == (66, 2)
    assert face.mesh.shape == (478, 3)
    assert 40 < face.eye_distance < 90
    left_eye, right_eye, mouth = (
        face.landmarks[part].mean(axis=0) for part in (range(36, 42), range(42, 48), range(48, 68))
    )
    assert left_eye[0] < mouth[0] < right_eye[0]
    assert mouth[1] > max(left_eye[1], right_eye[1])
    assert face.depth[30] < face.depth[[0, 16]].min()  # the nose is nearer than the ears


def test_every_human_portrait_is_found_and_every_animal_refused(tracker, data_dir):
    humans = sorted((data_dir / "portraits").glob("p*.jpg"))
    animals = sorted((data_dir / "portraits").glob("animal_*.jpg"))
    assert len(humans) == 9
    assert len(animals) == 2
    for path in humans:
        assert find_face(read_uint8(path), tracker=tracker, path=path).eye_distance > 20
    for path in animals:
        with pytest.raises(UserError, match=r"no human face found.*--any-face"):
            find_face(read_uint8(path), tracker=tracker, path=path)


def test_any_face_takes_an_animal_that_looks_like_one(tracker, data_dir):
    path = data_dir / "portraits" / "animal_s30.jpg"
    assert find_face(read_uint8(path), any_face=True, tracker=tracker).eye_distance > 40


def test_several_faces_the_largest_or_the_one_asked_for(tracker, astronaut):
    face = astronaut[0:256, 96:352]
    small = resize_uint8(face, (192, 192))
    scene = np.full((256, 700, 3), 60, np.uint8)
    scene[40:232, 20:212], scene[:, 220:476], scene[40:232, 500:692] = small, face, small
    assert len(tracker.detect(scene)) == 3
    centres = [find_face(scene, face=n, tracker=tracker).landmarks[:, 0].mean() for n in (None, 1, 2, 3)]
    assert 220 < centres[0] < 476
    assert centres[1] < 180 < centres[2] < 480 < centres[3]
    with pytest.raises(UserError, match="face 4 was asked for, 3 found"):
        find_face(scene, face=4, tracker=tracker)


class _OneFace:
    def __init__(self, distance: float):
        self.face = Face(np.zeros((68, 2), np.float32), np.zeros(68, np.float32))
        self.face.landmarks[45, 0] = distance

    def detect(self, image, any_face=False):
        return [self.face]


def test_small_faces_warn_and_tiny_ones_are_refused():
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.warns(UserWarning, match="small face"):
        find_face(picture, tracker=_OneFace(39))
    with pytest.raises(UserError, match="too small: 19 pixels"):
        find_face(picture, tracker=_OneFace(19.4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_face(picture, tracker=_OneFace(40))


def test_a_picture_without_a_face_is_refused(tracker, tmp_path):
    with pytest.raises(UserError, match=r"a\.png: no human face found"):
        find_face(np.full((200, 200, 3), 128, np.uint8), tracker=tracker, path="a.png")


def test_a_face_is_followed_through_a_pan_and_a_gap(tracker, astronaut):
    frames = [np.ascontiguousarray(astronaut[:320, shift : shift + 320]) for shift in (40, 60, 80, 100)]
    frames = [np.zeros_like(frames[0]), *frames[:2], np.zeros_like(frames[0]), *frames[2:]]
    found = list(tracker.follow(frames))
    assert [face is None for face in found] == [True, False, False, True, False, False]
    noses = [face.landmarks[30, 0] for face in found if face is not None]
    np.testing.assert_allclose(np.diff(noses), -20, atol=3)


@pytest.mark.parametrize("clip", ["id00002/studio/00001", "id00007/fullbody/00001"])
def test_a_real_clip_is_followed(tracker, data_dir, clip):
    frames = []
    for frame in read_frames(data_dir / "videos" / f"{clip}.mp4"):
        frames.append(frame.image)
        if len(frames) == 12:
            break
    found = list(tracker.follow(frames))
    assert all(face is not None for face in found)
    steps = [np.abs(b.landmarks - a.landmarks).max() / a.eye_distance for a, b in itertools.pairwise(found)]
    assert max(steps) < 0.25


def test_models_say_nothing(mediapipe_installed, tmp_path):
    code = (
        "import skimage.data; from likeness.perception.faces import MediaPipeFaces, find_face;"
        "from likeness.perception.segmentation import MediaPipeSegmenter;"
        "image = skimage.data.astronaut(); find_face(image); MediaPipeSegmenter()(image)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == ""


def test_missing_mediapipe_is_explained_with_the_one_command(monkeypatch):
    from likeness.perception.faces import MediaPipeFaces
    from likeness.perception.runtime import INSTALL

    monkeypatch.setitem(sys.modules, "mediapipe.python.solutions.face_mesh", None)
    with pytest.raises(UserError) as caught:
        MediaPipeFaces()
    assert INSTALL in str(caught.value)
