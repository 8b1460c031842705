"""FaceWarper folders without the fixtures: bad files, incomplete ids, the server as a process, overlays."""

import subprocess
import sys

import numpy as np
import pytest

from likeness.errors import UserError
from likeness.formats.facewarper import (
    read_affine,
    read_depth,
    read_keypoints,
    read_picture_keypoints,
    write_affine,
    write_depth,
    write_keypoints,
)
from likeness.media.image import read_uint8, write_image
from likeness.media.synthetic import is_marked_synthetic
from likeness.methods.depthnet.overlay import OverlayConfig, overlay, overlay_files
from likeness.methods.depthnet.warp_dataset import IDENTITY, WarpConfig, warp_dataset
from likeness.render.face_warp import warp_face


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    points = rng.uniform(2, 38, (68, 2))
    for name, size in (("a", (40, 40)), ("b.png", (50, 60))):
        write_image(
            tmp_path / f"data/source/{name}.png", rng.integers(1, 255, (*size, 3), dtype=np.uint8), synthetic=False
        )
        write_keypoints(tmp_path / f"data/keypoints/{name}.txt", points)
        write_depth(tmp_path / f"data/depth/{name}.txt", rng.normal(size=68))
        write_affine(tmp_path / f"data/affine/{name}.txt", IDENTITY)
    return tmp_path / "data"


def test_row_24_incomplete_ids_are_told_and_left_out(folder, tmp_path, capsys):
    (folder / "depth/a.txt").unlink()
    warp_dataset(WarpConfig(dataset=folder, results=tmp_path / "out"))
    said = capsys.readouterr().out
    assert "a: left out" in said
    assert "depth/a.txt" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png.png"]
    assert read_uint8(tmp_path / "out/b.png.png").shape == (50, 60, 3)
    assert is_marked_synthetic(tmp_path / "out/b.png.png")


def test_row_24_bad_options(folder, tmp_path):
    with pytest.raises(UserError, match="use-dir"):
        warp_dataset(WarpConfig(dataset=folder, results=tmp_path, use_dir="nowhere"))
    with pytest.raises(UserError, match="img-override"):
        warp_dataset(WarpConfig(dataset=folder, results=tmp_path, img_override=tmp_path / "none.png"))


def test_row_25_server_is_a_process(folder, tmp_path):
    words = [folder / "source/a.png", *(folder / kind / "a.txt" for kind in ("keypoints", "depth", "affine"))]
    command = " ".join(map(str, [*words, tmp_path / "out.png"])) + "\n"
    program = "from likeness.methods.depthnet.server import main; main()"
    result = subprocess.run([sys.executable, "-c", program], input=command, capture_output=True, text=True, check=True)
    assert [line for line in result.stdout.splitlines() if "ready" in line or "error" in line] == ["ready", "ready"]
    assert (tmp_path / "out.png").is_file()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 2\n" * 67, "holds 67 lines, expected 68"),
        ("1 2\n" * 67 + "1 x\n", "line 68 is not made of numbers"),
        ("1 2\n" * 67 + "1\n", "line 68 holds 1 values"),
        ("1 nan\n" + "1 2\n" * 67, "line 1 holds a value that is not finite"),
        ("", "holds 0 lines"),
    ],
)
def test_bad_landmark_files_are_named(tmp_path, text, says):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        read_keypoints(path)
    assert "bad.txt" in str(caught.value)


def test_files_without_last_newline_keep_their_last_value(tmp_path):
    (tmp_path / "d.txt").write_text("\n".join(str(i) for i in range(68)))
    assert read_depth(tmp_path / "d.txt")[-1] == 67
    (tmp_path / "a.txt").write_text("1 0 0 0\n0 1 0 9")
    assert read_affine(tmp_path / "a.txt")[1, 3] == 9
    (tmp_path / "k.txt").write_text("\n".join(f"{i},{i + 1}" for i in range(66)))
    assert read_picture_keypoints(tmp_path / "k.txt").shape == (66, 2)
    (tmp_path / "k68.txt").write_text("\n".join(f"{i} {i} 0" for i in range(68)))
    assert 60 not in read_picture_keypoints(tmp_path / "k68.txt", " ")[:, 0]
    with pytest.raises(UserError, match="separator"):
        read_picture_keypoints(tmp_path / "k.txt", " ")


def test_row_26_overlay_rule_mask_and_feather(folder, tmp_path):
    rng = np.random.default_rng(1)
    image = read_uint8(folder / "source/a.png")
    warp = warp_face(image, read_keypoints(folder / "keypoints/a.txt"), np.zeros(68), IDENTITY)
    dark = warp.image.copy()
    dark[warp.coverage & (rng.random((40, 40)) < 0.5)] = 0
    target = np.full_like(image, 200)
    assert (overlay(dark, target)[warp.coverage & ~dark.any(2)] == 200).all()
    assert (overlay(dark, target, warp.coverage)[warp.coverage] == dark[warp.coverage]).all()
    soft = overlay(dark, target, warp.coverage, feather=3)
    assert (soft[~warp.coverage] == 200).all()
    write_image(tmp_path / "a.png", dark, synthetic=True)
    write_image(tmp_path / "t.png", target, synthetic=False)
    overlay_files(
        OverlayConfig(
            warp=tmp_path / "a.png", target=tmp_path / "t.png", out=tmp_path / "o.png", mask="coverage", dataset=folder
        )
    )
    np.testing.assert_array_equal(read_uint8(tmp_path / "o.png"), overlay(dark, target, warp.coverage))
    write_image(tmp_path / "small.png", target[:20], synthetic=False)
    with pytest.raises(UserError, match="different sizes"):
        overlay_files(OverlayConfig(warp=tmp_path / "a.png", target=tmp_path / "small.png", out=tmp_path / "o.png"))
