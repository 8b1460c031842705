"""Speed of the hot paths, each against a plain baseline measured in the same run.

`python -m benchmarks [NAME ...]` runs the named scripts of this folder (all without a name), and writes
`benchmarks/RESULTS.md`. Times are the best of several repeats on one thread; run it on an idle machine.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Row:
    """One measured path."""

    what: str
    seconds: float
    baseline: str
    """What it is compared with."""
    baseline_seconds: float
    goal: str = ""
    """What was to be reached, in words."""

    def line(self) -> str:
        """The row as Markdown."""
        ratio = self.baseline_seconds / self.seconds
        return (
            f"| {self.what} | {_shown(self.seconds)} | {self.baseline} | {_shown(self.baseline_seconds)} "
            f"| {ratio:.1f}x | {self.goal} |"
        )


def best_time(function: Callable[[], object], repeats: int = 5, warm_up: int = 1) -> float:
    """Seconds of the fastest of `repeats` calls, after `warm_up` calls that do not count."""
    for _ in range(warm_up):
        function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times)


def machine() -> str:
    """Processor, threads and versions, for the heading of a table."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{model}{gpu}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def _shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.2f} ms"
