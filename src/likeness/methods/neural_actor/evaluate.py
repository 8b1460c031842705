"""`likeness evaluate neural_actor`: a run's pictures beside the studio's, and their figures."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.files import write_text
from likeness.formats.actor import ActorFrame, read_cameras, read_frames, read_transform
from likeness.media.image import read_image, read_uint8, write_image
from likeness.media.video import VideoWriter
from likeness.methods.neural_actor.animate import chosen_frames, render_settings, texture_files
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.config import parse_views
from likeness.methods.neural_actor.data import over_background, read_rgba
from likeness.methods.neural_actor.scores import RunningMeans, compare, folder_distance
from likeness.methods.neural_actor.shots import OutputType, Shot, ShotOptions, draw_shots
from likeness.methods.neural_actor.viewpoints import Viewpoint
from likeness.metrics.lpips import load_lpips


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Render given cameras and frames, write the pictures beside the true ones, and print PSNR, SSIM and LPIPS."""

    run: Path
    """The run of stage renderer."""
    out: Path
    """Folder to write: {output,target,normal,voxel}/v%03d_f%06d.png, index.json, v%03d.mp4."""
    which: str = "last"
    """Checkpoint: `last`, `best` or a tag."""
    data: Path | None = None
    """Folder of pictures, cameras and poses; default: the run's own. Held-out poses are another folder."""
    textures: Path | None = None
    """Folder of texture maps, one a pose (predicted ones, say), or one picture for all; default: the data's tex/."""
    views: str | None = None
    """Cameras; default: the run's valid_views. File names count them, index.json names them."""
    start_end: tuple[int, int] | None = None
    """Half-open range of frames; default all."""
    subsample: int | None = None
    """Every so many frames; default: as in the run."""
    resolution: tuple[int, int] | None = None
    """Height and width; default: those of training."""
    normals_and_mesh: bool = True
    """Also write normal/ and voxel/ (the textured mesh)."""
    lpips_backbone: Path | None = None
    """torchvision's AlexNet weights; without them LPIPS is not reported."""
    inception: Path | None = None
    """Inception-v3 weights as pytorch-fid publishes them; without them FID is not reported."""
    save_fps: float = 24.0
    """Frames a second of the side-by-side videos (ours, true)."""
    near_body_only: bool = False
    """Give no density to samples farther from the body than training looked."""
    chunk_size: int = 64
    """Samples evaluated at once, in units of 1024; memory only."""
    device: str = "cpu"
    """Such as cuda."""


@dataclass(frozen=True)
class Case:
    """One picture to compare."""

    shot: Shot
    frame: ActorFrame
    number: int
    """Position of the frame in the folder."""
    view: int
    """Position of the camera among the evaluated ones."""
    camera: int
    """Its number."""

    @property
    def name(self) -> str:
        """Of its files."""
        return f"v{self.view:03d}_f{self.number:06d}.png"

    @property
    def picture(self) -> Path:
        """The true one."""
        return self.frame.pictures[self.camera]


def evaluate(config: EvaluateConfig) -> dict[str, float]:
    """Write pictures, index and videos; print running means, and return the final ones."""
    avatar = Avatar.from_run(config.run, config.which, config.device)
    cases = plan_cases(avatar, config)
    types: tuple[OutputType, ...] = ("color", "normal", "voxel") if config.normals_and_mesh else ("color",)
    size = config.resolution or avatar.config.view_resolution
    options = ShotOptions(size, types, render=render_settings(avatar, config.near_body_only, config.chunk_size))
    distance = load_lpips(config.lpips_backbone, "alex") if config.lpips_backbone else None
    if distance is None:
        print("LPIPS is not reported: --lpips-backbone PATH names its weights")
    means, rows = RunningMeans(), []
    for case, drawn in zip(cases, draw_shots(avatar, [case.shot for case in cases], options)):
        truth = true_picture(case.picture, size, avatar.config.network.background)
        write_image(config.out / "target" / case.name, truth, synthetic=False, truncate=True)
        for name, picture in drawn.pictures.items():
            folder = "output" if name == "color" else name
            write_image(config.out / folder / case.name, picture, synthetic=True, truncate=True)
        figures = compare(drawn.pictures["color"], truth, distance)
        means.add(figures)
        stem = case.frame.transform.stem
        rows.append({"file": case.name, "camera": case.camera, "frame": case.number, "transform": stem, **figures})
        print(f"{means.count}/{len(cases)} {case.name}: {shown(figures)}; mean {shown(means.value())}")
    figures = means.value()
    if config.inception is not None:
        names = [case.name for case in cases]
        figures["fid"] = folder_distance(config.out / "output", config.out / "target", names, config.inception)
        print(f"fid {figures['fid']:.3f}")
    write_text(config.out / "index.json", json.dumps({"mean": figures, "pictures": rows}, indent=1))
    for view in sorted({case.view for case in cases}):
        names = [case.name for case in cases if case.view == view]
        write_beside(config.out / f"v{view:03d}.mp4", config.out, names, config.save_fps)
    return figures


def plan_cases(avatar: Avatar, config: EvaluateConfig) -> list[Case]:
    """Every (frame, view) pair, in order.

    Raises:
        UserError: a frame has no picture of a view, or textures are missing.
    """
    trained = avatar.config
    data = config.data or trained.data
    everything, cameras = read_frames(data), read_cameras(data)
    every = trained.subsample_valid if config.subsample is None else config.subsample
    frames = chosen_frames(everything, config.start_end, every)
    views = parse_views(config.views or trained.valid_views, "views")
    cases = []
    for frame, texture in zip(frames, texture_files(everything, frames, config.textures)):
        if max(views) >= min(len(frame.pictures), len(cameras)):
            raise UserError(
                f"frame {frame.transform.stem} has {len(frame.pictures)} pictures and the folder {len(cameras)} "
                f"cameras, but view {max(views)} is asked for: name others by --views",
                path=data,
            )
        pose = read_transform(frame.transform)
        for position, camera in enumerate(views):
            height, width = read_uint8(frame.pictures[camera]).shape[:2]
            shot = Shot(pose, texture, Viewpoint(cameras[camera], (height, width)))
            cases.append(Case(shot, frame, everything.index(frame), position, camera))
    return cases


def true_picture(path: Path, size: tuple[int, int], background: tuple[float, float, float]) -> Tensor:
    """(3, H, W) in [0, 1] as training sees it: over the background, resized by area."""
    colors, _ = over_background(read_rgba(path), size, torch.tensor(background).numpy())
    return ((torch.from_numpy(colors).view(*size, 3).permute(2, 0, 1) + 1) / 2).clamp(0, 1)


def write_beside(path: Path, folder: Path, names: list[str], rate: float) -> None:
    """A video of our pictures (left) beside the true ones."""
    with VideoWriter(path, rate, synthetic=True) as video:
        for name in names:
            video.write(torch.cat([read_image(folder / "output" / name), read_image(folder / "target" / name)], dim=-1))


def shown(figures: dict[str, float]) -> str:
    """Figures in a line."""
    return " ".join(f"{name} {value:.4f}" for name, value in figures.items())
