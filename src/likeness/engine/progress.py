"""The progress bar of a training, and one line an epoch."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor

from likeness.engine.stage import EpochReport


class Progress:
    """A bar with rate and time left on a terminal, and one line for each epoch anywhere."""

    def __init__(self, shown: bool, total: int):
        self.console = Console(stderr=True, quiet=not shown)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not (shown and self.console.is_terminal),
        )
        self.task = self.bar.add_task("training", total=total, rate="")
        self.started, self.done, self.earlier, self.shown_at = time.monotonic(), 0, 0, 0.0

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self.bar.stop()

    def advance(self, steps: int, epoch: int | None = None, latest: Mapping[str, Tensor] | None = None) -> None:
        """`steps` more are done; the shown losses are refreshed a few times a second."""
        now = time.monotonic()
        if latest is None:  # steps of an earlier start say nothing about this one's rate
            self.earlier = steps
            self.bar.update(self.task, completed=steps)
            return
        self.done += steps
        if self.bar.disable or now - self.shown_at < 0.3:
            return
        self.shown_at = now
        losses = " ".join(f"{name} {float(value):.4g}" for name, value in list(latest.items())[:4])
        self.bar.update(
            self.task,
            completed=self.earlier + self.done,
            description=f"epoch {epoch} {losses}",
            rate=f"{self.pace():.1f} steps/s",
        )

    def pace(self) -> float:
        """Steps a second since this start."""
        return self.done / max(time.monotonic() - self.started, 1e-9)

    def report(self, report: EpochReport) -> None:
        """One line for a finished epoch."""
        train = " ".join(f"{name} {value:.5g}" for name, value in report.train.items())
        valid = " ".join(f"{name} {value:.5g}" for name, value in report.valid.items())
        tail = f" | valid {valid}" if valid else ""
        self.console.print(f"epoch {report.epoch} ({report.seconds:.1f} s) {train}{tail}", highlight=False)
