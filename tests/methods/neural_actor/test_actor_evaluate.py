"""Evaluation: file names, running means, figures against scikit-image, crops, side-by-side video."""

import json

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from likeness.cli.main import run as command
from likeness.errors import UserError
from likeness.media.image import read_image, read_uint8, write_image
from likeness.media.video import count_frames, probe
from likeness.methods.neural_actor import scores as scores_module
from likeness.methods.neural_actor.scores import ScoresConfig, compare, crop_window, scores, shrunk
from tests.methods.neural_actor.stand_in import write_actor, write_run


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    run = write_run(folder / "run", write_actor(folder / "data", frames=3))
    out = folder / "out"
    command(f"evaluate neural_actor --run {run} --out {out} --views 1,0 --subsample 2 --save-fps 5".split())
    return out


def test_NA22_validate_names_files_by_position_and_writes_an_index(evaluated, capsys):
    names = ["v000_f000000.png", "v000_f000002.png", "v001_f000000.png", "v001_f000002.png"]
    for folder in ("output", "target", "normal", "voxel"):
        assert sorted(file.name for file in (evaluated / folder).iterdir()) == names
    index = json.loads((evaluated / "index.json").read_text())
    cameras = {row["file"]: (row["camera"], row["frame"], row["transform"]) for row in index["pictures"]}
    assert cameras["v000_f000002.png"] == (1, 2, "000002") and cameras["v001_f000000.png"] == (0, 0, "000000")
    mean = np.mean([row["psnr"] for row in index["pictures"]])
    assert index["mean"]["psnr"] == pytest.approx(mean) and set(index["mean"]) == {"psnr", "ssim"}


def test_NA22_side_by_side_video_of_each_view(evaluated):
    for view in ("v000.mp4", "v001.mp4"):
        assert count_frames(evaluated / view) == 2 and probe(evaluated / view).size == (32, 64)


def test_NA22_figures_are_scikit_images(evaluated):
    index = json.loads((evaluated / "index.json").read_text())
    row = index["pictures"][0]
    ours, truth = (read_uint8(evaluated / folder / row["file"]) / 255 for folder in ("output", "target"))
    assert row["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, ours, data_range=1), abs=0.1)
    one, two = torch.rand(2, 3, 20, 24)
    figures = compare(one, two)
    arrays = [image.permute(1, 2, 0).numpy() for image in (one, two)]
    assert figures["psnr"] == pytest.approx(peak_signal_noise_ratio(*arrays, data_range=1), abs=1e-4)
    expected = structural_similarity(*arrays, channel_axis=2, data_range=1)
    assert figures["ssim"] == pytest.approx(expected, abs=1e-4)


def test_NA22_lpips_is_asked_on_minus_one_to_one():
    seen = []

    def distance(first, second):
        seen.append((first, second))
        return torch.tensor([0.25])

    figures = compare(torch.zeros(3, 8, 8), torch.ones(3, 8, 8), distance)
    assert figures["lpips"] == 0.25 and float(seen[0][0].max()) == -1 and float(seen[0][1].min()) == 1


def test_NA22_scores_of_saved_folders_with_crop_and_ratio(evaluated, tmp_path, capsys):
    plain = scores(ScoresConfig(output=evaluated / "output", target=evaluated / "target"))
    names = sorted(file.name for file in (evaluated / "output").iterdir())
    pairs = [[read_uint8(evaluated / folder / name) / 255 for folder in ("target", "output")] for name in names]
    assert plain["psnr"] == pytest.approx(np.mean([peak_signal_noise_ratio(*p, data_range=1) for p in pairs]), abs=1e-3)
    command(
        f"evaluate neural_actor scores --output {evaluated / 'output'} --target {evaluated / 'target'} "
        "--crop 16 12 --ratio 0.75 --pattern v000_*.png".split()
    )
    assert "2 pairs" in capsys.readouterr().out
    write_image(tmp_path / "other.png", torch.zeros(3, 8, 8), synthetic=True)
    with pytest.raises(UserError, match="names are in one only"):
        scores(ScoresConfig(output=evaluated / "output", target=tmp_path))
    with pytest.raises(UserError, match="holds no"):
        scores(ScoresConfig(output=tmp_path, target=tmp_path, pattern="*.jpg"))


def test_NA22_crop_surrounds_what_is_not_white_and_stays_inside():
    picture = torch.ones(3, 20, 30)
    picture[:, 2:6, 24:29] = 0.5
    _, rows, columns = crop_window(picture, (6, 4))
    assert (rows.start, rows.stop) == (1, 7) and (columns.start, columns.stop) == (24, 28)
    _, rows, columns = crop_window(picture, (10, 40))
    assert (rows.start, rows.stop) == (0, 10) and (columns.start, columns.stop) == (0, 30)
    assert shrunk(picture, 0.5).shape == (3, 10, 15)


def test_NA22_fid_of_the_folders(evaluated, monkeypatch):
    monkeypatch.setattr(scores_module, "load_inception", lambda path: None)
    monkeypatch.setattr(
        scores_module,
        "features",
        lambda network, batches, rule: np.stack([batch.float().mean((0, 2, 3)).numpy() for batch in batches]),
    )
    config = ScoresConfig(output=evaluated / "output", target=evaluated / "output", inception=evaluated)
    assert scores(config)["fid"] == pytest.approx(0, abs=1e-6)
    assert (
        scores(ScoresConfig(output=evaluated / "output", target=evaluated / "target", inception=evaluated))["fid"] > 0
    )


def test_NA22_target_is_the_photograph_over_the_background(evaluated):
    target = read_image(evaluated / "target" / "v000_f000000.png")
    assert float(target[:, 0, 0].min()) == 1 and float(target[:, 16, 16].max()) == pytest.approx(0.3, abs=0.01)
