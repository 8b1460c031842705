"""Two processes that share each batch train as one does.

In float64: Adam's first steps have the size of the learning rate in whatever direction, so that in float32 the rounding
of gradients that should be zero (of biases before a BatchNorm) shows in the third digit of the losses at once.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from likeness.formats.depthnet3dfaw import save_archive

SCRIPT = """
import sys, dataclasses
from pathlib import Path
import torch
from likeness.engine import train
from likeness.methods.depthnet.config import PRESETS
from likeness.methods.depthnet.data import PairBatch
from likeness.methods.depthnet.method import DepthStage
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

class Exact(DepthStage):
    def step(self, batch, ctx):
        fields = (getattr(batch, field.name).double() for field in dataclasses.fields(batch))
        super().step(PairBatch(*fields), ctx)

folder, preset, devices = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
config = dataclasses.replace(
    PRESETS[preset], data=folder / "prepared", experiment_dir=folder / str(devices), epochs=5, max_updates=20,
    batch_size=16, devices=devices, accelerator="cpu", visuals_every=0, validate_every=0, log_every=1,
)
train(Exact, config, method="depthnet", stage="depth", argv=["test"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["exp1_lamb1_sd5_nogan_sigma0_fixm", "exp1_lamb1_sd5_wgan_dnorm0.1_sigma0_fixm"])
def test_two_processes_equal_one_over_20_steps(faces, tmp_path, preset):
    (tmp_path / "script.py").write_text(SCRIPT)
    for split in ("train", "valid"):
        save_archive(tmp_path / "prepared" / f"{split}.npz", faces(64, 0))
    logs = []
    for devices in (1, 2):
        subprocess.run(
            [sys.executable, str(tmp_path / "script.py"), str(tmp_path), preset, str(devices)],
            check=True, timeout=300, capture_output=True,
        )  # fmt: skip
        log = (tmp_path / str(devices) / "runs" / preset / "log.jsonl").read_text().splitlines()
        logs.append([line for line in map(json.loads, log) if line["kind"] == "epoch"])
    assert len(logs[0]) == len(logs[1]) == 5
    for one, two in zip(*logs):
        for name, value in one["train"].items():
            np.testing.assert_allclose(two["train"][name], value, rtol=1e-5, atol=1e-6, err_msg=name)
