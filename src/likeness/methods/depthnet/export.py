"""`likeness export depthnet single|multi|anim`: folders that FaceWarper, and `likeness warp`, read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from likeness.errors import UserError
from likeness.formats.facewarper import read_picture_keypoints, write_affine, write_depth, write_keypoints
from likeness.geometry.face_landmarks import to_68
from likeness.media.image import read_uint8, write_image
from likeness.methods.depthnet.published import load_generator
from likeness.methods.depthnet.transfer import LayoutConfig, export_layout
from likeness.methods.depthnet.turning import (
    Axis,
    DepthModel,
    Match,
    affine_to_pixels,
    match,
    rotated_targets,
    rotation,
    rotation_affine,
    sweep,
)

PLOT_FRAMES = 100


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What the three exports are told."""

    src_kpts_file: Path
    """66 (or 68) landmarks of the source, lines `x y` or `x y z` in its pixels."""
    src_img_file: Path
    """The source picture."""
    output_dir: Path
    """Folder to write."""
    checkpoint: Path | None = None
    """Run, checkpoint of ours, or published pickle; default: the weights that ship with the package. It says itself
    which network it is."""
    output_size: str = "tgt"
    """Size of the written pictures: `tgt`, `src`, or one number of pixels for a square."""
    kpt_file_separator: str = ","
    """Between the numbers of a line in the landmark files."""
    legacy_affine: bool = False
    """Scale affines of pictures that are not square as the original does, which is wrong by width / height."""


@dataclass(frozen=True, kw_only=True)
class SingleConfig(ExportConfig):
    """One source towards one target."""

    tgt_kpts_file: Path
    """Landmarks of the target."""
    tgt_img_file: Path
    """The target picture."""


@dataclass(frozen=True, kw_only=True)
class MultiConfig(ExportConfig):
    """One source towards every PNG of a folder."""

    tgt_kpts_dir: Path
    """Folder of landmark files, named as the pictures are."""
    tgt_img_dir: Path
    """Folder of target pictures."""
    save_plots: bool = False
    """Draw the landmarks of every pair."""


@dataclass(frozen=True, kw_only=True)
class AnimConfig(ExportConfig):
    """One source towards a turning target, or turned itself."""

    tgt_kpts_file: Path
    """Landmarks of the target with their depth in a third column."""
    tgt_img_file: Path
    """The target picture."""
    axis: Axis = "x"
    """Axis of the turn: x nods, y shakes the head, z tilts it."""
    tgt_angle_1: float = float(np.pi / 2)
    """Radians; the turn goes from 0 to here."""
    tgt_angle_2: float = 0.0
    """Radians; and from there to here."""
    scale_depth: float = 100.0
    """Divides the target's depths; 0 stretches them to [0, 1]."""
    rotate_source: bool = False
    """Predict depth once and turn the source itself (for a model trained with its critic)."""
    pivot: Literal["corner", "face"] = "corner"
    """With --rotate-source: turn about the picture's top-left corner, as the original does, or about the face."""
    norm_mean: float = 0.5
    """Centre of the target's turn, in units of the picture."""
    norm_std: float = 0.5
    """Unit of x and y beside the depth."""


@dataclass(frozen=True)
class Portrait:
    """A picture with its landmarks."""

    path: Path
    image: np.ndarray
    """(H, W, 3) uint8."""
    points: np.ndarray
    """(66, 2) or (66, 3) float64: x and y in units of the picture, depth as the file has it."""


Layout = Annotated[LayoutConfig, tyro.conf.subcommand("layout", description="a run in the original's layout")]
What = (
    Annotated[SingleConfig, tyro.conf.subcommand("single")]
    | Annotated[MultiConfig, tyro.conf.subcommand("multi")]
    | Annotated[AnimConfig, tyro.conf.subcommand("anim")]
    | Layout
)


def export(what: tyro.conf.OmitSubcommandPrefixes[tyro.conf.OmitArgPrefixes[What]]) -> None:
    """Write a FaceWarper folder (single, multi, anim), or a run in another layout (layout)."""
    if isinstance(what, LayoutConfig):
        export_layout(what)
        return
    model = load_generator(what.checkpoint)
    if isinstance(what, SingleConfig):
        export_single(what, model)
    elif isinstance(what, MultiConfig):
        export_multi(what, model)
    else:
        export_anim(what, model)


def export_single(config: SingleConfig, model: DepthModel) -> None:
    """Write source, tgt_images, keypoints, depth, affine (one id), and pictures of the landmarks."""
    source = read_portrait(config.src_img_file, config.src_kpts_file, config.kpt_file_separator)
    target = read_portrait(config.tgt_img_file, config.tgt_kpts_file, config.kpt_file_separator)
    size = _output_size(config.output_size, source, target)
    found, predicted = _write_pair(config, model, source, target, size)
    _plot_pair(config.output_dir / "plots", "", source, target, predicted, size)
    for index, share in enumerate(np.linspace(0, 1, PLOT_FRAMES)):
        points = (1 - share) * source.points[:, :2] + share * _moved(source.points, found)
        write_image(config.output_dir / "plot_warp" / f"{index:06d}.png", draw_points(points, size), synthetic=True)
    (config.output_dir / "expected_result").mkdir(parents=True, exist_ok=True)
    print(f"{config.output_dir}: {target.path.name}")


def export_multi(config: MultiConfig, model: DepthModel) -> None:
    """Write what `export_single` does for every PNG of the target folder that has landmarks; tell the others."""
    source = read_portrait(config.src_img_file, config.src_kpts_file, config.kpt_file_separator)
    for folder in (config.tgt_img_dir, config.tgt_kpts_dir):
        if not folder.is_dir():
            raise UserError("no such folder of targets", path=folder)
    pictures = sorted(config.tgt_img_dir.glob("*.png"))
    if not pictures:
        raise UserError("holds no .png", path=config.tgt_img_dir)
    written = 0
    for path in pictures:
        texts = [config.tgt_kpts_dir / f"{path.stem}{suffix}" for suffix in (".txt", ".csv")]
        text = next((text for text in texts if text.is_file()), None)
        if text is None:
            print(f"{path.name}: left out, there is no {texts[0]}")
            continue
        target = read_portrait(path, text, config.kpt_file_separator)
        size = _output_size(config.output_size, source, target)
        _, predicted = _write_pair(config, model, source, target, size)
        if config.save_plots:
            _plot_pair(config.output_dir / "plots", f"{path.stem}_", source, target, predicted, size)
        written += 1
    if not written:
        raise UserError("no picture has a landmark file of its name (.txt or .csv)", path=config.tgt_kpts_dir)
    (config.output_dir / "expected_result").mkdir(parents=True, exist_ok=True)
    print(f"{config.output_dir}: {written} of {len(pictures)} targets")


def export_anim(config: AnimConfig, model: DepthModel) -> None:
    """Write keypoints, depth and affine of every frame, and one picture, source/src.png."""
    source = read_portrait(config.src_img_file, config.src_kpts_file, config.kpt_file_separator)
    target = read_portrait(config.tgt_img_file, config.tgt_kpts_file, config.kpt_file_separator)
    if target.points.shape[1] != 3:
        raise UserError(
            "The depths of the target kpts must be known! Add a third column with them", path=config.tgt_kpts_file
        )
    if config.norm_std <= 0:
        raise UserError(f"--norm-std must be above 0, found {config.norm_std}")
    size = _output_size(config.output_size, source, target)
    points = np.column_stack([target.points[:, :2], scaled_depth(target.points[:, 2], config.scale_depth)])
    angles = sweep(config.tgt_angle_1, config.tgt_angle_2)
    if not len(angles):
        raise UserError("both angles are 0 (or closer than 0.01): there is no frame to write")
    rotations = np.stack([rotation(config.axis, angle) for angle in angles])
    targets = rotated_targets(points, rotations, size, config.norm_mean, config.norm_std)
    if config.rotate_source:
        depth = match(model, source.points[:, :2], points[None, :, :2]).depth / 2
        depths = np.repeat(depth, len(angles), axis=0)
        pivot = None
        if config.pivot == "face":
            pivot = np.append(source.points[:, :2].mean(0) * size[::-1], depth.mean())
        affines = np.stack([rotation_affine(turn, size, config.norm_std, pivot) for turn in rotations])
    else:
        found = match(model, source.points[:, :2], targets)
        depths, affines = found.depth, affine_to_pixels(found.affine, size, config.legacy_affine)
    out = config.output_dir
    write_image(out / "source/src.png", resize_bilinear(source.image, size), synthetic=False)
    for index, (depth, affine, turned) in enumerate(zip(depths, affines, targets)):
        _write_texts(out, f"{index:06d}", source.points, depth, affine, size)
        write_image(out / f"plot_source/{index:06d}.png", draw_points(source.points[:, :2], size), synthetic=True)
        write_image(out / f"plot_target/{index:06d}.png", draw_points(turned, size), synthetic=True)
    (out / "expected_result").mkdir(parents=True, exist_ok=True)
    print(f"{out}: {len(angles)} frames")


def read_portrait(image: Path, keypoints: Path, separator: str) -> Portrait:
    """Read a picture and its landmarks, and divide these by its own width and height."""
    pixels = read_uint8(image, background=0.0)
    points = read_picture_keypoints(keypoints, separator)
    points[:, :2] /= pixels.shape[1], pixels.shape[0]
    return Portrait(image, pixels, points)


def scaled_depth(depth: np.ndarray, scale: float) -> np.ndarray:
    """Depths divided by `scale`, or stretched to [0, 1] where it is 0 (all zero where they are constant).

    Raises:
        UserError: `scale` is negative.
    """
    if scale < 0:
        raise UserError("scale_depth must be >= 0")
    if scale > 0:
        return depth / scale
    spread = np.ptp(depth)
    return (depth - depth.min()) / spread if spread > 0 else np.zeros_like(depth)


def resize_bilinear(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample (H, W, 3) uint8 to (height, width): bilinear about half-pixel centres, without antialiasing, rounded.

    This is what the exporters of the original do, which the warper's published results depend on.
    """
    if image.shape[:2] == tuple(size):
        return image
    axes = [(np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(size, image.shape)]
    grid = np.meshgrid(*axes, indexing="ij")
    planes = [map_coordinates(image[..., c].astype(np.float64), grid, order=1, mode="nearest") for c in range(3)]
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint8)


def draw_points(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8: landmarks (N, 2), in units of the picture, as dots on white."""
    canvas = Image.new("RGB", (size[1], size[0]), "white")
    pen = ImageDraw.Draw(canvas)
    radius = max(1.0, min(size) / 150)
    for x, y in points[:, :2] * (size[1], size[0]):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(200, 40, 40))
    return np.asarray(canvas)


def _write_pair(
    config: ExportConfig, model: DepthModel, source: Portrait, target: Portrait, size: tuple[int, int]
) -> tuple[Match, np.ndarray]:
    found = match(model, source.points[:, :2], target.points[None, :, :2])
    name = target.path.name
    write_image(config.output_dir / "source" / f"{name}.png", resize_bilinear(source.image, size), synthetic=False)
    write_image(config.output_dir / "tgt_images" / f"{name}.png", resize_bilinear(target.image, size), synthetic=False)
    affine = affine_to_pixels(found.affine[0], size, config.legacy_affine)
    _write_texts(config.output_dir, name, source.points, found.depth[0], affine, size)
    return found, _moved(source.points, found)


def _moved(points: np.ndarray, found: Match) -> np.ndarray:
    rows = np.column_stack([points[:, :2], found.depth[0], np.ones(len(points))])
    return rows @ found.affine[0].T


def _write_texts(
    out: Path, name: str, points: np.ndarray, depth: np.ndarray, affine: np.ndarray, size: tuple[int, int]
) -> None:
    write_keypoints(out / "keypoints" / f"{name}.txt", to_68(points[:, :2]) * (size[1], size[0]))
    write_depth(out / "depth" / f"{name}.txt", to_68(depth[:, None])[:, 0])
    write_affine(out / "affine" / f"{name}.txt", affine)


def _plot_pair(
    folder: Path, prefix: str, source: Portrait, target: Portrait, predicted: np.ndarray, size: tuple[int, int]
) -> None:
    for name, points in (("src", source.points), ("tgt", target.points), ("pred", predicted)):
        write_image(folder / f"{prefix}{name}.png", draw_points(points, size), synthetic=True)


def _output_size(asked: str, source: Portrait, target: Portrait) -> tuple[int, int]:
    if asked in ("tgt", "src"):
        return (source if asked == "src" else target).image.shape[:2]
    if asked.isdigit() and int(asked) > 0:
        return int(asked), int(asked)
    raise UserError(f"--output-size is tgt, src or a number of pixels, found {asked!r}")


def rewrite_export(arguments: Sequence[str]) -> list[str]:
    """The original exporters' flags in ours: `--network`, `--learn_m` and `--cpu` go, a bare `--run` means `layout`."""
    words = list(arguments)
    if words and words[0].startswith("--run"):
        return ["layout", *words]
    kept: list[str] = []
    reasons = {
        "network": "the checkpoint says which network it is",
        "learn_m": "the checkpoint says whether the affine is learned",
        "cpu": "exports run on the CPU",
    }
    index = 0
    while index < len(words):
        word = words[index]
        name, equals, _ = word.removeprefix("--").replace("-", "_").partition("=")
        index += 1
        if not word.startswith("--") or name not in reasons:
            kept.append(word)
            continue
        if name == "network" and not equals:
            index += 1
        print(f"--{name}: dropped, {reasons[name]}")
    return kept
