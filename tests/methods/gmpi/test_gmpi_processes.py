"""Several processes from one command."""

import os
import subprocess
import sys

import pytest
import torch


@pytest.mark.slow
def test_T07_two_processes_are_repeatable_and_report_failure(collection, tmp_path):
    sizes = "--resolution 16 --z-dim 16 --w-dim 16 --mapping-layers 2 --channel-base 256 --channel-max 16".split()
    line = [sys.executable, "-m", "likeness.cli.main", "train", "gmpi", "--preset", "tiny", *sizes]
    line += ["--data", str(collection), "--planes", "4", "--batch-size", "4", "--max-updates", "2"]
    line += ["--pretrained", "None", "--devices", "2", "--accelerator", "cpu", "--visuals-every", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = []
    for name in ("a", "b"):
        subprocess.run([*line, "--experiment-dir", str(tmp_path / name)], check=True, env=environment)
        (path,) = (tmp_path / name).rglob("*_generator.pth")
        found.append(torch.load(path, weights_only=True))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    failed = subprocess.run([*line, "--data", str(tmp_path / "nowhere")], env=environment, check=False)
    assert failed.returncode != 0
