"""A small actor on disk and a run of an untrained renderer that sees it as an opaque body."""

import dataclasses
import json

import numpy as np
import torch

from likeness.engine.run import Run
from likeness.formats.actor import ActorCamera, write_body, write_cameras, write_transform
from likeness.geometry.body import BodyModel, Pose
from likeness.geometry.skinning import bone_transforms
from likeness.media.image import write_image
from likeness.methods.neural_actor.config import PRESETS
from likeness.methods.neural_actor.networks.actor import ActorNetwork
from likeness.methods.neural_actor.viewpoints import look_at

BONES = ("root", "middle", "top")
PARENTS = [-1, 0, 1]


def body(height=1.6, radius=0.15, rings=30, sides=14):
    """A closed upright capsule of three bones, and its rest joints; outward faces."""
    levels, angles = torch.linspace(0, 1, rings), torch.arange(sides) * (2 * torch.pi / sides)
    wide = radius * torch.sin(torch.pi * (0.08 + 0.84 * levels)).clamp_min(0.3)
    ring = torch.stack([angles.cos(), torch.zeros(sides), -angles.sin()], -1)
    up = torch.tensor([0.0, 1.0, 0.0])
    vertices = (ring * wide[:, None, None] + levels[:, None, None] * height * up).flatten(0, 1)
    vertices = torch.cat([vertices, -0.05 * up[None], (height + 0.05) * up[None]])
    faces = []
    for level in range(rings - 1):
        for side in range(sides):
            a, b = level * sides + side, level * sides + (side + 1) % sides
            faces += [[a, b, a + sides], [b, b + sides, a + sides]]
    bottom, top, last = rings * sides, rings * sides + 1, (rings - 1) * sides
    for side in range(sides):
        following = (side + 1) % sides
        faces += [[bottom, following, side], [top, last + side, last + following]]
    uv = torch.stack(
        [torch.atan2(vertices[:, 2], vertices[:, 0]) / (2.2 * torch.pi) + 0.5, vertices[:, 1] / 2 + 0.1], -1
    )
    share = (vertices[:, 1] / height).clamp(0, 1)
    weights = torch.stack([(1 - 2 * share).clamp(0, 1), 1 - (2 * share - 1).abs(), (2 * share - 1).clamp(0, 1)], -1)
    joints = torch.tensor([[0.0, 0.1, 0.0], [0.0, 0.5, 0.0], [0.0, 0.9, 0.0]]) * height
    faces = torch.tensor(faces)
    return BodyModel(vertices, faces, uv[faces], weights, torch.eye(4).expand(3, 4, 4).clone()), uv, joints


def pose(joints, bend=0.0, place=(0.0, 0.0, 0.0)):
    """The capsule with its two upper bones bent about z."""
    c, s = np.cos(bend), np.sin(bend)
    turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float32)
    bones = bone_transforms(torch.stack([torch.eye(3), turn, turn]), joints, PARENTS)
    posed = (bones[:, :3, :3] @ joints.unsqueeze(-1)).squeeze(-1) + bones[:, :3, 3]
    place = torch.tensor(place)
    return Pose(bones, torch.eye(3), place, posed + place)


def write_actor(folder, height=1.6, radius=0.15, frames=3, size=32, bends=0.2, cameras=2):
    """A folder in the published image form, with skeleton.json beside it."""
    model, uv, joints = body(height, radius)
    write_body(folder, model, uv, model.faces)
    (folder / "skeleton.json").write_text(json.dumps({"bones": list(BONES), "parents": PARENTS}))
    studio = []
    for index in range(cameras):
        angle = 0.8 * index
        place = torch.tensor([3 * np.sin(angle), 0.8, 3 * np.cos(angle)], dtype=torch.float32)
        matrix = look_at(place, torch.tensor([0.0, 0.8, 0.0]), torch.tensor([0.0, -1.0, 0.0]))
        intrinsics = torch.tensor([[1.3 * size, 0, size / 2], [0, 1.3 * size, size / 2], [0, 0, 1]])
        studio.append(ActorCamera(intrinsics, matrix))
    write_cameras(folder, studio)
    generator = torch.Generator().manual_seed(0)
    for frame in range(frames):
        write_transform(folder / "transform" / f"{frame:06d}.json", pose(joints, bends * frame))
        write_image(folder / "tex" / f"{frame:06d}.png", torch.rand(3, 32, 32, generator=generator), synthetic=True)
        for index in range(cameras):
            picture = torch.ones(3, size, size)
            picture[:, size // 4 : -size // 4, size // 2 - 3 : size // 2 + 3] = 0.3
            write_image(folder / "rgb" / f"{frame:06d}" / f"image_c_{index:03d}.png", picture, synthetic=True)
    return folder


def write_run(folder, data, opaque=12.0, **options):
    """A run of an untrained tiny renderer, dense everywhere near the body."""
    config = dataclasses.replace(
        PRESETS["tiny"],
        data=data,
        experiment_dir=folder,
        accelerator="cpu",
        view_resolution=(32, 32),
        train_views="0..2",
        valid_views="0,1",
        subsample_valid=1,
        network=dataclasses.replace(
            PRESETS["tiny"].network,
            width=16,
            density_width=8,
            inputs_to_texture="feat:0:16,attnout:0:16,texture:0:16,ray:4:3:b",
            texture_encoder_width=4,
        ),
        render=dataclasses.replace(PRESETS["tiny"].render, fixed_num_samples=7),
        **options,
    )
    torch.manual_seed(0)
    network = ActorNetwork(body()[0], config.network)
    torch.nn.init.constant_(network.field.predictor.output_layer.bias, opaque)
    run = Run.of(config)
    run.record("neural_actor", "renderer", (), config, [])
    run.checkpoints.save(parse(1), {"renderer": network}, {})
    return run.folder


def parse(epoch):
    from likeness.engine.checkpoints import Tag

    return Tag(epoch)
