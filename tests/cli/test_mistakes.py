"""The command line in clumsy hands: one clear line, never a traceback, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import likeness
from likeness.cli import main as cli
from likeness.engine.config import write_config
from likeness.media.image import write_image
from likeness.methods.depthnet.config import PRESETS


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """A folder with a picture, a text, an empty folder, a run of another method and one of another stage."""
    monkeypatch.chdir(tmp_path)
    write_image("photo.png", np.zeros((32, 32, 3), np.uint8), synthetic=True)
    Path("notes.txt").write_text("hello")
    Path("empty").mkdir()
    for name, method, stage in (("avatar", "bilayer", "base"), ("depth", "depthnet", "depth")):
        write_config(Path(name) / "config.yaml", {"method": method, "stage": stage}, next(iter(PRESETS.values())))
    return tmp_path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tarin depthnet", "no command 'tarin' (did you mean 'train'?): choose one of animate, "),
        ("train dephtnet", "found 'dephtnet' (did you mean 'depthnet'?)"),
        ("repair aply", "needs one of: apply, data, test, train, found 'aply' (did you mean 'apply'?)"),
        ("train depthnet --data empty --preset", "--preset needs a value"),
        ("train depthnet --preset fast", "no preset 'fast': choose exp1_lamb1_sd5_nogan_sigma0_fixm, "),
        ("train depthnet --preset fast", "exp1_lamb100 (stage aign)"),
        ("train depthnet --config avatar/config.yaml", "is of bilayer: give a configuration of depthnet"),
        ("train depthnet --data empty", "empty/train.npz: no such archive"),
        ("train depthnet --epochs -1", "--epochs is -1: expected 0 or more"),
        ("train depthnet --batch-size 0", "--batch-size is 0: expected 1 or more"),
        ("train depthnet --devices 0 --dry-run", "--devices is 0: expected 1 or more"),
        ("train depthnet --lr nan", "--lr is not a number"),
        ("evaluate depthnet --run empty", "empty: is not a run: expected a folder with config.yaml"),
        ("evaluate depthnet --run avatar", "avatar: is a run of bilayer base, expected one of depthnet"),
        ("export depthnet --run avatar --out x", "avatar: is a run of bilayer base, expected one of depthnet"),
        ("repair test --run depth --out x", "depth: is a run of depthnet depth, expected one of depthnet repair"),
        ("animate depthnet --source photo.png --run nowhere", "nowhere: no such checkpoint: give a run's folder"),
        ("animate depthnet --source photo.png --run photo.png", "photo.png: is a picture: give a run's folder"),
        ("animate depthnet --source notes.txt", "notes.txt: cannot be read as a picture"),
        ("animate depthnet --source empty", "empty: holds no picture"),
        ("animate multiface --run depth --data-dir empty --out x.mp4", "expected one of multiface"),
        ("animate neural_actor --run depth --out x.mp4", "expected one of neural_actor renderer"),
        ("animate gmpi --run depth --output-dir x", "expected one of gmpi gmpi"),
        ("capture depthnet photo.png", "cannot be written: where its folder should be, there is a file"),
        ("capture depthnet x --train -3", "--train is -3: expected 0 or more"),
        ("capture bilayer x --size 0", "--size is 0: expected 16 or more"),
        ("capture bilayer x --rate nan", "--rate is nan: expected 0.1 or more"),
        ("capture depthnet x --workers 0", "--workers is 0: expected 1 or more"),
        ("demo --minutes 0 --out x", "--minutes is 0: expected more than 0"),
        ("prepare depthnet nowhere", "nowhere: no such folder"),
        ("warp nowhere --results x", "nowhere: no such folder"),
        ("extract heads photo.png x", "photo.png: is no folder"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_says_how_to_mend_it(desk, capsys, line, message):
    before = sorted(desk.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        cli.main(line.split())
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert message in " ".join(told.split())
    assert "Traceback" not in told
    assert sorted(desk.rglob("*")) == before


def test_a_folder_in_a_files_place_is_named(desk, capsys):
    Path("out.png").mkdir()
    with pytest.raises(SystemExit):
        cli.main(["overlay", "--warp", "photo.png", "--target", "photo.png", "--out", "out.png"])
    assert "out.png: cannot be written: it is a folder, a file was to be written" in capsys.readouterr().err
    assert len(list(desk.iterdir())) == 6


def _refused(words: list[str]) -> None:
    raise PermissionError(13, "Permission denied", "locked/runs")


def test_a_refusal_of_the_machine_is_told_wherever_it_comes_from(capsys, monkeypatch):
    monkeypatch.setattr(cli, "run", _refused)
    with pytest.raises(SystemExit) as stopped:
        cli.main([])
    assert stopped.value.code == 2
    assert "locked/runs: cannot be written or read (Permission denied)" in capsys.readouterr().err


def test_ctrl_c_while_the_command_is_loaded_is_one_line(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "likeness.cli.main", "train", "depthnet", "--data", "nowhere"],
        env=os.environ | {"PYTHONPATH": str(Path(likeness.__file__).parents[1])},
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # torch's libraries are mapped while it is being imported.
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "interrupted\n")
