"""Charts and captioned picture strips, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from likeness.files import atomic_path
from likeness.media.synthetic import SYNTHETIC_NOTE


def new_figure(width: float = 6.4, height: float = 4.0) -> Figure:
    """An empty figure of `width` by `height` inches that belongs to no window and to no global list."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 120, synthetic: bool = False) -> None:
    """Write `figure` to `path` (.png, .svg or .pdf) atomically; `synthetic` adds the note to a PNG."""
    path = Path(path)
    metadata = {"Comment": SYNTHETIC_NOTE} if synthetic and path.suffix == ".png" else None
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata=metadata)


def plot_curves(
    path: str | Path,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    log: bool = False,
) -> None:
    """Write one chart with a line for each `name -> (x, y)`; `log` makes the y axis logarithmic."""
    figure = new_figure()
    axes = figure.add_subplot()
    for name, (x, y) in curves.items():
        axes.plot(x, y, label=name, linewidth=1.4)
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(frameon=False)
    save_figure(figure, path)


def plot_bars(path: str | Path, values: Mapping[str, float], ylabel: str) -> None:
    """Write one chart with a bar, and its value, for each `name -> value`."""
    figure = new_figure()
    axes = figure.add_subplot()
    axes.bar_label(axes.bar(list(values), list(values.values())), fmt="%.3g")
    axes.set_ylabel(ylabel)
    save_figure(figure, path)


def image_strip(
    path: str | Path,
    images: Sequence[Tensor | np.ndarray],
    captions: Sequence[str],
    columns: int | None = None,
    *,
    synthetic: bool,
) -> None:
    """Write pictures side by side, each under its caption.

    Args:
        images: each (3, H, W) or (1, H, W) float in [0, 1], or a (H, W) map, drawn in false colours.
        captions: one a picture.
        columns: pictures a row; default all in one row.
        synthetic: whether any of the pictures was computed.
    """
    if len(images) != len(captions):
        raise ValueError(f"{len(images)} pictures but {len(captions)} captions")
    columns = columns or len(images)
    rows = -(-len(images) // columns)
    figure = new_figure(2.4 * columns, 2.6 * rows)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        axes = figure.add_subplot(rows, columns, index + 1)
        array = image.detach().float().cpu().numpy() if isinstance(image, Tensor) else image
        if array.ndim == 3:
            axes.imshow(np.clip(np.moveaxis(array, 0, -1), 0, 1).squeeze(), cmap="gray", vmin=0, vmax=1)
        else:
            axes.imshow(array, cmap="viridis")
        axes.set_title(caption, fontsize=9)
        axes.set_axis_off()
    save_figure(figure, path, synthetic=synthetic)
