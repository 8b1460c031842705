"""The stage's section of the demo page."""

import time
from pathlib import Path

from torch import Tensor

from likeness.capture.sheets import body, head, truth
from likeness.media.image import grid, write_image
from likeness.media.report import Section

HEADS, BODIES = 16, 8


def demo(folder: Path, minutes: float, seed: int) -> Section:
    """Heads, bodies and one frame's truth; what does not fit into `minutes` is left out and said so."""
    end = time.monotonic() + 60 * minutes * 0.9
    started, cpu = time.monotonic(), time.process_time()
    frame = head(seed)
    write_image(folder / "truth.png", grid(truth(frame), 7), synthetic=True)
    figures: list[tuple[str | Path, str]] = [
        (folder / "truth.png", "One frame: picture, landmarks (hidden ones red), depth, alpha, parts, texture, normals")
    ]
    taken = {}
    for name, shot, count in (("heads", head, HEADS), ("bodies", body, BODIES)):
        images: list[Tensor] = []
        for number in range(count):
            if images and time.monotonic() > end:
                break
            images.append(shot(seed + number).image)
        write_image(folder / f"{name}.png", grid(images, 8), synthetic=True)
        figures.append((folder / f"{name}.png", f"{len(images)} {name}, each of another person"))
        taken[name] = len(images)
    left_out = HEADS + BODIES - sum(taken.values())
    text = "People with exact ground truth: no photograph, no licensed data. All of it comes from a seed."
    if left_out:
        text += f" {left_out} pictures were left out: the time was over."
    rows = [
        ("people made or read from the cache", max(taken.values())),
        ("pictures", 1 + sum(taken.values())),
        ("seconds", time.monotonic() - started),
        ("CPU seconds", time.process_time() - cpu),
    ]
    return Section("The synthetic stage", text, figures, rows)
