"""Landmark files, split files and archives of 3DFAW: what is read, what is refused and what the refusal says."""

import numpy as np
import pytest

from likeness.errors import UserError
from likeness.formats.depthnet3dfaw import (
    LandmarkArchive,
    SplitRow,
    load_archive,
    normalise,
    read_landmarks,
    read_split_list,
    save_archive,
    write_landmarks,
    write_split_list,
)


@pytest.fixture
def landmarks():
    return np.random.default_rng(0).uniform(0, 200, (66, 3))


def test_row_2_landmarks_are_read_back(tmp_path, landmarks):
    path = tmp_path / "a_lm.csv"
    write_landmarks(path, landmarks)
    np.testing.assert_allclose(read_landmarks(path), landmarks, atol=1e-6)
    path.write_text(path.read_text().rstrip("\n"))
    np.testing.assert_allclose(read_landmarks(path), landmarks, atol=1e-6)
    path.write_text(path.read_text().replace("\n", "\r\n") + "\r\n\n")
    np.testing.assert_allclose(read_landmarks(path), landmarks, atol=1e-6)
    with pytest.raises(ValueError):
        write_landmarks(path, landmarks[:65])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "found 65 rows, expected 66"),
        (lambda lines: lines + lines[:2], "found 68 rows, expected 66"),
        (lambda lines: [], "found 0 rows"),
        (lambda lines: ["1.0,2.0", *lines[1:]], "line 1 has 2 columns"),
        (lambda lines: [*lines[:10], "1.0,two,3.0", *lines[11:]], "line 11 is '1.0,two,3.0'"),
        (lambda lines: [*lines[:10], "1.0,nan,3.0", *lines[11:]], "line 11 holds NaN"),
        (lambda lines: [*lines[:10], "1.0,inf,3.0", *lines[11:]], "line 11 holds NaN or infinity"),
    ],
)
def test_row_2_errors_name_file_and_reason(tmp_path, landmarks, change, message):
    path = tmp_path / "face_lm.csv"
    write_landmarks(path, landmarks)
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(UserError, match=r"face_lm\.csv") as caught:
        read_landmarks(path)
    assert message in str(caught.value)


def test_row_2_absent_and_binary_files(tmp_path):
    with pytest.raises(UserError, match=r"b_lm.csv: no such landmark file"):
        read_landmarks(tmp_path / "b_lm.csv")
    (tmp_path / "c_lm.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match=r"c_lm.csv: cannot be read as text"):
        read_landmarks(tmp_path / "c_lm.csv")


def test_split_file_of_two_and_three_columns(tmp_path):
    path = tmp_path / "list_valid_test.txt"
    path.write_text("a,valid\nb,valid,none,more\nc,test,left\n\n")
    assert read_split_list(path) == [
        SplitRow("a", "valid", None), SplitRow("b", "valid", None), SplitRow("c", "test", "left"),
    ]  # fmt: skip
    write_split_list(path, read_split_list(path))
    assert path.read_text() == "a,valid,none\nb,valid,none\nc,test,left\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n", "line 1"),
        ("a,train\n", "line 1"),
        ("a,test,up\n", "'up'"),
        ("a,test\n", "''"),
        ("a,valid\na,valid\n", "second"),
    ],
)
def test_split_file_errors(tmp_path, text, message):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=r"list\.txt") as caught:
        read_split_list(path)
    assert message in str(caught.value)
    with pytest.raises(UserError, match="no such split file"):
        read_split_list(tmp_path / "absent.txt")


def test_normalise_divides_by_width_height_and_mean(landmarks):
    xy, depth = normalise(landmarks, 320, 240)
    np.testing.assert_allclose(xy, landmarks[:, :2] / [320, 240], rtol=1e-6)
    np.testing.assert_allclose(depth, landmarks[:, 2] / 280, rtol=1e-6)
    assert xy.dtype == depth.dtype == np.float32


def archive(n=3):
    rng = np.random.default_rng(0)
    ids, orientations = np.array([f"i{k}" for k in range(n)]), np.array(["left", "center", "right"][:n])
    return LandmarkArchive(rng.random((n, 66, 2), np.float32), rng.random((n, 66), np.float32), ids, orientations)


def test_archive_round_trip_and_68_landmarks(tmp_path):
    save_archive(tmp_path / "a.npz", archive())
    read = load_archive(tmp_path / "a.npz", require=("ids", "orientations"))
    assert np.array_equal(read.xy, archive().xy)
    assert list(read.orientations) == ["left", "center", "right"]
    xy = np.arange(2 * 68 * 2, dtype=np.float64).reshape(2, 68, 2)
    np.savez(tmp_path / "b.npz", y_keypts=xy, z_keypts=xy[:, :, 0])
    read = load_archive(tmp_path / "b.npz")
    assert read.xy.shape == (2, 66, 2)
    assert np.array_equal(read.xy[0, 58:63], xy[0, [58, 59, 61, 62, 63]])
    assert np.array_equal(read.xy[0, 63:], xy[0, 65:])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y_keypts": np.zeros((2, 66, 2))}, "'z_keypts'"),
        ({"y_keypts": np.zeros((2, 65, 2)), "z_keypts": np.zeros((2, 65))}, r"(2, 65, 2)"),
        ({"y_keypts": np.zeros((2, 66, 2)), "z_keypts": np.zeros((3, 66))}, r"(3, 66)"),
        ({"y_keypts": np.zeros((0, 66, 2)), "z_keypts": np.zeros((0, 66))}, "no face"),
        ({"y_keypts": np.full((2, 66, 2), np.nan), "z_keypts": np.zeros((2, 66))}, "NaN or infinity, first in face 0"),
        ({"y_keypts": np.zeros((2, 66, 2)), "z_keypts": np.array([np.zeros(66), np.full(66, np.inf)])}, "face 1"),
        ({"y_keypts": np.full((2, 66, 2), "x"), "z_keypts": np.zeros((2, 66))}, "expected numbers"),
        ({"y_keypts": np.zeros((2, 66, 2)), "z_keypts": np.zeros((2, 66)), "ids": np.array(["a"])}, "ids"),
        (
            {"y_keypts": np.zeros((1, 66, 2)), "z_keypts": np.zeros((1, 66)), "orientations": np.array(["up"])},
            "['up']",
        ),
        ({"y_keypts": np.array([None]), "z_keypts": np.zeros((2, 66))}, "plain arrays"),
    ],
)
def test_archive_errors_name_the_file(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UserError, match=r"bad\.npz") as caught:
        load_archive(tmp_path / "bad.npz")
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04half", b"plain text"])
def test_broken_archives(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"bad.npz: is empty, half-written"):
        load_archive(tmp_path / "bad.npz")
    save_archive(tmp_path / "good.npz", archive())
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "bad.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="half-written"):
        load_archive(tmp_path / "bad.npz")
    with pytest.raises(UserError, match="no such archive"):
        load_archive(tmp_path / "absent.npz")
    with pytest.raises(UserError, match="'orientations'"):
        save_archive(tmp_path / "plain.npz", LandmarkArchive(archive().xy, archive().depth))
        load_archive(tmp_path / "plain.npz", require=("orientations",))
