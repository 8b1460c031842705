"""Turning faces in photographs: squares, pivots, pasting, videos, folders; with a model that knows the depth."""

import numpy as np
import pytest
import torch

from likeness.errors import UserError
from likeness.geometry.face_landmarks import to_66, to_68
from likeness.geometry.mean_face import mean_face
from likeness.media.image import read_uint8, write_image
from likeness.media.synthetic import is_marked_synthetic
from likeness.media.video import read_frames
from likeness.methods.depthnet import animate as room
from likeness.methods.depthnet.animate import AnimateConfig, Square, animate, replaced, square_around, turned
from likeness.methods.depthnet.turning import rotation, rotation_affine, sweep
from likeness.perception.protocols import Face
from likeness.render.face_warp import warp_face


def face_at(x: float, y: float, scale: float = 1.0, yaw: float = 0.0) -> Face:
    """The mean face at (x, y), `scale` pixels a millimetre."""
    points = mean_face().numpy() @ rotation("y", yaw).T.astype(np.float64) * scale
    return Face((points[:, :2] + (x, y)).astype(np.float32), points[:, 2].astype(np.float32))


def knowing(face: Face):
    """A model that answers with the depth of `face`, in units of its square."""
    side = square_around(face.landmarks_66).side
    depth = torch.tensor(to_66(face.points_3d)[:, 2] / side)
    return lambda source, target: (depth.expand(len(source), -1), None)


def ramp(height: int, width: int) -> np.ndarray:
    """A picture whose red and green say where a pixel is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, np.full_like(x, 128)], axis=-1).astype(np.uint8)


def test_squares_reach_beyond_the_border():
    square = square_around(np.array([[0.0, 0.0], [100.0, 50.0]]))
    assert square == Square(-30, -55, 160)
    image = ramp(120, 200)
    part = square.cut(image)
    assert part.shape == (160, 160, 3)
    np.testing.assert_array_equal(part[55:, 30:], image[:105, :130])
    np.testing.assert_array_equal(part[0, 0], image[0, 0])
    np.testing.assert_allclose(square.normalise(np.array([-30.0, 105.0])), [0, 1])


@pytest.mark.parametrize("size", [(300, 500), (500, 300)])
def test_row_33_turning_about_the_view_axis_is_a_rigid_turn_in_pixels(size):
    image, face = ramp(*size), face_at(170, 140)
    angle = 0.4
    frame = next(turned(image, face, knowing(face), np.array([angle]), axis="z", background="black"))
    centre = face.landmarks_66.mean(0)
    back = rotation("z", -angle)[:2, :2]
    nose, chin_side, eye = 30, 6, 40
    for index in (nose, chin_side, eye):
        inner = 0.6 * face.landmarks[index] + 0.4 * face.landmarks[30]
        column, row = np.floor(np.linalg.inv(back) @ (inner - centre) + centre).astype(int)
        x, y = back @ (np.array([column, row]) + 0.5 - centre) + centre
        found = frame[row, column, :2] * np.array([size[1], size[0]]) / 255
        np.testing.assert_allclose(found, [x, y], atol=4)


def test_row_27_frames_of_the_turn(tmp_path):
    image, face = ramp(240, 320), face_at(160, 120)
    frames = list(turned(image, face, knowing(face), sweep(0.5, -0.5), axis="y"))
    assert len(frames) == 50 + 100
    assert frames[0].shape == image.shape
    assert np.abs(frames[0].astype(int) - image).max() <= 1, "no turn changes nothing"
    assert not (frames[49] == image).all()
    # A positive angle about y moves what is far, the ears, to the picture's right.
    black = [next(turned(image, face, knowing(face), np.array([a]), background="black")) for a in (0.5, -0.5)]
    reach = [np.nonzero(frame.any(2).any(0))[0] for frame in black]
    assert reach[0].max() > reach[1].max()


@pytest.mark.parametrize("turn", ["source", "target"])
def test_row_27_both_ways_of_turning_agree_where_depth_is_known(turn):
    image, face = ramp(240, 320), face_at(160, 120)
    frame = next(turned(image, face, knowing(face), np.array([0.6]), turn=turn, background="black"))
    other = next(turned(image, face, knowing(face), np.array([0.6]), background="black", depth_buffer=True))
    assert np.abs(frame.astype(int) - other).max(-1).mean() < 2.0


def test_row_22_parity_pivot_is_the_squares_corner():
    image, face = ramp(240, 320), face_at(160, 120)
    centred, corner = (
        next(turned(image, face, knowing(face), np.array([0.3]), axis="z", pivot=pivot, background="black"))
        for pivot in ("face", "corner")
    )
    assert centred.any()
    assert not (centred == corner).all()
    columns = [np.nonzero(frame.any((0, 2)))[0].mean() for frame in (centred, corner)]
    assert abs(columns[0] - 160) < 5
    assert abs(columns[1] - 160) > 10


def test_row_33_a_face_lands_on_its_target():
    source, target = ramp(260, 400), np.zeros((420, 300, 3), np.uint8)
    face, goal = face_at(200, 120), face_at(140, 250, 1.2, yaw=0.4)
    picture = replaced(source, face, target, goal, knowing(face), background="black")
    coverage = picture.any(2)
    rows, columns = np.nonzero(coverage)
    low, high = goal.landmarks.min(0), goal.landmarks.max(0)
    assert np.abs(np.array([columns.min(), rows.min()]) - low).max() < 6
    assert np.abs(np.array([columns.max(), rows.max()]) - high).max() < 6


@pytest.fixture
def mocked(monkeypatch):
    """A tracker that finds the mean face in wide pictures, none in others; a model that knows its depth."""
    face = face_at(160, 120)

    class Tracker:
        def detect(self, image, any_face=False):
            return [face] if image.shape[1] > image.shape[0] else []

    monkeypatch.setattr(room, "MediaPipeFaces", Tracker)
    monkeypatch.setattr(room, "load_generator", lambda run: knowing(face))


def test_row_27_video_of_a_photograph(mocked, tmp_path):
    write_image(tmp_path / "photo.png", ramp(240, 320), synthetic=False)
    animate(AnimateConfig(source=tmp_path / "photo.png", out=tmp_path / "turn.mp4", angles=(0.1, -0.1)))
    frames = list(read_frames(tmp_path / "turn.mp4"))
    assert len(frames) == 10 + 20
    assert frames[0].image.shape == (240, 320, 3)
    assert is_marked_synthetic(tmp_path / "turn.mp4")
    with pytest.raises(UserError, match="no frame"):
        animate(AnimateConfig(source=tmp_path / "photo.png", out=tmp_path / "still.mp4", angles=(0, 0)))
    assert not (tmp_path / "still.mp4").exists()


def test_a_folder_works_as_a_picture_does_and_says_what_it_leaves_out(mocked, tmp_path, capsys):
    write_image(tmp_path / "in/a.png", ramp(240, 320), synthetic=False)
    write_image(tmp_path / "in/b.jpg", ramp(240, 320), synthetic=False)
    write_image(tmp_path / "in/none.png", ramp(320, 240), synthetic=False)
    animate(AnimateConfig(source=tmp_path / "in", out=tmp_path / "out", angles=(0.02, 0.0)))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_turned.mp4", "b_turned.mp4"]
    said = capsys.readouterr().out
    assert "none.png: no human face found" in said
    assert "2 of 3 done" in said
    animate(AnimateConfig(source=tmp_path / "in/a.png", target=tmp_path / "in/b.jpg", out=tmp_path / "one.png"))
    assert read_uint8(tmp_path / "one.png").shape == (240, 320, 3)
    assert is_marked_synthetic(tmp_path / "one.png")
    with pytest.raises(UserError, match="no human face"):
        animate(AnimateConfig(source=tmp_path / "in/none.png", out=tmp_path / "never.mp4"))


def test_row_27_frames_are_the_warper_of_the_square():
    image, face = ramp(240, 320), face_at(160, 120)
    square = square_around(face.landmarks_66)
    frame = next(turned(image, face, knowing(face), np.array([0.5]), background="black"))
    depth = face.depth.astype(np.float64) / square.side
    xy = square.normalise(face.landmarks_66) * square.side
    depth = to_68(to_66(face.points_3d)[:, 2:] / square.side)[:, 0].astype(np.float64)
    centre = np.append(xy.mean(0), (to_66(face.points_3d)[:, 2] / square.side).mean())
    affine = rotation_affine(rotation("y", 0.5), (square.side, square.side), 1.0, centre)
    warp = warp_face(square.cut(image), square.normalise(face.landmarks) * square.side, depth, affine)
    inside = frame[square.top : square.top + square.side, square.left : square.left + square.side]
    deep = warp.coverage & (np.abs(inside.astype(int) - warp.image).max(-1) <= 1)
    assert deep.sum() > 0.7 * warp.coverage.sum()
