"""`likeness prove neural_actor driven`: the texture predictor is trained and measured where the truth is known.

Its maps must beat the mean training texture and come near the map of the nearest training pose; the driven actor's
pictures are compared with those that the same renderer makes of these maps, and of the true ones.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from likeness.capture.neural_actor import NeuralActorCapture, capture_neural_actor
from likeness.engine import Run, train
from likeness.files import write_text
from likeness.formats.actor import read_body, read_cameras, read_frames, read_transform
from likeness.geometry.body import Pose, posed_vertices
from likeness.media.image import read_image, resize, write_image
from likeness.media.video import write_video
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.config import parse_views
from likeness.methods.neural_actor.data import read_rgba
from likeness.methods.neural_actor.driven import predict_textures
from likeness.methods.neural_actor.extract_maps import extract_normals, extract_textures
from likeness.methods.neural_actor.maps import layout, texture_map
from likeness.methods.neural_actor.proof import CAMERAS, HELD_OUT, SEED, TEXTURE
from likeness.methods.neural_actor.shots import Shot, ShotOptions, draw_shots
from likeness.methods.neural_actor.vid2vid.config import PRESETS, TextureConfig
from likeness.methods.neural_actor.vid2vid.method import TextureStage
from likeness.methods.neural_actor.viewpoints import Viewpoint
from likeness.methods.neural_actor.yardstick import box_psnr

SIZE = (128, 128)
NORMALS = 256
"""Side of the normal maps, that of the preset `tiny`."""
EVERY = 2
"""Pictures are made of every second frame."""
RATE = 3
"""Frames a second of the video, as the stage's short motions have six."""
LARGE = 3
"""Enlargement of the video."""
TRAINED_MOTIONS = 2
"""Of the four testing motions, those that training shows in other takes: a squat and a turn. The other two, reaching
and standing, it does not show."""
KINDS = ("predicted", "true", "mean", "nearest")


@dataclass(frozen=True, kw_only=True)
class ProveDrivenConfig:
    """Film a synthetic actor, train the texture predictor on it, drive the actor by poses alone, and measure it."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder to write: motions/ (the data set), runs/texture, driven/, scores.json, driven.png, driven.mp4."""
    run: Path | None = None
    """Run of stage renderer, of the same person; default: the shipped actor."""
    frames: int = 96
    """Frames to train on."""
    test_frames: int = 24
    """Frames of other motions to measure, a multiple of 8."""
    epochs: int = PRESETS["tiny"].epochs
    """Of training; the learning rate halves every fourth one."""


@dataclass(frozen=True)
class Row:
    """PSNR in decibels, means over frames."""

    predicted: float
    true: float | None
    """Fed by the texture unwrapped from the frame's own pictures; None where it is what is compared with."""
    mean: float
    """The mean training texture."""
    nearest: float
    """The texture of the training frame whose normal map is nearest."""


@dataclass(frozen=True)
class DrivenProof:
    """What was measured: of textures over the texels that a camera saw, of pictures in the body's box."""

    textures: Row
    textures_trained_motions: Row
    textures_new_motions: Row
    pictures: Row
    """From the camera that training did not see."""
    pictures_trained_motions: Row
    pictures_new_motions: Row


def prove_driven(config: ProveDrivenConfig) -> DrivenProof:
    """Capture, train, drive, measure; prints and writes the figures."""
    training, testing = film_motions(config)
    run = train_predictor(training, config)
    avatar = Avatar.from_run(config.run)
    frames = read_frames(testing)
    poses = [read_transform(frame.transform) for frame in frames]
    paths = predict_textures(avatar, poses, run.folder, config.out / "driven", TEXTURE)
    truth, learned = textures_of(testing), textures_of(training)
    nearest = nearest_poses(testing / "normal", training / "normal")
    worn = {
        "predicted": [read_image(path) for path in paths],
        "true": truth,
        "mean": [torch.stack(learned).mean(0)] * len(frames),
        "nearest": [learned[index] for index in nearest],
    }
    seen = seen_texels(testing)
    on_maps = torch.tensor(
        [[masked_psnr(worn[kind][k], truth[k], seen[k]) for kind in KINDS] for k in range(len(truth))]
    )
    filmed = [over_white(frame.pictures[HELD_OUT]) for frame in frames[::EVERY]]
    worn = {kind: textures[::EVERY] for kind, textures in worn.items()}
    drawn = {kind: pictures(avatar, poses[::EVERY], worn[kind], testing) for kind in KINDS}
    on_pictures = torch.tensor([[box_psnr(drawn[kind][k], filmed[k]) for kind in KINDS] for k in range(len(filmed))])
    proof = DrivenProof(*rows(on_maps, with_truth=False), *rows(on_pictures, with_truth=True))
    show(config.out, filmed, drawn, worn)
    write_text(config.out / "scores.json", json.dumps(asdict(proof), indent=1) + "\n")
    for name, row in asdict(proof).items():
        values = ", ".join(f"{kind} {value:.2f}" for kind, value in row.items() if value is not None)
        print(f"{name.replace('_', ' ')} (dB): {values}")
    return proof


def film_motions(config: ProveDrivenConfig) -> tuple[Path, Path]:
    """Film a person, unwrap textures from the cameras that training sees, and draw normal maps; both splits."""
    out = config.out / "motions"
    capture_neural_actor(
        NeuralActorCapture(
            out=out,
            preset="tiny",
            seed=SEED,
            frames=config.frames,
            test_frames=config.test_frames,
            cameras=CAMERAS,
            maps=False,
        )
    )
    for split in ("training", "testing"):
        extract_textures(out / split, size=TEXTURE, views=f"0..{HELD_OUT}")
        extract_normals(out / split, size=NORMALS)
    return out / "training", out / "testing"


def train_predictor(data: Path, config: ProveDrivenConfig) -> Run:
    """The preset `tiny` of stage texture."""
    settings = replace(
        PRESETS["tiny"],
        data=data,
        experiment_dir=config.out,
        experiment_name="texture",
        accelerator="cpu",
        epochs=config.epochs,
        keep_last=1,
        validate_every=0,
        visuals_every=0,
    )
    assert isinstance(settings, TextureConfig)
    return train(TextureStage, settings, method="neural_actor", stage="texture", argv=[])


def textures_of(data: Path) -> list[Tensor]:
    """(3, S, S) of each frame."""
    return [read_image(frame.texture) for frame in read_frames(data) if frame.texture is not None]


def nearest_poses(wanted: Path, among: Path) -> list[int]:
    """For each normal map of a folder the position of the one of another folder that differs least from it."""
    known = torch.stack([read_image(path) for path in sorted(among.glob("*.png"))])
    found = [read_image(path) for path in sorted(wanted.glob("*.png"))]
    return [int((known - each).square().mean((1, 2, 3)).argmin()) for each in found]


def seen_texels(data: Path) -> list[Tensor]:
    """(S, S) bool a frame: what the cameras that training sees see."""
    body, cameras = read_body(data), read_cameras(data)
    where = layout(body.face_uv, TEXTURE)
    views = parse_views(f"0..{HELD_OUT}", "views")
    masks = []
    for frame in read_frames(data, maps=False):
        vertices = posed_vertices(body, read_transform(frame.transform))
        shown = [(read_rgba(frame.pictures[view]), cameras[view]) for view in views]
        masks.append(torch.from_numpy(texture_map(vertices, body.faces, where, shown).known))
    return masks


def masked_psnr(picture: Tensor, truth: Tensor, mask: Tensor) -> float:
    """PSNR of pictures (3, H, W) in [0, 1] over the pixels of `mask` (H, W)."""
    return float(-10 * (picture - truth).square().mean(0)[mask].mean().clamp_min(1e-10).log10())


def over_white(path: Path) -> Tensor:
    """(3, H, W) a picture with alpha over white."""
    rgba = torch.from_numpy(read_rgba(path)).permute(2, 0, 1)
    return rgba[:3] * rgba[3:] + 1 - rgba[3:]


def pictures(avatar: Avatar, poses: Sequence[Pose], textures: Sequence[Tensor], data: Path) -> list[Tensor]:
    """(3, H, W) each pose in its texture, from the camera that training did not see."""
    viewpoint = Viewpoint(read_cameras(data)[HELD_OUT], SIZE)
    shots = [Shot(pose, texture, viewpoint) for pose, texture in zip(poses, textures)]
    return [each.pictures["color"] for each in draw_shots(avatar, shots, ShotOptions(size=SIZE))]


def rows(scores: Tensor, with_truth: bool) -> list[Row]:
    """Means of scores (N, 4) in the order of `KINDS`, of all frames, of the trained motions and of the new ones."""
    border = len(scores) * TRAINED_MOTIONS // 4
    made = []
    for part in (scores, scores[:border], scores[border:]):
        predicted, true, mean, nearest = part.mean(0).tolist()
        made.append(Row(predicted, true if with_truth else None, mean, nearest))
    return made


def show(out: Path, filmed: Sequence[Tensor], drawn: dict[str, list[Tensor]], worn: dict[str, list[Tensor]]) -> None:
    """Write driven.mp4 (the truth, driven, in the mean texture) and driven.png, which has the textures below."""
    columns = [torch.cat([a, b, c], -1) for a, b, c in zip(filmed, drawn["predicted"], drawn["mean"])]
    sides = (LARGE * SIZE[0], LARGE * 3 * SIZE[1])
    write_video(out / "driven.mp4", [resize(each, sides) for each in columns], RATE, synthetic=True)
    chosen = range(0, len(filmed), max(len(filmed) // 6, 1))
    lines = (filmed, drawn["predicted"], drawn["mean"], worn["true"], worn["predicted"])
    sheet = torch.cat([torch.cat([line[k] for k in chosen], -1) for line in lines], -2)
    write_image(out / "driven.png", sheet, synthetic=True)
