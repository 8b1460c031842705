"""Exports against the recorded output of the original exporters, with filled networks."""

from pathlib import Path

import numpy as np
import pytest

from likeness.formats.facewarper import read_affine, read_depth, read_keypoints
from likeness.geometry.face_landmarks import to_68
from likeness.media.image import read_uint8
from likeness.methods.depthnet.export import (
    AnimConfig,
    MultiConfig,
    SingleConfig,
    export_anim,
    export_multi,
    export_single,
)
from likeness.methods.depthnet.networks import FixedAffineGenerator, LearnedAffineGenerator
from likeness.methods.depthnet.turning import rotation, rotation_affine, sweep

AFFINE_TOLERANCE = np.array([5e-5, 5e-5, 5e-3, 5e-3])


@pytest.fixture(scope="module")
def models(request, parity_dir):
    fill = request.getfixturevalue("fill")
    return {"fixm": fill(FixedAffineGenerator()).eval(), "learnm": fill(LearnedAffineGenerator()).eval()}


def single(data_dir: Path, out: Path, **changes) -> SingleConfig:
    folder = data_dir / "depthnet/warp_example"
    return SingleConfig(
        src_kpts_file=folder / "src_keypoints.txt",
        src_img_file=folder / "src.png",
        tgt_kpts_file=folder / "obama_keypoints.txt",
        tgt_img_file=folder / "obama.png",
        output_dir=out,
        kpt_file_separator=" ",
        **changes,
    )


def anim(data_dir: Path, out: Path, **changes) -> AnimConfig:
    folder = data_dir / "depthnet/rotation_example"
    settings = dict(axis="y", tgt_angle_1=0.785, tgt_angle_2=-0.785, scale_depth=1.0)
    return AnimConfig(
        src_kpts_file=folder / "keypoints.txt",
        src_img_file=folder / "src.png",
        tgt_kpts_file=folder / "keypoints.txt",
        tgt_img_file=folder / "src.png",
        output_dir=out,
        kpt_file_separator=" ",
        **(settings | changes),
    )


def assert_same_texts(ours: Path, recorded: Path):
    for path in sorted((recorded / "affine").iterdir()):
        assert (np.abs(read_affine(ours / "affine" / path.name) - read_affine(path)) <= AFFINE_TOLERANCE).all()
        depths = [read_depth(folder / "depth" / path.name) for folder in (ours, recorded)]
        np.testing.assert_allclose(*depths, rtol=0, atol=2e-5)
        points = [read_keypoints(folder / "keypoints" / path.name) for folder in (ours, recorded)]
        np.testing.assert_array_equal(*points)


@pytest.mark.parametrize(("case", "kind"), [("warp_example", "fixm"), ("warp_example_learnm", "learnm")])
def test_row_19_and_32_export_single(data_dir, parity_dir, models, tmp_path, case, kind):
    export_single(single(data_dir, tmp_path), models[kind])
    recorded = parity_dir / "depthnet/warp" / case
    assert_same_texts(tmp_path, recorded)
    names = {path.name for path in tmp_path.iterdir()}
    expected = {"source", "tgt_images", "keypoints", "depth", "affine", "expected_result", "plots", "plot_warp"}
    assert names == expected
    assert {path.name for path in (tmp_path / "keypoints").iterdir()} == {"obama.png.txt"}
    assert len(list((tmp_path / "plot_warp").iterdir())) == 100
    assert (tmp_path / "plot_warp/000000.png").is_file()
    if (recorded / "source").is_dir():
        for name in ("source", "tgt_images"):
            images = [read_uint8(folder / name / "obama.png.png").astype(int) for folder in (tmp_path, recorded)]
            assert np.abs(images[0] - images[1]).max() <= 1


def test_row_19_output_sizes(data_dir, models, tmp_path):
    export_single(single(data_dir, tmp_path / "src", output_size="src"), models["fixm"])
    assert read_uint8(tmp_path / "src/source/obama.png.png").shape == (500, 500, 3)
    export_single(single(data_dir, tmp_path / "64", output_size="64"), models["fixm"])
    assert read_uint8(tmp_path / "64/tgt_images/obama.png.png").shape == (64, 64, 3)
    full, small = (read_affine(tmp_path / name / "affine/obama.png.txt") for name in ("src", "64"))
    np.testing.assert_allclose(small[:, 2:] * 500 / 64, full[:, 2:], atol=1e-3)


def test_row_20_export_multi(data_dir, parity_dir, models, tmp_path, capsys):
    folder = data_dir / "depthnet/warp_example"
    (tmp_path / "images").mkdir()
    (tmp_path / "points").mkdir()
    for name in ("obama", "other", "nameless"):
        (tmp_path / f"images/{name}.png").write_bytes((folder / "obama.png").read_bytes())
        if name != "nameless":
            (tmp_path / f"points/{name}.txt").write_bytes((folder / "obama_keypoints.txt").read_bytes())
    one = single(data_dir, tmp_path / "out")
    config = MultiConfig(
        src_kpts_file=one.src_kpts_file,
        src_img_file=one.src_img_file,
        tgt_kpts_dir=tmp_path / "points",
        tgt_img_dir=tmp_path / "images",
        output_dir=tmp_path / "out",
        kpt_file_separator=" ",
        save_plots=True,
    )
    export_multi(config, models["fixm"])
    assert "nameless.png: left out" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out/affine").iterdir()) == ["obama.png.txt", "other.png.txt"]
    assert (tmp_path / "out/plots/other_pred.png").is_file()
    assert_same_texts(tmp_path / "out", parity_dir / "depthnet/warp/warp_example")


@pytest.mark.parametrize(("case", "turn"), [("rotation_example", False), ("rotation_example_rotsrc", True)])
def test_row_21_and_22_export_anim(data_dir, parity_dir, models, tmp_path, case, turn):
    export_anim(anim(data_dir, tmp_path, rotate_source=turn), models["fixm"])
    recorded = parity_dir / "depthnet/warp" / case
    assert_same_texts(tmp_path, recorded)
    frames = np.load(recorded / "all_frames.npz")
    names = sorted(path.name for path in (tmp_path / "affine").iterdir())
    assert names == [f"{index:06d}.txt" for index in range(235)]
    affines = np.stack([read_affine(tmp_path / "affine" / name) for name in names])
    depths = np.stack([read_depth(tmp_path / "depth" / name) for name in names])
    assert (np.abs(affines - frames["affine"]) <= AFFINE_TOLERANCE).all()
    np.testing.assert_allclose(depths, frames["depth"], rtol=0, atol=2e-5)
    np.testing.assert_array_equal(read_keypoints(tmp_path / "keypoints/000000.txt"), frames["keypoints"])
    assert (tmp_path / "source/src.png").is_file()
    for kind in ("plot_source", "plot_target"):
        assert len(list((tmp_path / kind).iterdir())) == 235


def test_row_21_rotations_and_frame_count(recorded):
    geometry = recorded("geometry")
    for axis in "xyz":
        ours = np.stack([rotation(axis, angle) for angle in geometry["angles"]])
        np.testing.assert_allclose(ours, geometry[f"rot_{axis}"], atol=1e-6)
    assert len(sweep(0.785, -0.785)) == 78 + 157
    assert sweep(0.785, -0.785)[77] == sweep(0.785, -0.785)[78] == 0.785


def test_row_22_rotate_source_affines(recorded):
    geometry = recorded("geometry")
    for axis in "xyz":
        for std in (0.5, 1.0, 0.25):
            key = {0.5: "0.5_0.5", 1.0: "0.0_1.0", 0.25: "0.3_0.25"}[std]
            ours = np.stack([rotation_affine(rotation(axis, a), (1, 1), std) for a in geometry["angles"]])
            np.testing.assert_allclose(ours, geometry[f"affine_{axis}_{key}"], atol=1e-6)


def test_row_18_66_to_68(recorded):
    geometry = recorded("geometry")
    np.testing.assert_allclose(to_68(geometry["k66"]), geometry["k68"], atol=1e-6)
    np.testing.assert_allclose(to_68(geometry["z66"][:, None])[:, 0], geometry["z68"], atol=1e-6)
