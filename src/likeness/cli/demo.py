"""`likeness demo`: every method shown on one page."""

import time
from pathlib import Path

from likeness.engine.method import resolve
from likeness.media.report import Section, write_report
from likeness.methods.registry import methods


def demo(out: Path = Path("runs/demo"), minutes: float = 10.0, seed: int = 0) -> None:
    """Make one page, OUT/index.html, that shows the synthetic stage and every method, trained minutes ago.

    Args:
        out: folder of the page and its pictures.
        minutes: time in all; every section gets its share of it.
        seed: of people, weights and noise.
    """
    targets = ["likeness.capture.demo:demo", *(entry.demo for entry in methods() if entry.demo)]
    share = minutes / 10.0
    sections: list[Section] = []
    started = time.monotonic()
    for target in targets:
        name = target.split(".")[-2]
        begun = time.monotonic()
        print(f"demo: {name} ...", flush=True)
        left = minutes - (begun - started) / 60
        if left <= 0:
            sections.append(Section(name, f"Left out: the {minutes:g} minutes were over."))
            print(f"demo: {name} left out, the {minutes:g} minutes are over", flush=True)
            continue
        budget = min((1.25 if name == "depthnet" else 1.0) * share, left)
        sections.append(resolve(target)(out / name, budget, seed))
        print(f"demo: {name} took {time.monotonic() - begun:.0f} s", flush=True)
        write_report(out / "index.html", "likeness", sections)
    print(f"{out / 'index.html'} is ready after {(time.monotonic() - started) / 60:.1f} minutes")
