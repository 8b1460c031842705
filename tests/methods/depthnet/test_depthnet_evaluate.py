"""Evaluation of runs, and figures 2 and 3."""

import numpy as np
import pytest
from PIL import Image

from likeness.engine import train
from likeness.errors import UserError
from likeness.formats.depthnet3dfaw import load_archive
from likeness.methods.depthnet.config import DepthConfig
from likeness.methods.depthnet.evaluate import EvaluateConfig, evaluate
from likeness.methods.depthnet.figures import FiguresConfig, figures
from likeness.methods.depthnet.method import DepthStage


@pytest.fixture
def run(prepared, tmp_path):
    config = DepthConfig(data=prepared, experiment_dir=tmp_path, epochs=1, batch_size=8, visuals_every=0)
    return train(DepthStage, config, method="depthnet", stage="depth", argv=["test"])


def test_row_14_a_run_is_evaluated_on_its_own_data(run, prepared, capsys):
    evaluate(EvaluateConfig(run=run.folder))
    text = capsys.readouterr().out
    assert text.startswith("Computing stats on validation set...\nDepthCorr:\n")
    assert "Computing stats on test set...\nDepthCorr:\n\tleft\t\tcenter\t\tright\nleft\t" in text
    assert text.count("kp error: ") == 11
    (prepared / "test.npz").unlink()
    evaluate(EvaluateConfig(run=run.folder))
    assert "left out" in capsys.readouterr().out
    with pytest.raises(UserError, match="no such archive"):
        evaluate(EvaluateConfig(run=run.folder, dump_depths=prepared / "d.npz"))
    with pytest.raises(UserError, match="only a run knows its data"):
        evaluate(EvaluateConfig(run=run.checkpoints.path(run.checkpoints.find(), "generator")))


def test_row_16_evaluate_dumps(run, tmp_path):
    evaluate(EvaluateConfig(run=run.folder, dump_depths=tmp_path / "d.npz"))
    assert np.load(tmp_path / "d.npz")["preds"].shape == (9, 9, 66)


@pytest.mark.parametrize("with_mofa", [False, True])
def test_row_17_figures(prepared, tmp_path, capsys, with_mofa):
    test = load_archive(prepared / "test.npz")
    rng = np.random.default_rng(0)
    (prepared / "valid_img_cropped_80x80").mkdir()
    for name in test.ids:
        Image.new("RGB", (80, 80), (120, 80, 60)).save(prepared / "valid_img_cropped_80x80" / f"{name}.jpg")
    for name in ("a", "b", "gan"):
        np.savez(tmp_path / f"{name}.npz", preds=rng.normal(0, 0.1, (9, 9, 66)))
    np.savez(tmp_path / "aign.npz", preds=rng.normal(0, 0.1, (9, 66)))
    if with_mofa:
        ids = np.array([name.encode() for name in test.ids[:2]])
        np.savez(prepared / "mofa.npz", ids=ids, kps=rng.random((2, 3, 66)))
    config = FiguresConfig(
        data=prepared,
        depthnet_npz=f"{tmp_path / 'a.npz'},{tmp_path / 'b.npz'}",
        depthnet_gan_npz=str(tmp_path / "gan.npz"),
        aign_npz=str(tmp_path / "aign.npz"),
        out=tmp_path / "output",
    )
    figures(config)
    told = capsys.readouterr().out
    maps = {"heatmap_dn.png", "heatmap_dn_gan.png", "heatmap_aign.png"}
    if with_mofa:
        assert {path.name for path in config.out.iterdir()} == maps | {"0.png", "1.png", "heatmap_mofa.png"}
        assert "id002: left out, MOFA has no such face" in told
    else:
        assert {path.name for path in config.out.iterdir()} == maps | {f"{i}.png" for i in range(9)}
        assert "MOFA's panels and heat map are left out" in told
    assert Image.open(config.out / "0.png").size == (3000, 500)
    np.savez(tmp_path / "a.npz", preds=rng.random((3, 3, 66)))
    with pytest.raises(UserError, match="expected"):
        figures(config)
