"""`likeness check neural_actor`: a look at an actor's folder before hours are spent on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import torch
import tyro
from torch import Tensor

from likeness.errors import UserError
from likeness.formats.actor import (
    ActorCamera,
    ActorFrame,
    read_body,
    read_cameras,
    read_frames,
    read_transform,
)
from likeness.geometry.body import BodyModel, Pose, posed_vertices
from likeness.media.image import write_image
from likeness.media.video import count_frames
from likeness.methods.neural_actor.data import read_rgba
from likeness.methods.neural_actor.extract import check_lengths, find_videos, read_transforms
from likeness.methods.neural_actor.maps import project
from likeness.render.rasterise import Raster, rasterise

T = TypeVar("T")

GOOD_OVERLAP = 0.6
"""Least intersection over union of mesh and picture that is taken for a fit; loose clothes and hair cost some."""
TALL, SHORT = 3.0, 0.3
"""Metres between which a body's largest extent lies."""
MESH_COLOUR, ACTOR_COLOUR = (0.2, 1.0, 0.4), (1.0, 0.2, 0.6)


@dataclass
class Findings:
    """What is wrong, each with its reason, and how often the same was seen."""

    lines: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """One more."""
        self.lines.append(text)

    def attempt(self, read: Callable[[], T]) -> T | None:
        """What `read` returns; its mistake becomes a finding."""
        try:
            return read()
        except UserError as error:
            self.add(str(error))
            return None


def check(data: Annotated[Path, tyro.conf.Positional], out: Path = Path("check"), frames: int = 3) -> dict[str, float]:
    """Print counts, units and damage of an actor's folder, and draw the re-posed mesh over its pictures.

    OUT/<frame>_<camera>.png shows the mesh's outline in green and the actor's, by alpha or by what is not white, in
    pink; their intersection over union is printed. A folder with videos has their lengths compared.

    Args:
        data: the actor's folder, or a split with videos.
        out: folder of the overlays.
        frames: how many frames, spread over the sequence, to look at.
    """
    findings = Findings()
    videos = (data / "rgb_video").is_dir() or (data / "transform.zip").is_file()
    numbers: dict[str, float] = {}
    if videos:
        numbers |= findings.attempt(lambda: check_videos(data)) or {}
    if not videos or (data / "transform").is_dir():
        numbers |= check_pictures(data, out, frames, findings)
    for line in findings.lines:
        print(f"! {line}")
    print("nothing is damaged or missing" if not findings.lines else f"{len(findings.lines)} findings")
    return numbers | {"findings": len(findings.lines)}


def check_videos(split: Path) -> dict[str, float]:
    """Compare the lengths of a split's videos and transforms."""
    transforms = read_transforms(split)
    videos = find_videos(split, "all", [name for name, _ in transforms])
    lengths = {str(video.path.relative_to(split)): count_frames(video.path) for video in videos}
    if transforms:
        lengths["transform.zip"] = len(transforms)
    count = check_lengths(split, lengths, 0, None)
    print(f"{split}: {len(videos)} videos of {count} frames, {len(transforms)} transforms")
    return {"videos": len(videos), "video_frames": count}


def check_pictures(data: Path, out: Path, count: int, findings: Findings) -> dict[str, float]:
    """Look at the image form; what is found goes to `findings`, the figures are returned."""
    body = findings.attempt(lambda: read_body(data))
    cameras = findings.attempt(lambda: read_cameras(data)) or []
    frames = findings.attempt(lambda: read_frames(data))
    if frames is None:
        frames = findings.attempt(lambda: read_frames(data, maps=False)) or []
    numbers: dict[str, float] = {"cameras": len(cameras), "frames": len(frames)}
    print(f"{data}: {len(frames)} frames, {len(cameras)} cameras")
    check_counts(data, frames, len(cameras), findings)
    if body is not None:
        numbers |= check_body(data, body, findings)
    chosen = (
        [frames[int(index)] for index in np.unique(np.linspace(0, len(frames) - 1, count).round())] if frames else []
    )
    poses = [(frame, findings.attempt(lambda frame=frame: read_transform(frame.transform))) for frame in chosen]  # type: ignore[misc]
    overlaps: list[float] = []
    for frame, pose in poses:
        if pose is None or body is None:
            continue
        if check_pose(frame, body, pose, findings):
            overlaps += check_views(frame, body, pose, cameras, out, findings)
    if overlaps:
        numbers["overlap"] = float(np.mean(overlaps))
        print(f"mesh over picture: mean intersection over union {numbers['overlap']:.3f}, see {out}")
        if numbers["overlap"] < GOOD_OVERLAP and body is not None:
            findings.add(
                f"the mesh covers the actor by {numbers['overlap']:.2f} on average, expected {GOOD_OVERLAP} or more"
                + explanation([(frame, pose) for frame, pose in poses if pose is not None], body, cameras)
            )
    return numbers


def check_counts(data: Path, frames: Sequence[ActorFrame], cameras: int, findings: Findings) -> None:
    """Compare what belongs together: transforms, pictures, cameras, maps."""
    stems = {frame.transform.stem for frame in frames}
    folders = {path.name for path in (data / "rgb").glob("*") if path.is_dir()}
    without = sorted(folders - stems)
    if without and stems:
        findings.add(
            f"{data / 'rgb'}: {len(folders)} frames have pictures and {len(stems)} a transform; without one are "
            f"{_some(without)}: a frame's folder is named after its transform"
        )
    bare = sorted(stems - folders)
    if bare and folders:
        findings.add(f"{data / 'rgb'}: {len(bare)} transforms have no pictures: {_some(bare)}")
    if not folders:
        print(f"{data} has no rgb/: it can be rendered, but not trained on")
    uneven = [frame.transform.stem for frame in frames if frame.pictures and len(frame.pictures) != cameras]
    if uneven:
        findings.add(
            f"{data / 'rgb'}: {len(uneven)} frames have another number of pictures than the {cameras} cameras: "
            f"{_some(uneven)}; the i-th picture belongs to the i-th camera"
        )
    for kind in ("tex", "normal"):
        maps = len([path for path in (data / kind).glob("*.*g")])
        if not maps:
            print(
                f"{data} has no {kind}/: `likeness extract {'textures' if kind == 'tex' else 'normals'} {data}` "
                "makes it"
            )
        elif maps > len(frames):
            findings.add(f"{data / kind}: {maps} pictures for {len(frames)} transforms; they are paired by order")


def check_body(data: Path, body: BodyModel, findings: Findings) -> dict[str, float]:
    """Units, weights and canonical pose of the body."""
    extent = (body.vertices.amax(0) - body.vertices.amin(0)).tolist()
    print(
        f"body: {len(body.vertices)} vertices, {len(body.faces)} faces, {body.weights.shape[1]} joints, "
        f"{extent[0]:.2f} x {extent[1]:.2f} x {extent[2]:.2f} m"
    )
    if not SHORT < max(extent) < TALL:
        findings.add(f"{data / 'canonical.obj'}: the body is {max(extent):.3g} long; lengths are metres")
    off = float((body.weights.sum(1) - 1).abs().max())
    if off > 1e-2:
        findings.add(f"{data / 'skinning_weight.txt'}: a row's sum is off 1 by {off:.3g}")
    if body.canonical_bones is None:
        print(f"{data} has no transform_tpose.json: the rest pose is the canonical one")
    else:
        _check_rigid(data / "transform_tpose.json", body.canonical_bones, findings)
    return {"vertices": len(body.vertices), "height": max(extent)}


def check_pose(frame: ActorFrame, body: BodyModel, pose: Pose, findings: Findings) -> bool:
    """Whether a transform fits the body; what does not is found."""
    if len(pose.bones) != body.weights.shape[1]:
        findings.add(
            f"{frame.transform}: {len(pose.bones)} bones for a body with weights of {body.weights.shape[1]} joints"
        )
        return False
    _check_rigid(frame.transform, pose.bones, findings)
    away = (posed_vertices(body, pose).mean(0) - pose.joints.mean(0)).norm()
    if away > 1:
        findings.add(
            f"{frame.transform}: `joints` lie {float(away):.1f} m from the posed mesh, but they bound the rays; they "
            "are world positions, in metres"
        )
    return True


def check_views(
    frame: ActorFrame, body: BodyModel, pose: Pose, cameras: Sequence[ActorCamera], out: Path, findings: Findings
) -> list[float]:
    """Draw the overlays of a frame; returns intersection over union of each view."""
    vertices = posed_vertices(body, pose)
    overlaps = []
    for number, camera in enumerate(cameras):
        name = f"camera {number} at frame {frame.transform.stem}"
        places = project(vertices, camera)
        if float(places[:, 2].mean()) < 0:
            flipped = project(vertices, ActorCamera(camera.intrinsics, torch.linalg.inv(camera.camera_to_world)))
            hint = (
                ": its matrix points from world to camera, as in extrinsic/; pose/ holds the inverse"
                if _shows(flipped, camera)
                else ": z must point from the camera to the scene (OpenCV axes)"
            )
            findings.add(f"{name}: the actor is behind the camera{hint}")
            continue
        if number >= len(frame.pictures):
            continue
        picture = findings.attempt(lambda path=frame.pictures[number]: read_rgba(path))  # type: ignore[misc]
        if picture is None:
            continue
        height, width = picture.shape[:2]
        raster = rasterise(places[None], body.faces, (height, width))
        centre = camera.intrinsics[:2, 2]
        if not (0 < centre[0] < width and 0 < centre[1] < height):
            findings.add(
                f"{name}: the principal point ({float(centre[0]):.0f}, {float(centre[1]):.0f}) lies outside of a "
                f"picture of {width} x {height}: intrinsics are pixels of the pictures as they are stored"
            )
        if not raster.mask.any():
            findings.add(f"{name}: no ray meets the body, which projects beside the picture of {width} x {height}")
            continue
        overlap = overlap_of(raster, picture)
        if overlap is not None:
            overlaps.append(overlap)
            print(f"{name}: intersection over union {overlap:.3f}")
        write_overlay(out / f"{frame.transform.stem}_{number:03d}.png", picture, raster)
    return overlaps


def actor_mask(picture: np.ndarray) -> Tensor:
    """(H, W) bool of an RGBA picture (H, W, 4): where alpha says so, and the colour is not pure white."""
    return torch.from_numpy((picture[..., 3] > 0.5) & (picture[..., :3] < 1).any(-1))


def overlap_of(raster: Raster, picture: np.ndarray) -> float | None:
    """Intersection over union of mesh and actor; None where a picture without background says nothing."""
    mesh, actor = raster.mask[0, 0], actor_mask(picture)
    if actor.all():
        return None
    return float((mesh & actor).sum() / (mesh | actor).sum())


def write_overlay(path: Path, picture: np.ndarray, raster: Raster) -> None:
    """Write the picture with the outline of the mesh in green and of the actor in pink."""
    image = torch.from_numpy(picture[..., :3]).permute(2, 0, 1)
    for mask, colour in ((actor_mask(picture), ACTOR_COLOUR), (raster.mask[0, 0], MESH_COLOUR)):
        image = torch.where(_outline(mask), torch.tensor(colour)[:, None, None], image)
    write_image(path, image, synthetic=True)


def explanation(poses: Sequence[tuple[ActorFrame, Pose]], body: BodyModel, cameras: Sequence[ActorCamera]) -> str:
    """What would make the mesh fit, where one of the usual mistakes explains it."""
    remedies: dict[str, Callable[[Pose, ActorCamera], tuple[Pose, ActorCamera]]] = {
        "`rotation` is transposed: the file holds the transpose of the body's rotation": lambda pose, camera: (
            Pose(pose.bones, pose.rotation.T, pose.translation, pose.joints),
            camera,
        ),
        "matrices in pose/ are inverted: world to camera belongs in extrinsic/": lambda pose, camera: (
            pose,
            ActorCamera(camera.intrinsics, torch.linalg.inv(camera.camera_to_world)),
        ),
        "bones are transposed: `joints_RT` is 4 x 4 x joints, each matrix for columns": lambda pose, camera: (
            Pose(pose.bones.mT, pose.rotation, pose.translation, pose.joints),
            camera,
        ),
    }
    for text, change in remedies.items():
        overlaps = []
        for frame, pose in poses:
            for path, camera in zip(frame.pictures, cameras):
                changed, view = change(pose, camera)
                picture = read_rgba(path)
                raster = rasterise(
                    project(posed_vertices(body, changed), view)[None], body.faces, (picture.shape[0], picture.shape[1])
                )
                overlaps.append(overlap_of(raster, picture) or 0.0)
        if overlaps and float(np.mean(overlaps)) >= GOOD_OVERLAP:
            return f". It fits ({float(np.mean(overlaps)):.2f}) when {text}"
    return ": look at the overlays; cameras, units and the order of pictures and frames are the usual reasons"


def _shows(places: Tensor, camera: ActorCamera) -> bool:
    """Whether projected points (N, 3) lie before the camera and, on average, in a picture around its centre."""
    middle, centre = places[:, :2].mean(0), camera.intrinsics[:2, 2]
    return bool((places[:, 2] > 0).all() and ((middle - centre).abs() < centre).all())


def _check_rigid(path: Path, bones: Tensor, findings: Findings) -> None:
    rotations = bones[:, :3, :3]
    off = (rotations @ rotations.mT - torch.eye(3)).abs().amax((-1, -2))
    bottom = (bones[:, 3] - torch.tensor([0.0, 0.0, 0.0, 1.0])).abs().amax(-1)
    wrong = ((off > 1e-2) | (bottom > 1e-3) | (torch.linalg.det(rotations) < 0)).nonzero()[:, 0].tolist()
    if wrong:
        findings.add(
            f"{path}: {len(wrong)} of {len(bones)} matrices in `joints_RT` are not rigid (joint {wrong[0]}, off by "
            f"{float(off[wrong[0]]):.3g}): the joint's index comes last, and bones neither scale nor shear"
        )


def _outline(mask: Tensor) -> Tensor:
    grown = torch.nn.functional.max_pool2d(mask.float()[None, None], 3, 1, 1)[0, 0] > 0
    shrunk = torch.nn.functional.max_pool2d((~mask).float()[None, None], 3, 1, 1)[0, 0] > 0
    return grown & shrunk


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
