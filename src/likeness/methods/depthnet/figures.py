"""Figures 2 and 3 of Moniz et al. 2018: depths of the test faces as 3D scatters, and predicted against true depth."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from likeness.errors import UserError
from likeness.formats.depthnet3dfaw import LandmarkArchive, load_archive
from likeness.media.figures import save_figure
from likeness.media.image import read_uint8

TRUE_LIMITS = (-0.2, 0.2)


@dataclass(frozen=True, kw_only=True)
class FiguresConfig:
    """Draw figure 2 (one row of scatters a test face) and figure 3 (heat maps of predicted against true depth)."""

    data: Path
    """Folder of `test.npz`, `valid_img_cropped_80x80` and, if there is one, `mofa.npz`."""
    depthnet_npz: str = "depthnet_no_gan.npz"
    """Dumped depths of DepthNet (`likeness evaluate depthnet --dump-depths`); several, with commas, are averaged."""
    depthnet_gan_npz: str = "depthnet_with_gan.npz"
    """Of DepthNet+GAN."""
    aign_npz: str = "aigns.npz"
    """Of AIGN."""
    out: Path = Path("output")
    """Folder of the pictures."""


@dataclass(frozen=True)
class Panel:
    """One model's depths of one face, as figure 2 shows them."""

    title: str
    xy: np.ndarray  # (66, 2)
    depth: np.ndarray  # (66,)
    invert: str = "xyz"


def figures(config: FiguresConfig) -> None:
    """Draw both figures; without `mofa.npz` its panels are left out, and it says so."""
    test = load_archive(config.data / "test.npz", require=("ids",))
    n = len(test)
    pairs = {
        "dn": average_dumps(config.depthnet_npz, (n, n, 66)),
        "dn_gan": average_dumps(config.depthnet_gan_npz, (n, n, 66)),
    }
    aign = average_dumps(config.aign_npz, (n, 66))
    mofa = _read_mofa(config.data / "mofa.npz", test)
    _figure_2(config, test, pairs, aign, mofa)
    _figure_3(config.out, test, pairs, aign, mofa)


def average_dumps(paths: str, shape: tuple[int, ...]) -> np.ndarray:
    """The mean of the `preds` of one or more dumps (a list with commas).

    Raises:
        UserError: a file is absent, broken or of another shape than `shape`.
    """
    dumps = []
    for name in paths.split(","):
        path = Path(name.strip())
        try:
            with np.load(path, allow_pickle=False) as archive:
                preds = archive["preds"]
        except FileNotFoundError:
            raise UserError("no such dump: write it by `likeness evaluate depthnet --dump-depths`", path=path) from None
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise UserError(f"is no dump of depths with an array `preds` ({error})", path=path) from error
        if preds.shape != shape:
            raise UserError(f"preds has the shape {preds.shape}, expected {shape} for this test set", path=path)
        dumps.append(preds)
    return np.mean(dumps, axis=0)


def _read_mofa(path: Path, test: LandmarkArchive) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Face id -> MOFA's own (66, 2) landmarks and (66,) depth, growing toward the camera."""
    if not path.is_file():
        print(f"{path} is not there: MOFA's panels and heat map are left out")
        return {}
    with np.load(path, allow_pickle=False) as archive:
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in archive["ids"]]
        found = {name: (points[:2].T, points[2]) for name, points in zip(names, archive["kps"])}
    assert test.ids is not None
    for name in test.ids:
        if name not in found:
            print(f"{name}: left out, MOFA has no such face")
    return found


def _figure_2(
    config: FiguresConfig,
    test: LandmarkArchive,
    pairs: dict[str, np.ndarray],
    aign: np.ndarray,
    mofa: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    assert test.ids is not None
    n = len(test)
    target = int(np.random.RandomState(0).randint(0, n))
    for i, name in enumerate(test.ids):
        if mofa and name not in mofa:
            continue
        panels = [
            Panel("Ground truth", test.xy[i], test.depth[i]),
            Panel("DepthNet", test.xy[i], pairs["dn"][i, target]),
            Panel("DepthNet + GAN", test.xy[i], pairs["dn_gan"][i, target]),
            Panel("AIGN", test.xy[i], aign[i]),
        ]
        if mofa:
            xy, depth = mofa[name]
            panels.append(Panel("MOFA", xy, -depth, invert="y"))
        figure = Figure(figsize=(30, 5))
        FigureCanvasAgg(figure)
        photo = figure.add_subplot(1, 6, 1)
        photo.imshow(read_uint8(config.data / "valid_img_cropped_80x80" / f"{name}.jpg"))
        photo.set_axis_off()
        for column, panel in enumerate(panels, start=2):
            axes = figure.add_subplot(1, 6, column, projection="3d")
            axes.scatter(
                panel.xy[:, 0], panel.depth, panel.xy[:, 1], c=panel.depth, cmap=matplotlib.colormaps["jet"],
                edgecolors="black",
            )  # fmt: skip
            axes.view_init(elev=30, azim=75)
            for axis in panel.invert:
                getattr(axes, f"invert_{axis}axis")()
            axes.set_title(panel.title)
        save_figure(figure, config.out / f"{i}.png", dpi=100, synthetic=True)


def _figure_3(
    out: Path,
    test: LandmarkArchive,
    pairs: dict[str, np.ndarray],
    aign: np.ndarray,
    mofa: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    n = len(test)
    others = ~np.eye(n, dtype=bool)
    source, _ = np.nonzero(others)
    true = test.depth[source]
    _heat_map(out / "heatmap_dn.png", true, pairs["dn"][others], (-3, 4))
    with_gan = pairs["dn_gan"][others]
    _heat_map(out / "heatmap_dn_gan.png", true, with_gan, (float(with_gan.min()), 0.4))
    _heat_map(out / "heatmap_aign.png", test.depth, aign, None, limit_true=False)
    if mofa:
        assert test.ids is not None
        chosen = [i for i, name in enumerate(test.ids) if name in mofa]
        depths = np.array([mofa[test.ids[i]][1] for i in chosen])
        _heat_map(out / "heatmap_mofa.png", test.depth[chosen], depths, (0, 0.8))


def _heat_map(
    path: Path, true: np.ndarray, predicted: np.ndarray, limits: tuple[float, float] | None, limit_true: bool = True
) -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.hexbin(true.ravel(), predicted.ravel())
    if limit_true:
        axes.set_xlim(*TRUE_LIMITS)
    if limits is not None:
        axes.set_ylim(*limits)
    axes.set(xlabel="actual z", ylabel="pred z")
    save_figure(figure, path, synthetic=True)
