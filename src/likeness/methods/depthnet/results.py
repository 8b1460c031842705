"""What a DepthNet run adds to the engine's files: `results.txt` and the landmark strips of `vis/`."""

import csv
import io
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from likeness.engine import EpochReport
from likeness.files import write_text

RATES = {"generator": "lr_g", "critic": "lr_d"}


def append_result(path: Path, report: EpochReport) -> None:
    """Add the epoch's line: epoch, train_* means, valid_* means, lr_g, lr_d, time (s); a header before the first.

    Lines of this and later epochs, which a resumed run takes again, are replaced.
    """
    values: dict[str, float] = {"epoch": report.epoch}
    values |= {f"train_{name}": value for name, value in report.train.items()}
    values |= {f"valid_{name}": value for name, value in report.valid.items()}
    values |= {RATES.get(name, f"lr_{name}"): rate for name, rate in report.rates.items()}
    values["time"] = report.seconds
    rows = read_results(path) if path.is_file() else []
    rows = [row for row in rows if int(row["epoch"]) < report.epoch] + [{k: repr(v) for k, v in values.items()}]
    columns = list(dict.fromkeys(name for row in (rows[-1], *rows) for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def read_results(path: Path) -> list[dict[str, str]]:
    """The lines of a `results.txt`, by column."""
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def pair_strip(
    source_xy: np.ndarray,
    depth: np.ndarray,
    source_depth: np.ndarray,
    target_xy: np.ndarray,
    target_depth: np.ndarray,
    predicted_xy: np.ndarray,
) -> Tensor:
    """Six panels of one pair as a (3, 600, 2000) picture in [0, 1], 20 x 6 inches at 100 dpi, axes inverted.

    Source, source with predicted depth, source with true depth, target with true depth, predicted target, target;
    landmarks (66, 2), depths (66,).
    """
    panels = [
        ("source", source_xy, None),
        ("source, predicted depth", source_xy, depth),
        ("source, true depth", source_xy, source_depth),
        ("target, true depth", target_xy, target_depth),
        ("predicted target", predicted_xy, None),
        ("target", target_xy, None),
    ]
    figure = Figure(figsize=(20, 6), dpi=100)
    canvas = FigureCanvasAgg(figure)
    for index, (title, xy, z) in enumerate(panels, start=1):
        if z is None:
            axes = figure.add_subplot(1, 6, index)
            axes.scatter(xy[:, 0], xy[:, 1], s=12)
        else:
            axes = figure.add_subplot(1, 6, index, projection="3d")
            axes.scatter(xy[:, 0], z, xy[:, 1], s=12)
            axes.invert_zaxis()
        axes.set_title(title)
        axes.invert_yaxis()
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
