"""What a training writes for eyes: TensorBoard, `log.jsonl`, `losses.pkl`, pictures."""

import json
import pickle
import time
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from likeness.engine.run import Run
from likeness.engine.stage import EpochReport
from likeness.files import write_bytes, write_text
from likeness.media.image import write_image


class Logs:
    """The log files of one run; only the first process has one.

    `metrics/` follows the steps (`losses/*`, `lrs/*`, `timing/*`) and the validations (`metrics/*`),
    `tensorboard_paper/` the epochs (`<measure>_<phase>` and pictures `results_<phase>`), as the bilayer avatars' users
    know them.
    """

    def __init__(self, run: Run, update: int, history: dict[str, list[float]]):
        self.run, self.history = run, history
        self.jsonl = run.folder / "log.jsonl"
        self.started = time.monotonic()
        self._forget_after(update)
        self.steps = SummaryWriter(str(run.folder / "metrics"), purge_step=update + 1)
        self.epochs = SummaryWriter(str(run.folder / "tensorboard_paper"), purge_step=update + 1)

    def step(self, epoch: int, update: int, values: dict[str, float], rates: dict[str, float], pace: float) -> None:
        """Scalars of one step; `pace` is steps a second, the line's `wall` seconds since this start."""
        for name, value in values.items():
            self.steps.add_scalar(f"losses/{name}", value, update)
        for name, rate in rates.items():
            self.steps.add_scalar(f"lrs/{name}", rate, update)
        self.steps.add_scalar("timing/steps_per_second", pace, update)
        line = {"kind": "step", "epoch": epoch, "update": update, **values, "lr": rates, "pace": round(pace, 3)}
        self._append(line | {"wall": round(time.monotonic() - self.started, 1)})

    def validation(self, epoch: int, update: int, values: dict[str, float]) -> None:
        """Measures of one validation."""
        for name, value in values.items():
            self.steps.add_scalar(f"metrics/{name}", value, update)
        self._append({"kind": "valid", "epoch": epoch, "update": update, **values})

    def epoch(self, report: EpochReport, rejections: dict[str, int]) -> None:
        """Means of one epoch; also refreshes `losses.pkl`, a dictionary `<measure>_<phase>` -> value per epoch."""
        for phase, values in (("train", report.train), ("test", report.valid)):
            for name, value in values.items():
                self.epochs.add_scalar(f"{name}_{phase}", value, report.update)
                self.history.setdefault(f"{name}_{phase}", []).append(value)
        write_bytes(self.run.folder / "losses.pkl", pickle.dumps(self.history))
        line = {"kind": "epoch", "epoch": report.epoch, "update": report.update, "train": report.train}
        line |= {"valid": report.valid, "lr": report.rates, "seconds": round(report.seconds, 3)}
        self._append(line | ({"rejected": rejections} if rejections else {}))
        for writer in (self.steps, self.epochs):
            writer.flush()

    def pictures(self, phase: str, stem: str, update: int, pictures: dict[str, Tensor]) -> None:
        """Write `images/<phase>/<stem>_<name>.png` and show the same in TensorBoard."""
        for name, picture in pictures.items():
            write_image(self.run.images(phase) / f"{stem}_{name}.png", picture, synthetic=True)
            self.epochs.add_image(f"results_{phase}/{name}", np.asarray(picture.detach().float().cpu()), update)

    def images(self, update: int, pictures: dict[str, Tensor]) -> None:
        """Show pictures of one step among its scalars."""
        for name, picture in pictures.items():
            self.steps.add_image(f"images/{name}", np.asarray(picture.detach().float().cpu()), update)

    def close(self) -> None:
        """Flush and close the TensorBoard files."""
        self.steps.close()
        self.epochs.close()

    def _append(self, document: dict) -> None:
        with open(self.jsonl, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(document) + "\n")

    def _forget_after(self, update: int) -> None:
        """Drop the lines of steps that a resumed run will take again."""
        if not self.jsonl.is_file():
            return
        kept = [line for line in self.jsonl.read_text(encoding="utf-8").splitlines() if _update(line) <= update]
        write_text(self.jsonl, "".join(line + "\n" for line in kept))


def read_log(path: Path) -> list[dict]:
    """The lines of a run's `log.jsonl`; a last line that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if _update(line) < float("inf")]


def _update(line: str) -> float:
    try:
        return json.loads(line)["update"]
    except (json.JSONDecodeError, KeyError):
        return float("inf")
