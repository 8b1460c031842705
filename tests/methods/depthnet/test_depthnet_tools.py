"""What the warper's tools owe their users beside the rows: original flags, masks, default names, full disks."""

import errno
import os

import numpy as np
import pytest
from PIL import Image
from skimage import data as pictures

from likeness.cli.main import main, run
from likeness.errors import UserError
from likeness.media.image import read_uint8, write_image
from likeness.methods.depthnet import animate, photo
from likeness.methods.depthnet.compat import rewrite
from likeness.methods.depthnet.facewarper import WarpInput, write_warp_input
from likeness.methods.depthnet.networks import Prediction
from likeness.methods.depthnet.turning import turn_about
from likeness.methods.depthnet.warp_dataset import WarpConfig, warp_dataset


@pytest.fixture
def folder(tmp_path):
    """A FaceWarper folder of two faces whose pictures hold black pixels."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        image = rng.integers(1, 255, (50, 60, 3), dtype=np.uint8)
        image[rng.random((50, 60)) < 0.3] = 0
        write_image(tmp_path / f"data/source/{name}.png", image, synthetic=False)
        face = WarpInput(rng.uniform(2, 48, (68, 2)), np.zeros(68), np.eye(4)[:2])
        write_warp_input(tmp_path / "data", name, face)
    return tmp_path / "data"


def test_row_24_warps_are_opaque_rgba_and_the_original_line_works(folder, tmp_path, capsys):
    run(["warp", "--server_exec", "FaceWarperServer/build/FaceWarperServer", str(folder), f"--results={tmp_path}/out"])
    assert "--server_exec: dropped" in capsys.readouterr().out
    picture = Image.open(tmp_path / "out/a.png")
    assert picture.mode == "RGBA"
    assert np.asarray(picture)[..., 3].min() == 255


def test_row_24_refused_options(folder, tmp_path):
    with pytest.raises(UserError, match="start-index"):
        warp_dataset(WarpConfig(folder, tmp_path, start_index=-1))
    with pytest.raises(UserError, match="img-override"):
        warp_dataset(WarpConfig(folder, tmp_path, img_override=tmp_path / "none.png"))


def test_row_26_coverage_masks_keep_black_pixels_of_the_face(folder, tmp_path):
    warp_dataset(WarpConfig(folder, tmp_path / "out", coverage=tmp_path / "masks"))
    write_image(tmp_path / "target.png", np.full((50, 60, 3), 200, np.uint8), synthetic=False)
    words = ["overlay", "--warp", tmp_path / "out/a.png", "--target", tmp_path / "target.png", "--out"]
    run([*map(str, words), f"{tmp_path}/plain.png"])
    run([*map(str, words), f"{tmp_path}/masked.png", "--coverage", f"{tmp_path}/masks/a.png"])
    warp, mask = read_uint8(tmp_path / "out/a.png"), read_uint8(tmp_path / "masks/a.png")[..., 0] > 0
    plain, masked = read_uint8(tmp_path / "plain.png"), read_uint8(tmp_path / "masked.png")
    leaking = mask & ~warp.any(-1)
    assert leaking.any()
    assert (plain[leaking] == 200).all()
    np.testing.assert_array_equal(masked[mask], warp[mask])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_full_disks_and_read_only_folders_leave_nothing(folder, tmp_path, monkeypatch, capsys, code):
    def refuse(*unused):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("likeness.files.os.fsync", refuse)
    with pytest.raises(SystemExit):
        main(["warp", str(folder), "--results", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "a.png" in said
    assert list((tmp_path / "out").iterdir()) == []


def test_row_27_default_names_and_no_frames(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = lambda source, target: Prediction(source[..., 0] * 0.3, None)  # noqa: E731
    monkeypatch.setattr(animate, "load_generator", lambda path: model)
    write_image(tmp_path / "one.png", pictures.astronaut(), synthetic=False)
    run("animate depthnet --source one.png --angles 0.05 0".split())
    assert (tmp_path / "one_turned.mp4").is_file()
    write_image(tmp_path / "two.png", pictures.astronaut()[:, ::-1][:400, :450], synthetic=False)
    run("animate depthnet --source one.png --target two.png --paste target".split())
    assert read_uint8(tmp_path / "one_as_two.png").shape == (400, 450, 3)
    with pytest.raises(UserError, match="no frame"):
        run("animate depthnet --source one.png --angles 0 0".split())
    (tmp_path / "bare").mkdir()
    write_image(tmp_path / "bare/x.png", np.full((80, 80, 3), 90, np.uint8), synthetic=False)
    with pytest.raises(UserError, match="not one of 1 photographs"):
        run("animate depthnet --source bare".split())


def test_row_33_a_pasted_face_is_resampled_before_it_is_warped():
    """A smooth face that goes into a photograph three times as large stays smooth."""
    y, x = np.mgrid[:120, :160]
    picture = np.stack([x, y, 0 * x + 128], axis=-1).astype(np.uint8)
    rng = np.random.default_rng(0)
    points = rng.uniform([50, 30], [110, 90], (66, 2))
    small = photo.cut_square(picture, points)
    large = photo.cut_square(np.zeros((400, 500, 3), np.uint8), points * 3)
    still = turn_about("y", 0.0, np.zeros(3))
    out = photo.warp_photo(small, np.zeros(66), still, onto=large, background="black")
    inside = out[..., 2] == 128
    steps = np.abs(np.diff(out[..., 0].astype(int), axis=1))[inside[:, 1:] & inside[:, :-1]]
    assert inside.sum() > 5000
    assert steps.max() <= 1, "a third of a grey level a pixel: repeated pixels would stay still, then jump by one"
    rows, columns = np.nonzero(inside)
    expected = (columns + 0.5) / 3 - 0.5
    assert np.abs(out[rows, columns, 0] - expected).max() <= 1.01


def test_original_lines_of_exporters_and_cyclegan(capsys):
    words = rewrite(
        "export", ["single", "--network=architectures/depthnet_shallowd5.py", "--learn_m", "--cpu", "--a=b"]
    )
    assert words == ["single", "--a=b"]
    line = "--name=bg --dataset depthnet_bg_vs_frontal --network=networks/block9_a6b3.py --mode=train --epochs=3 --cpu"
    words = rewrite("repair train", [*line.split(), "--model_save_path=./models", "--save_path=out"])
    assert words == "--experiment-name=bg --epochs=3 --accelerator cpu --experiment-dir=out --task background".split()
    assert "model_save_path: dropped" in capsys.readouterr().out
    assert rewrite("repair train", ["--network", "block9_a3b3.py"]) == ["--task", "faceswap"]
    with pytest.raises(UserError, match="repair test"):
        rewrite("repair train", ["--mode=test"])
    own = ["--task", "faceswap", "--data", "a.h5"]
    assert rewrite("repair train", own) == own
