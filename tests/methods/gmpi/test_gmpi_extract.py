"""Portraits out of pictures: the square, the files, the pose against the stage's own."""

import json

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from likeness.capture.gmpi import Portrait, photograph, reconstruction_pose
from likeness.errors import UserError
from likeness.formats import portraits
from likeness.media.image import to_uint8, write_image
from likeness.methods.gmpi import extract as x
from likeness.methods.gmpi.data import pose_of
from likeness.methods.gmpi.scene import FFHQ


@pytest.fixture(scope="module")
def points():
    """68 points of an upright face whose eyes are 100 pixels apart at (250, 200) and whose mouth is 110 below."""
    found = np.tile([250.0, 230.0], (68, 1))
    found[36:42], found[42:48] = [200, 200], [300, 200]
    found[48], found[54] = [220, 310], [280, 310]
    return found


def test_the_square_is_ffhqs_and_turns_with_the_head(points):
    square = x.aligned_square(points)
    half = max(2.0 * 100, 1.8 * 110)
    assert np.allclose(square, [[250 - half, 211 - half], [250 + half, 211 - half], [250 - half, 211 + half]])
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    turned = x.aligned_square(points @ turn.T)
    assert np.allclose(turned, square @ turn.T)
    assert np.allclose(x.into_square(points @ turn.T, turned, 64), x.into_square(points, square, 64))


@pytest.mark.parametrize("side", [32, 256])
def test_points_and_pixels_are_cut_alike(points, side):
    picture = np.zeros((500, 520, 3), np.uint8)
    picture[196:204, 196:204] = 255  # around the corner between pixels that is (200, 200)
    square = x.aligned_square(points)
    cut = x.cut_square(picture, square, side)[..., 0].astype(float)
    rows, columns = np.mgrid[:side, :side] + 0.5
    centre = np.array([(cut * columns).sum(), (cut * rows).sum()]) / cut.sum()
    assert np.allclose(centre, x.into_square(np.array([[200.0, 200.0]]), square, side)[0], atol=0.1)


def test_extract_writes_what_training_reads(mediapipe_installed, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(skimage.data.astronaut()).save(folder / "a.png")
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "b.png")
    (folder / "c.png").write_bytes(b"no picture")
    x.extract_portraits(folder, tmp_path / "out", resolution=64)
    out = tmp_path / "out"
    opened = portraits.open_portraits("ffhq", out / "ffhq64x64.zip", out / "ffhq64_deep3dface_coeffs")
    assert opened.names == ["00000/img00000000.png"]
    assert opened.image(0, 64).std() > 20
    stored = portraits.read_coefficients(opened.pose_file(opened.names[0]))
    assert str(stored["origin"][0]) == x.ORIGIN
    five = portraits.read_landmarks(out / "mtcnn_ffhq_64/detections/results/00000/img00000000.txt")
    assert np.allclose((five[0] + five[1]) / 2, [32, 28], atol=4)  # the eyes, where FFHQ has them
    told = json.loads((out / "sources.json").read_text())
    assert told["pictures"] == {"00000/img00000000.png": "a.png"}
    assert set(told["left_out"]) == {"b.png", "c.png"}
    aligned = tmp_path / "aligned"
    (folder / "c.png").unlink()
    x.extract_portraits(folder, aligned, resolution=64, aligned=True)
    assert portraits.read_fail_list(aligned / "ffhq64_deep3dface_coeffs") == ["00000/img00000001.png"]
    opened = portraits.open_portraits("ffhq", aligned / "ffhq64x64.zip", aligned / "ffhq64_deep3dface_coeffs")
    assert len(opened) == 1
    with pytest.raises(UserError, match="power of two"):
        x.extract_portraits(folder, out, resolution=60)


@pytest.mark.slow
def test_poses_are_near_the_stages_own(mediapipe_installed, tmp_path):
    from likeness.perception.faces import MediaPipeFaces

    tracker, errors = MediaPipeFaces(), []
    for number in range(8):
        frame, rotation, offset = photograph(Portrait(tmp_path, 1, number, 4, 256, "ffhq", False))
        write_image(tmp_path / "p.png", frame.image, synthetic=True)
        angle, trans = reconstruction_pose(rotation, offset)
        true = np.array(pose_of(portraits.PoseLabel(angle=angle, trans=trans), FFHQ))
        assert to_uint8(frame.image).shape == (256, 256, 3)
        _, found = x.portrait(tmp_path / "p.png", 256, True, True, tracker)
        if found is None:
            continue
        angle, trans = x.pose_of_landmarks(found, 256)
        errors.append(np.array(pose_of(portraits.PoseLabel(angle=angle, trans=trans), FFHQ)) - true)
    assert len(errors) >= 6
    yaw, pitch = np.abs(errors).mean(axis=0)
    print(f"mean error of {len(errors)}: yaw {np.degrees(yaw):.1f}, pitch {np.degrees(pitch):.1f} degrees", errors)
    assert yaw < np.radians(6)
    assert pitch < np.radians(6)


def test_the_pose_of_projected_points_is_the_cameras():
    from likeness.geometry.mean_face import mean_face

    yaw, pitch = 0.3, -0.12
    camera = FFHQ.cameras(torch.tensor([yaw]), torch.tensor([pitch]), 256)
    # GMPI's world shares OpenCV's axes; the head's middle is the spheres' centre, a unit away.
    points = mean_face().numpy() / 1200 + [0, 0, 1]
    pixels = camera.project(torch.from_numpy(points).float()[None])[0][0].numpy()
    angle, trans = x.pose_of_landmarks(pixels, 256)
    found = pose_of(portraits.PoseLabel(angle=angle, trans=trans), FFHQ)
    assert found == pytest.approx((yaw, pitch - x.TILT), abs=0.03)


def test_the_stages_upright_head_is_nearly_deep3dfacerecons():
    from scipy.spatial.transform import Rotation

    from likeness.capture.gmpi import five_points
    from likeness.capture.landmarks import LANDMARK_VERTICES
    from likeness.capture.person import make_person
    from likeness.methods.gmpi.align import STANDARD_POINTS

    standard = STANDARD_POINTS - STANDARD_POINTS.mean(axis=0)
    turns = []
    for seed in range(200, 224):
        points = five_points(make_person(seed).vertices[LANDMARK_VERTICES])
        turns.append(Rotation.align_vectors(standard, points - points.mean(axis=0))[0].as_euler("xyz"))
    pitch, yaw, roll = np.mean(turns, axis=0)
    assert abs(yaw) < 0.02
    assert abs(roll) < 0.02
    assert pitch == pytest.approx(-0.065, abs=0.02)


def test_mirrored_points_turn_the_pose_and_keep_their_meaning(points):
    side = 256
    again = x.mirrored(points, side)
    assert np.allclose(x.mirrored(again, side), points)
    assert again[36:42, 0].mean() < again[42:48, 0].mean()  # the first eye stays the picture's left one
    yaws = [pose_of(portraits.PoseLabel(*x.pose_of_landmarks(p, side)), FFHQ)[0] for p in (points, again)]
    assert yaws[1] == pytest.approx(-yaws[0], abs=0.02)
    assert x.mirrored(None, side) is None


def test_D03_extract_writes_metfaces_with_mirrored_copies(mediapipe_installed, tmp_path):
    import skimage.data

    from likeness.methods.gmpi.config import GMPIConfig

    write_image(tmp_path / "in/00000/a.png", skimage.data.astronaut(), synthetic=False)
    x.extract_portraits(tmp_path / "in", tmp_path / "out", resolution=64, layout="metfaces")
    assert json.loads((tmp_path / "out/sources.json").read_text())["pictures"] == {"00000.png": "00000/a.png"}
    opened = GMPIConfig(dataset="MetFaces", data=tmp_path / "out", resolution=64).open()
    assert opened.names == ["00000.png", "00000_xflip.png"]
    assert np.array_equal(opened.image(1, 64), opened.image(0, 64)[:, ::-1])
    poses = [pose_of(opened.pose(k), FFHQ) for k in (0, 1)]
    assert poses[1] == pytest.approx((-poses[0][0], poses[0][1]), abs=0.02)
    assert portraits.read_landmarks(tmp_path / "out/metfaces_detect/detections/results/00000.txt").shape == (5, 2)
