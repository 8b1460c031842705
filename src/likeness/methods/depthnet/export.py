"""`likeness export depthnet single|multi|anim`: folders that FaceWarper (and `likeness warp`) reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from rich.progress import track

from likeness.errors import UserError
from likeness.geometry.face_landmarks import to_68
from likeness.media.image import read_uint8, write_image
from likeness.methods.depthnet import turning
from likeness.methods.depthnet.facewarper import WarpInput, read_landmark_file, write_warp_input
from likeness.methods.depthnet.published import load_generator

Size = Literal["tgt", "src"] | int


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What all three exports are told."""

    output_dir: Path
    """Folder to write."""
    checkpoint: Path | None = None
    """A run, one of our checkpoints or a published file; without it, the weights that ship."""
    output_size: Size = "tgt"
    """Size of the written pictures: the target's, the source's, or one number for a square."""
    kpt_file_separator: str = ","
    """What separates the numbers of a landmark file; ' ' stands for any blanks."""
    legacy_affine: bool = False
    """Leave out the factors W / H and H / W of pictures that are not square, as the original does."""
    save_plots: bool = True
    """Write pictures of the landmarks to `plots*/` too."""


@dataclass(frozen=True, kw_only=True)
class SingleConfig(ExportConfig):
    """One source to one target."""

    src_kpts_file: Path
    """Landmarks of the source."""
    tgt_kpts_file: Path
    """Landmarks of the target."""
    src_img_file: Path
    """Picture of the source."""
    tgt_img_file: Path
    """Picture of the target."""


@dataclass(frozen=True, kw_only=True)
class MultiConfig(ExportConfig):
    """One source to every *.png of a folder."""

    src_kpts_file: Path
    """Landmarks of the source."""
    tgt_kpts_dir: Path
    """Folder of the targets' landmarks, <stem>.txt."""
    src_img_file: Path
    """Picture of the source."""
    tgt_img_dir: Path
    """Folder of the targets' pictures, <stem>.png."""


@dataclass(frozen=True, kw_only=True)
class AnimationConfig(SingleConfig):
    """One source to a target that turns."""

    axis: turning.Axis = "x"
    """Axis of the turn."""
    tgt_angle_1: float = np.pi / 2
    """Radians reached first, from 0."""
    tgt_angle_2: float = 0.0
    """Radians reached next."""
    scale_depth: float = 100.0
    """Divides the third column of the landmark files; 0 brings it to [0, 1]."""
    rotate_source: bool = False
    """Estimate the source's depth once and turn the source itself (for the model trained with a critic)."""
    norm_mean: float = 0.5
    """Centre of the turn, in shares of the picture."""
    norm_std: float = 0.5
    """Unit of x and y in the turn, in shares of the picture."""


@dataclass(frozen=True)
class _Portrait:
    picture: np.ndarray  # (H, W, 3) uint8
    points: np.ndarray  # (66, 2 or 3), x / width and y / height
    name: str


def export_single(config: SingleConfig) -> None:
    """Write what moves the source onto the target: source/, tgt_images/, keypoints/, depth/, affine/."""
    source = _portrait(config.src_img_file, config.src_kpts_file, config)
    target = _portrait(config.tgt_img_file, config.tgt_kpts_file, config)
    _write_pair(config, source, target)
    print(f"{config.output_dir}: 1 face; next: `likeness warp {config.output_dir} --results DIR --use-dir tgt_images`")


def export_multi(config: MultiConfig) -> None:
    """Write one face for every picture of a folder; pictures without landmark file are skipped and listed."""
    source = _portrait(config.src_img_file, config.src_kpts_file, config)
    pictures = sorted(config.tgt_img_dir.glob("*.png"))
    if not pictures:
        raise UserError("holds no *.png: name the folder of the targets' pictures", path=config.tgt_img_dir)
    skipped = [path for path in pictures if not (config.tgt_kpts_dir / f"{path.stem}.txt").is_file()]
    for path in track([path for path in pictures if path not in skipped], "exporting", transient=True):
        _write_pair(config, source, _portrait(path, config.tgt_kpts_dir / f"{path.stem}.txt", config))
    faces = len(pictures) - len(skipped)
    written = f"{faces} face{'s' * (faces != 1)}"
    print(f"{config.output_dir}: {written}; next: `likeness warp {config.output_dir} --results DIR`")
    for path in skipped:
        print(f"skipped {path}: {config.tgt_kpts_dir / (path.stem + '.txt')} is absent")


def export_animation(config: AnimationConfig) -> None:
    """Write one frame for each angle of the sweep: keypoints|depth|affine/%06d.txt, and one source/src.png."""
    source = _portrait(config.src_img_file, config.src_kpts_file, config)
    target = _portrait(config.tgt_img_file, config.tgt_kpts_file, config)
    if target.points.shape[1] < 3:
        raise UserError("The depths of the target kpts must be known! Give a third column", path=config.tgt_kpts_file)
    try:
        known = turning.scale_depth(target.points[:, 2], config.scale_depth)
    except ValueError as error:
        raise UserError(f"{error}, found {config.scale_depth}") from error
    solid = np.concatenate([target.points[:, :2], known[:, None]], axis=1).astype(np.float32)
    angles = turning.sweep((config.tgt_angle_1, config.tgt_angle_2))
    mean, std = config.norm_mean, config.norm_std
    aims = np.stack([turning.rotate_landmarks(solid, config.axis, angle, mean, std) for angle in angles])
    generator = load_generator(config.checkpoint)
    if config.rotate_source:
        depth, _ = turning.predict(generator, source.points[:, :2], solid[None, :, :2])
        depths = np.repeat(depth / 2, len(angles), axis=0)
        affines = np.stack([turning.rotate_source_affine(config.axis, angle, std) for angle in angles])
    else:
        depths, affines = turning.predict(generator, source.points[:, :2], aims)
    width, height = _size(config, source, target)
    resized = cv2.resize(source.picture, (width, height), interpolation=cv2.INTER_LINEAR)
    write_image(config.output_dir / "source" / "src.png", resized, synthetic=False)
    (config.output_dir / "expected_result").mkdir(exist_ok=True)
    for number in track(range(len(angles)), "exporting", transient=True):
        face = _warp_input(source, depths[number], affines[number], width, height, config.legacy_affine)
        write_warp_input(config.output_dir, f"{number:06d}", face)
        if config.save_plots:
            _plot(config.output_dir / "plot_source" / f"{number:06d}.png", resized, source.points[:, :2])
            canvas = cv2.resize(target.picture, (width, height), interpolation=cv2.INTER_LINEAR)
            _plot(config.output_dir / "plot_target" / f"{number:06d}.png", canvas, aims[number])
    picture = config.output_dir / "source" / "src.png"
    line = f"likeness warp {config.output_dir} --results DIR --use-dir affine --img-override {picture}"
    print(f"{config.output_dir}: {len(angles)} frames; next: `{line}`")


def _portrait(picture: Path, landmarks: Path, config: ExportConfig) -> _Portrait:
    pixels = read_uint8(picture)
    points = read_landmark_file(landmarks, config.kpt_file_separator)
    points[:, :2] /= (pixels.shape[1], pixels.shape[0])
    return _Portrait(pixels, points, picture.name)


def _size(config: ExportConfig, source: _Portrait, target: _Portrait) -> tuple[int, int]:
    if isinstance(config.output_size, int):
        return config.output_size, config.output_size
    chosen = target if config.output_size == "tgt" else source
    return chosen.picture.shape[1], chosen.picture.shape[0]


def _warp_input(
    source: _Portrait, depth: np.ndarray, affine: np.ndarray, width: int, height: int, legacy: bool
) -> WarpInput:
    points = to_68(source.points[:, :2]) * (width, height)
    return WarpInput(points, to_68(depth[:, None])[:, 0], turning.pixel_affine(affine, width, height, legacy))


def _write_pair(config: ExportConfig, source: _Portrait, target: _Portrait) -> None:
    generator = load_generator(config.checkpoint)
    depth, affine = turning.predict(generator, source.points[:, :2], target.points[None, :, :2])
    width, height = _size(config, source, target)
    out, name = config.output_dir, target.name
    pictures = {
        folder: cv2.resize(portrait.picture, (width, height), interpolation=cv2.INTER_LINEAR)
        for folder, portrait in (("source", source), ("tgt_images", target))
    }
    for folder, picture in pictures.items():
        write_image(out / folder / f"{name}.png", picture, synthetic=False)
    (out / "expected_result").mkdir(exist_ok=True)
    write_warp_input(out, name, _warp_input(source, depth[0], affine[0], width, height, config.legacy_affine))
    if not config.save_plots:
        return
    solid = np.concatenate([source.points[:, :2], depth[0][:, None], np.ones((66, 1))], axis=1)
    predicted = solid @ affine[0].T
    start, end = source.points[:, :2], target.points[:, :2]
    for label, points, picture in (
        ("src", start, pictures["source"]),
        ("tgt", end, pictures["tgt_images"]),
        ("pred", predicted, pictures["tgt_images"]),
    ):
        _plot(out / "plots" / f"{name}_{label}.png", picture, points)
    blank = np.zeros_like(pictures["source"])
    for number, share in enumerate(np.linspace(0, 1, 100)):
        _plot(out / "plot_warp" / name / f"{number:06d}.png", blank, start + share * (predicted - start))


def _plot(path: Path, picture: np.ndarray, points: np.ndarray) -> None:
    drawn = picture.copy()
    for x, y in points * (picture.shape[1], picture.shape[0]):
        cv2.circle(drawn, (round(float(x)), round(float(y))), 2, (80, 220, 80), -1, cv2.LINE_AA)
    write_image(path, drawn, synthetic=True)
