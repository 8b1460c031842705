"""Portrait collections on disk."""

import zipfile

import numpy as np
import pytest

from likeness.errors import UserError
from likeness.formats import portraits as p


def picture(seed, size=16):
    return np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)


def write_pose(path, k):
    p.write_coefficients(path, angle=[0.1 * k, 0.2, 0.3], trans=[0, 0, k], origin="test")


def test_D01_ffhq_zip_coefficients_and_fail_list(tmp_path):
    names = p.write_ffhq(tmp_path / "ffhq16x16.zip", (picture(k) for k in range(4)))
    assert names[1] == "00000/img00000001.png"
    poses = tmp_path / "ffhq16_deep3dface_coeffs"
    for k in (0, 2, 3):
        write_pose(poses / names[k].replace("png", "mat"), k)
    p.write_fail_list(poses, [names[1]])
    found = p.open_portraits("ffhq", tmp_path / "ffhq16x16.zip", poses)
    assert found.names == [names[0], names[2], names[3]]
    assert np.array_equal(found.image(1, 16), picture(2))
    assert np.allclose(found.pose(1).angle, [0.2, 0.2, 0.3])
    assert found.pose(2).trans.tolist() == [0, 0, 3]
    stored = p.read_coefficients(poses / names[0].replace("png", "mat"))
    assert {k: v.shape for k, v in stored.items() if k in p.COEFFICIENTS} == p.COEFFICIENTS
    assert stored["lm68"].shape == (1, 68, 2)
    assert stored["origin"][0] == "test"
    with pytest.raises(UserError, match="16x16, expected 32x32"):
        found.image(0, 32)
    p.write_fail_list(poses, [])
    assert (poses / "fail_list.txt").read_text() == "\n"
    with pytest.raises(UserError, match=r"1 of 4 pose files .* 00000/img00000001.png"):
        p.open_portraits("ffhq", tmp_path / "ffhq16x16.zip", poses)


def test_D01_bad_archives_are_refused(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UserError, match="not a readable zip"):
        p.open_portraits("ffhq", tmp_path / "broken.zip", tmp_path)
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../outside.png", b"x")
    with pytest.raises(UserError, match="points outside"):
        p.open_portraits("ffhq", tmp_path / "evil.zip", tmp_path)
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("00000/img00000000.png", b"no picture")
    write_pose(tmp_path / "00000/img00000000.mat", 0)
    with pytest.raises(UserError, match="not a readable picture"):
        p.open_portraits("ffhq", tmp_path / "bad.zip", tmp_path).image(0)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("00000/img00000000.png", bytes(range(256)) * 64)
    whole = bytearray((tmp_path / "packed.zip").read_bytes())
    start = whole.index(b"img00000000.png") + len("img00000000.png")
    for damage in (b"\xff" * 40, b"\x00" * 40):
        whole[start : start + 40] = damage
        (tmp_path / "damaged.zip").write_bytes(whole)
        with pytest.raises(UserError, match="not a readable picture"):
            p.open_portraits("ffhq", tmp_path / "damaged.zip", tmp_path).image(0)
    (tmp_path / "00000/img00000000.mat").write_bytes(b"no matlab")
    with pytest.raises(UserError, match="not a readable MATLAB file"):
        p.open_portraits("ffhq", tmp_path / "bad.zip", tmp_path).pose(0)


def test_D02_afhqcat_order_and_mirrored_labels(tmp_path):
    label = np.arange(25.0)
    pictures = {"b.png": picture(0), "a_mirror.png": picture(0)[:, ::-1].copy()}
    p.write_afhqcat(tmp_path, pictures, {"b.png": label, "a_mirror.png": p.mirrored_label(label)})
    found = p.open_portraits("afhqcat", tmp_path)
    assert found.names == ["b.png", "a_mirror.png"]
    assert np.array_equal(found.image(1, 16), pictures["a_mirror.png"])
    flip = found.pose(1).camera_to_world / np.maximum(found.pose(0).camera_to_world, 1)
    assert flip[0].tolist() == [0, -1, -1, -1]
    assert flip[:, 0].tolist() == [0, -1, -1, 1]
    (tmp_path / "b.png").unlink()
    with pytest.raises(UserError, match="1 of 2 pictures are missing"):
        p.open_portraits("afhqcat", tmp_path)


def test_D03_metfaces_and_the_idempotent_flip(tmp_path):
    p.write_metfaces(tmp_path / "m", {"x": picture(0), "y": picture(1)})
    assert p.flip_metfaces(tmp_path / "m") == 2
    assert p.flip_metfaces(tmp_path / "m") == 0
    for name in ("x", "x_xflip", "y_xflip"):
        write_pose(tmp_path / f"poses/coeffs/{name}.mat", 1)
    p.write_fail_list(tmp_path / "poses", ["y.png"])
    found = p.open_portraits("metfaces", tmp_path / "m", tmp_path / "poses")
    assert found.names == ["x.png", "x_xflip.png", "y_xflip.png"]
    assert np.array_equal(found.image(1), found.image(0)[:, ::-1])


def test_D04_landmark_files(tmp_path):
    points = np.array([[30.5, 40], [70, 41], [50, 60], [35, 80], [66, 80.25]], np.float32)
    p.write_landmarks(tmp_path / "a.txt", points)
    assert (tmp_path / "a.txt").read_text().splitlines()[0] == "30.5\t40"
    assert np.array_equal(p.read_landmarks(tmp_path / "a.txt"), points)
    (tmp_path / "a.txt").write_text("1\t2\n")
    with pytest.raises(UserError, match="five lines"):
        p.read_landmarks(tmp_path / "a.txt")
