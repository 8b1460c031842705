"""The warper and the exports against FaceWarper's pictures and the exporter's texts."""

import json

import numpy as np
import pytest
from PIL import Image

from likeness.methods.depthnet import export, turning
from likeness.methods.depthnet.facewarper import read_table, read_warp_input
from likeness.methods.depthnet.networks import FixedAffineGenerator, LearnedAffineGenerator
from likeness.methods.depthnet.overlay import composite
from likeness.methods.depthnet.warp_dataset import IDENTITY, WarpConfig, paint, warp_dataset
from likeness.render.face_triangles import FACE_TRIANGLES
from likeness.render.face_warp import warp_face


def rgb(path):
    return np.asarray(Image.open(path).convert("RGB"))


def members(folder, name):
    return [folder / part / f"{name}.txt" for part in ("keypoints", "depth", "affine")]


def test_triangles_are_the_published_ones(data_dir):
    listed = json.loads((data_dir / "depthnet" / "triangles_68.json").read_text())["triangles"]
    assert np.array_equal(FACE_TRIANGLES, listed)


@pytest.mark.parametrize("name", ["000001", "000002", "000005", "000014", "000027"])
def test_row_23_published_results(data_dir, name):
    folder = data_dir / "depthnet" / "facewarper_example"
    face = read_warp_input(*members(folder, f"{name}_crop"))
    ours = paint(rgb(folder / "source" / f"{name}_crop.png"), face).image.astype(int)
    assert np.abs(ours - rgb(folder / "expected_result" / f"{name}_crop.png")).max() <= 1


CASES = ["rotation_example", "rotation_example_rotsrc", "rotation_given_depth", "warp_example", "warp_given_depth"]


@pytest.mark.parametrize("case", CASES)
def test_row_23_software_opengl_pictures(parity_dir, case):
    folder = parity_dir / "depthnet" / "warp" / case
    for picture in sorted((folder / "opengl").glob("*.png")):
        name = picture.stem
        source = next(path for path in (folder / "source").iterdir() if case.startswith("rot") or path.stem == name)
        face = read_warp_input(*members(folder, name))
        seen = warp_face(rgb(source), face.keypoints, face.depth, face.affine)
        differs = (np.abs(seen.image.astype(int) - rgb(picture)) > 1).any(-1)
        assert differs.sum() <= 0.002 * seen.coverage.sum(), (name, int(differs.sum()))
        if (folder / "raster64").is_dir():
            differs = (np.abs(seen.image.astype(int) - rgb(folder / "raster64" / picture.name)) > 1).any(-1)
            assert differs.sum() <= 0.002 * seen.coverage.sum()
            painted = np.asarray(Image.open(folder / "triangle" / picture.name)).astype(int)
            wrong = np.where(painted == 255, -1, painted) != seen.triangle
            assert wrong.sum() <= 0.002 * seen.coverage.sum()


@pytest.fixture
def fixed(fill, monkeypatch):
    network = fill(FixedAffineGenerator()).eval()
    monkeypatch.setattr(export, "load_generator", lambda path: network)


@pytest.fixture
def learned(fill, monkeypatch):
    network = fill(LearnedAffineGenerator()).eval()
    monkeypatch.setattr(export, "load_generator", lambda path: network)


def single(data_dir, out, **options):
    folder = data_dir / "depthnet" / "warp_example"
    return export.SingleConfig(
        output_dir=out,
        src_kpts_file=folder / "src_keypoints.txt",
        tgt_kpts_file=folder / "obama_keypoints.txt",
        src_img_file=folder / "src.png",
        tgt_img_file=folder / "obama.png",
        kpt_file_separator=" ",
        **options,
    )


def assert_texts(ours, theirs, name):
    ours_k, ours_d, ours_a = (read_table(path, shape, "") for path, shape in zip(members(ours, name), SHAPES))
    theirs_k, theirs_d, theirs_a = (read_table(path, shape, "") for path, shape in zip(members(theirs, name), SHAPES))
    assert np.array_equal(ours_k, theirs_k)
    assert np.abs(ours_d - theirs_d).max() <= 2e-5
    difference = np.abs(ours_a - theirs_a)
    assert difference[:, 2:].max() <= 5e-3 and difference[:, :2].max() <= 5e-5


SHAPES = ((68, 2), (68, 1), (2, 4))


def test_row_19_export_single_tree_names_and_texts(data_dir, parity_dir, tmp_path, fixed):
    export.export_single(single(data_dir, tmp_path))
    recorded = parity_dir / "depthnet" / "warp" / "warp_example"
    assert_texts(tmp_path, recorded, "obama.png")
    for part in ("source", "tgt_images"):
        ours = rgb(tmp_path / part / "obama.png.png").astype(int)
        assert np.abs(ours - rgb(recorded / part / "obama.png.png")).max() <= 1
    assert (tmp_path / "expected_result").is_dir()
    assert len(list((tmp_path / "plot_warp" / "obama.png").glob("*.png"))) == 100
    assert len(list((tmp_path / "plots").iterdir())) == 3
    warp_dataset(WarpConfig(tmp_path, tmp_path / "expected_result", use_dir="tgt_images"))
    warped = rgb(tmp_path / "expected_result" / "obama.png.png").astype(int)
    assert (np.abs(warped - rgb(recorded / "opengl" / "obama.png.png")) > 2).any(-1).mean() < 0.01


def test_row_32_learned_affine_export(data_dir, parity_dir, tmp_path, learned):
    export.export_single(single(data_dir, tmp_path, save_plots=False))
    assert_texts(tmp_path, parity_dir / "depthnet" / "warp" / "warp_example_learnm", "obama.png")


def animation(data_dir, out, **options):
    folder = data_dir / "depthnet" / "rotation_example"
    common = {"tgt_angle_1": 0.785, "tgt_angle_2": -0.785, "scale_depth": 1.0, "axis": "y", "save_plots": False}
    return export.AnimationConfig(
        output_dir=out,
        src_kpts_file=folder / "keypoints.txt",
        tgt_kpts_file=folder / "keypoints.txt",
        src_img_file=folder / "src.png",
        tgt_img_file=folder / "src.png",
        kpt_file_separator=" ",
        **(common | options),
    )


@pytest.mark.parametrize(("case", "turned"), [("rotation_example", False), ("rotation_example_rotsrc", True)])
def test_row_21_row_22_animation_frames(data_dir, parity_dir, tmp_path, fixed, case, turned):
    export.export_animation(animation(data_dir, tmp_path, rotate_source=turned))
    names = sorted(path.stem for path in (tmp_path / "affine").iterdir())
    assert len(names) == 235 and names[0] == "000000"
    recorded = parity_dir / "depthnet" / "warp" / case
    for name in ("000000", "000040", "000078", "000150", "000234"):
        assert_texts(tmp_path, recorded, name)
    with np.load(recorded / "all_frames.npz") as frames:
        for number, name in enumerate(names):
            affine = read_table(tmp_path / "affine" / f"{name}.txt", (2, 4), "")
            difference = np.abs(affine - frames["affine"][number])
            assert difference[:, 2:].max() <= 5e-3 and difference[:, :2].max() <= 5e-5
    source = rgb(tmp_path / "source" / "src.png").astype(int)
    assert np.abs(source - rgb(recorded / "source" / "src.png")).max() <= 1


def test_row_21_row_22_rotations_and_source_affines(recorded):
    geometry = recorded("geometry")
    for axis in "xyz":
        for number, angle in enumerate(geometry["angles"]):
            np.testing.assert_allclose(turning.rotation(axis, angle), geometry[f"rot_{axis}"][number], atol=1e-6)
            for mean, std in ((0.5, 0.5), (0.0, 1.0), (0.3, 0.25)):
                ours = turning.rotate_source_affine(axis, angle, std)
                np.testing.assert_allclose(ours, geometry[f"affine_{axis}_{mean}_{std}"][number], atol=1e-6)


def test_row_26_overlay_is_the_published_picture(data_dir):
    folder = data_dir / "depthnet"
    ours = composite(
        rgb(folder / "published" / "chris_warped_to_obama.png"), rgb(folder / "warp_example" / "obama.png")
    )
    assert np.array_equal(ours, rgb(folder / "published" / "chris_warped_to_obama_overlay.png"))


def test_identity_cuts_the_face_out(data_dir):
    folder = data_dir / "depthnet" / "facewarper_example"
    source = rgb(folder / "source" / "000001_crop.png")
    face = read_warp_input(*members(folder, "000001_crop"))
    seen = warp_face(source, face.keypoints, face.depth, IDENTITY)
    inside = seen.coverage
    assert 0.2 < inside.mean() < 0.9
    assert np.abs(seen.image.astype(int) - source)[inside].max() <= 1 and not seen.image[~inside].any()
