"""Pictures that show the stage: heads, bodies, and one frame with all of its truth."""

import numpy as np
import torch
from torch import Tensor

from likeness.capture.expression import PRESETS, expression
from likeness.capture.light import draw_light
from likeness.capture.motion import MOTIONS, body_clip, grounded
from likeness.capture.parts import COLOURS
from likeness.capture.performance import Performance, relaxed_arms
from likeness.capture.person import Person, make_person
from likeness.capture.stage import Frame, body_camera, portrait_camera, take

PALETTE = torch.tensor([COLOURS[part] for part in sorted(COLOURS)], dtype=torch.float32) / 255


def head(seed: int, size: int = 256) -> Frame:
    """A random portrait of the person that `seed` stands for."""
    rng = np.random.default_rng([seed, 61])
    person = make_person(seed)
    shape = expression(list(PRESETS)[seed % len(PRESETS)])
    act = Performance(0.8 * shape, gaze=(rng.normal(0, 0.1), 0.0), pose=relaxed_arms())
    yaw = np.radians([0, 25, -40, 10, -20, 45, -8, 30][seed % 8])
    return take(person, act, portrait_camera(person, (size, size), yaw=yaw), draw_light(rng), seed=seed)


def body(seed: int, size: int = 256) -> Frame:
    """A random moment of a motion of the person that `seed` stands for."""
    rng = np.random.default_rng([seed, 62])
    person = make_person(seed)
    act = grounded(person, body_clip(MOTIONS[seed % len(MOTIONS)], 25, rng)[11])
    camera = body_camera(person, (size, size), yaw=np.radians([0, 35, -35, 60][seed % 4]))
    return take(person, act, camera, draw_light(rng), seed=seed, floor=True)


def truth(frame: Frame) -> list[Tensor]:
    """The picture, its landmarks, depth, alpha, parts, texture coordinates and normals as pictures (3, H, W)."""
    seen = frame.depth > 0
    near, far = frame.depth[seen].min(), frame.depth[seen].max()
    depth = torch.where(seen, 1 - 0.8 * (frame.depth - near) / (far - near), 0.0).expand(3, -1, -1)
    parts = PALETTE[frame.parts.long()].movedim(-1, 0)
    coordinates = torch.cat([frame.uv, 0.3 * (frame.uv.sum(0, keepdim=True) > 0)])
    normals = (0.5 + 0.5 * frame.normals) * seen
    return [frame.image, marked(frame), depth, frame.alpha.expand(3, -1, -1), parts, coordinates, normals]


def marked(frame: Frame) -> Tensor:
    """The picture (3, H, W) with its landmarks: green where visible, red where hidden."""
    image = frame.image.clone()
    height, width = image.shape[1:]
    for (x, y), visible in zip(frame.pixels.tolist(), frame.visible.tolist()):
        row, column = int(y), int(x)
        if 1 <= row < height - 1 and 1 <= column < width - 1:
            colour = torch.tensor([0.1, 1.0, 0.3] if visible else [1.0, 0.2, 0.2])
            image[:, row - 1 : row + 2, column - 1 : column + 2] = colour[:, None, None]
    return image


def hair_styles(seed: int, styles: tuple[str, ...], size: int = 192) -> list[Tensor]:
    """One person under every style."""
    people: list[Person] = [make_person(seed, style) for style in styles]
    light = draw_light(np.random.default_rng([seed, 63]))
    act = Performance(expression("smile") * 0.6, pose=relaxed_arms())
    return [take(p, act, portrait_camera(p, (size, size), yaw=0.45), light).image for p in people]
