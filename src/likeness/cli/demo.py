"""`likeness demo`: every method shown on one page."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

from likeness.engine.method import resolve
from likeness.errors import UserError
from likeness.media.report import Section, write_report
from likeness.methods.registry import methods

SHARES = {"depthnet": 1.25, "bilayer": 2.0, "multiface": 2.5}
"""Minutes of ten for the sections that need more than one."""


def demo(out: Path = Path("runs/demo"), minutes: float = 10.0, seed: int = 0) -> None:
    """Make one page, OUT/index.html, that shows the synthetic stage and every method, trained minutes ago.

    Args:
        out: folder of the page and its pictures.
        minutes: time in all; every section gets its share of it.
        seed: of people, weights and noise.
    """
    if minutes <= 0:
        raise UserError(f"--minutes is {minutes:g}: expected more than 0")
    targets = ["likeness.capture.demo:demo", *(entry.demo for entry in methods() if entry.demo)]
    sections: list[Section] = []
    started = time.monotonic()
    for target in targets:
        name = target.split(":")[0].split(".")[-2]
        begun = time.monotonic()
        left = 60 * minutes - (begun - started)
        budget = SHARES.get(name, 1.0) * minutes / 10
        limit = min(1.5 * 60 * budget + 20, left)
        print(f"demo: {name} ...", flush=True)
        sections.append(_within(target, out / name, budget, seed, limit, name))
        print(f"demo: {name} took {time.monotonic() - begun:.0f} s", flush=True)
        write_report(out / "index.html", "likeness", sections)
    print(f"{out / 'index.html'} is ready after {(time.monotonic() - started) / 60:.1f} minutes")


def _within(target: str, folder: Path, budget: float, seed: int, limit: float, name: str) -> Section:
    """The section that `target` makes, in a process of its own that is cut off after `limit` seconds."""
    if limit <= 0:
        return Section(name, "Left out: the time was over.")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, target, folder, budget, seed))
    process.start()
    theirs.close()
    try:
        if ours.poll(limit):
            return ours.recv()
    except EOFError:
        process.join()
        return Section(
            name, f"Failed: the process ended with status {process.exitcode}; its message is above the page."
        )
    finally:
        process.kill()
        process.join()
    return Section(name, f"Cut off after {limit:.0f} seconds: give it more with --minutes, or an idle machine.")


def _run(answer: Connection, target: str, folder: Path, budget: float, seed: int) -> None:
    answer.send(resolve(target)(folder, budget, seed))
