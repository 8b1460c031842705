"""Warp starts without a word."""

import subprocess
import sys


def test_starting_and_drawing_print_nothing():
    code = (
        "import torch; from likeness.render.rasterise import rasterise; "
        "rasterise(torch.zeros(1, 3, 3), torch.tensor([[0, 1, 2]]), (2, 2))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
