"""The Multiface tree: what is written is read back, and damage is explained."""

import numpy as np
import pytest

from likeness.errors import UserError
from likeness.formats import multiface as mf


@pytest.fixture
def records():
    generator = np.random.default_rng(0)
    return {
        name: mf.CameraRecord(generator.normal(size=(3, 3)), np.zeros(5), generator.normal(size=(3, 4)))
        for name in ("400013", "400002")
    }


def test_krt_round_trip_keeps_order_and_bits(tmp_path, records):
    mf.write_krt(tmp_path / "KRT", records)
    back = mf.read_krt(tmp_path / "KRT")
    assert list(back) == ["400013", "400002"]
    for name in records:
        np.testing.assert_array_equal(back[name].extrinsics, records[name].extrinsics)
        np.testing.assert_array_equal(back[name].intrinsics, records[name].intrinsics)


def test_krt_with_a_missing_line_is_explained(tmp_path, records):
    mf.write_krt(tmp_path / "KRT", records)
    lines = (tmp_path / "KRT").read_text().splitlines(keepends=True)
    (tmp_path / "KRT").write_text("".join(lines[:6] + lines[7:]))
    with pytest.raises(UserError, match=r"camera 400013: line 8 should hold 4 numbers of \[R t\]"):
        mf.read_krt(tmp_path / "KRT")


def test_krt_with_a_duplicate_and_an_empty_one(tmp_path, records):
    mf.write_krt(tmp_path / "KRT", records)
    text = (tmp_path / "KRT").read_text()
    (tmp_path / "KRT").write_text(text + text)
    with pytest.raises(UserError, match="comes twice"):
        mf.read_krt(tmp_path / "KRT")
    (tmp_path / "KRT").write_text("\n")
    with pytest.raises(UserError, match="empty"):
        mf.read_krt(tmp_path / "KRT")


def test_bin_of_the_wrong_length_is_explained(tmp_path):
    mf.write_mesh(tmp_path / "a.bin", np.zeros((7, 3)))
    assert mf.read_mesh(tmp_path / "a.bin", 7).shape == (7, 3)
    with pytest.raises(UserError, match="84 bytes, expected 96"):
        mf.read_mesh(tmp_path / "a.bin", 8)
    (tmp_path / "a.bin").write_bytes(b"12345")
    with pytest.raises(UserError, match="5 bytes, expected a multiple of 12"):
        mf.read_mesh(tmp_path / "a.bin")


def test_frame_and_statistics_round_trip(tmp_path):
    generator = np.random.default_rng(1)
    entity = mf.Entity(tmp_path / "m--20000101--0000--77--GHS")
    topology = mf.Topology(
        generator.random((4, 2)).astype(np.float32), np.array([[0, 1, 2]], np.int32), np.array([[3, 0, 1]], np.int32)
    )
    verts = generator.normal(size=(3, 3)).astype(np.float32)
    transform = np.concatenate([np.eye(3), np.ones((3, 1))], axis=1)
    texture = generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    sums = mf.StatisticsAccumulator()
    for index in range(2):
        mf.write_frame(
            entity, "E1", f"{index:06d}", verts=verts + index, transform=transform, topology=topology,
            textures={"c": texture}, average=texture // (index + 1), photos={"c": texture},
        )  # fmt: skip
        sums.add(texture // (index + 1), verts + index)
    mf.write_statistics(entity, sums.result())
    assert entity.name == "77"
    np.testing.assert_array_equal(mf.read_mesh(entity.mesh("E1", "000000")), verts)
    np.testing.assert_array_equal(mf.read_picture(entity.texture("E1", "c", "000001")), texture)
    back = mf.read_topology(entity.topology("E1", "000000"))
    np.testing.assert_array_equal(back.uv_ids, topology.uv_ids)
    np.testing.assert_allclose(back.uvs, topology.uvs, rtol=1e-6)
    statistics = mf.read_statistics(entity)
    assert statistics.vert_var == pytest.approx(0.25, rel=1e-6)
    textures = np.stack([texture, texture // 2]).astype(float)
    assert statistics.tex_var == pytest.approx(np.square(textures - textures.mean(0)).mean(), rel=1e-6)


def test_zero_variance_is_explained(tmp_path):
    entity = mf.Entity(tmp_path)
    mf.write_statistics(entity, mf.Statistics(np.zeros((2, 2, 3), np.uint8), 1.0, np.zeros((1, 3), np.float32), 0.0))
    with pytest.raises(UserError, match=r"vertex variance, found \[0.0\]"):
        mf.read_statistics(entity)


def test_frame_list_and_json_damage(tmp_path):
    (tmp_path / "l.txt").write_text("E1 000001\nE1\n")
    with pytest.raises(UserError, match="line 2"):
        mf.read_frame_list(tmp_path / "l.txt")
    with pytest.raises(UserError, match="absent"):
        mf.read_frame_list(tmp_path / "none.txt")
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(UserError, match="no JSON"):
        mf.read_segments(tmp_path / "s.json")


def test_real_lists_are_read(data_dir):
    pairs = mf.read_frame_list(data_dir / "multiface" / "mini_frame_list.txt")
    assert len(pairs) == 115
    assert sum(segment.startswith("E057") for segment, _ in pairs) == 51
    assert mf.read_segments(data_dir / "multiface" / "mini_test_segment.json") == ("E061_Lips_Puffed",)
    split = mf.read_camera_split(data_dir / "multiface/camera_configs/camera-split-config_6795937.json")
    assert split["train"] == split["test"]
    assert len(split["train"]) == 38


def test_wav_time_counts_dropped_frames():
    assert mf.audio_time("000130", "000100") == 1.0


def test_an_entity_is_told_from_a_folder_of_entities(tmp_path):
    (tmp_path / "m--1--2--3--GHS").mkdir()
    (tmp_path / "m--1--2--3--GHS" / "KRT").write_text("x")
    assert mf.open_entity(tmp_path / "m--1--2--3--GHS").name == "3"
    with pytest.raises(UserError, match="m--1--2--3--GHS: give one of them"):
        mf.open_entity(tmp_path)
