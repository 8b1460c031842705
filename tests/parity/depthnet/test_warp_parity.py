"""Warps, overlays, the folder driver and the server against pictures of the original program."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from likeness.formats.facewarper import WarpFiles
from likeness.media.image import read_uint8
from likeness.methods.depthnet.overlay import overlay
from likeness.methods.depthnet.server import serve
from likeness.methods.depthnet.warp_dataset import WarpConfig, warp_dataset, warp_files
from likeness.render.face_triangles import FACE_TRIANGLES

PUBLISHED = ("000001_crop", "000002_crop", "000005_crop", "000014_crop", "000027_crop")
RECORDED = {
    "warp_example": ("obama.png",),
    "warp_given_depth": ("obama.png",),
    "rotation_example": ("000000", "000040", "000078", "000150", "000234"),
    "rotation_example_rotsrc": ("000000", "000040", "000078", "000150", "000234"),
    "rotation_given_depth": tuple(f"{i:06d}" for i in range(6)),
}


def files_of(folder, name):
    image = folder / "source" / f"{name}.png"
    texts = (folder / kind / f"{name}.txt" for kind in ("keypoints", "depth", "affine"))
    return WarpFiles(image if image.is_file() else folder / "source/src.png", *texts)


def beyond_one(ours, path):
    return (np.abs(ours.astype(int) - np.asarray(Image.open(path).convert("RGB"))).max(-1) > 1).sum()


def test_triangles_are_the_published_list(data_dir):
    published = json.loads((data_dir / "depthnet/triangles_68.json").read_text())
    np.testing.assert_array_equal(FACE_TRIANGLES, published["triangles"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_row_23_published_results_within_one_grey_level(data_dir, name):
    folder = data_dir / "depthnet/facewarper_example"
    warp = warp_files(files_of(folder, name))
    assert beyond_one(warp.image, folder / "expected_result" / f"{name}.png") == 0


@pytest.mark.parametrize(("case", "name"), [(case, name) for case, names in RECORDED.items() for name in names])
def test_row_23_opengl_pictures(parity_dir, case, name):
    folder = parity_dir / "depthnet/warp" / case
    warp = warp_files(files_of(folder, name))
    assert beyond_one(warp.image, folder / "opengl" / f"{name}.png") <= 0.002 * warp.coverage.sum()
    if (folder / "triangle").is_dir():
        triangle = np.asarray(Image.open(folder / "triangle" / f"{name}.png")).astype(int)
        ours = np.where(warp.coverage, warp.triangle, 255)
        assert (triangle != ours).sum() <= 0.002 * warp.coverage.sum()


def test_row_24_warp_dataset_of_published_faces(data_dir, tmp_path):
    folder = data_dir / "depthnet/facewarper_example"
    warp_dataset(WarpConfig(dataset=folder, results=tmp_path / "out", start_index=1))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{name}.png" for name in PUBLISHED[1:]]
    for name in PUBLISHED[1:]:
        picture = Image.open(tmp_path / "out" / f"{name}.png")
        assert picture.mode == "RGBA"
        assert np.asarray(picture)[..., 3].min() == 255
        assert beyond_one(np.asarray(picture)[..., :3], folder / "expected_result" / f"{name}.png") == 0


def test_row_24_identity_cuts_the_face_out(data_dir, tmp_path):
    folder = data_dir / "depthnet/facewarper_example"
    warp = warp_files(files_of(folder, PUBLISHED[0]), identity=True)
    source = read_uint8(folder / "source" / f"{PUBLISHED[0]}.png")
    np.testing.assert_array_equal(warp.image[warp.coverage], source[warp.coverage])
    assert not warp.image[~warp.coverage].any()


def test_row_24_animation_folder_by_affine_and_one_picture(parity_dir, tmp_path):
    folder = parity_dir / "depthnet/warp/rotation_example"
    config = WarpConfig(
        dataset=folder, results=tmp_path, use_dir="affine", img_override=folder / "source/src.png", start_index=3
    )
    warp_dataset(config)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["000150", "000234"]
    assert beyond_one(read_uint8(tmp_path / "000150.png"), folder / "opengl/000150.png") <= 30


def test_row_25_server_protocol(data_dir, tmp_path):
    folder = data_dir / "depthnet/facewarper_example"
    paths = [
        folder / "source" / f"{PUBLISHED[0]}.png",
        *(folder / kind / f"{PUBLISHED[0]}.txt" for kind in ("keypoints", "depth", "affine")),
        tmp_path / "out.png",
    ]
    out = io.StringIO()
    lines = [" ".join(map(str, paths)) + "\n", "one two\n", "a.png b.txt c.txt d.txt e.png\n"]
    serve(lines, out)
    said = out.getvalue().splitlines()
    assert said[:2] == ["ready", "ready"]
    assert said[2].startswith("error: found 2 words")
    assert said[3] == "ready"
    assert said[4].startswith("error: b.txt: no such file")
    assert said[5:] == ["ready"]
    assert beyond_one(read_uint8(tmp_path / "out.png"), folder / "expected_result" / f"{PUBLISHED[0]}.png") == 0


def test_row_26_published_overlay_exact(data_dir):
    folder = data_dir / "depthnet"
    warp = read_uint8(folder / "published/chris_warped_to_obama.png")
    target = read_uint8(folder / "warp_example/obama.png")
    expected = read_uint8(folder / "published/chris_warped_to_obama_overlay.png")
    np.testing.assert_array_equal(overlay(warp, target), expected)
