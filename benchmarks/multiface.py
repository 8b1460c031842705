"""The deep appearance model at 1024, batch 1: step, inference, decoder, warp, loader, each beside plain torch."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import Row, best_time
from likeness.formats.multiface import CameraRecord, Entity, Statistics, write_mesh, write_picture, write_transform
from likeness.methods.multiface.data import Sample, ViewSet
from likeness.methods.multiface.layers import ConvTranspose2dWN, LinearWN, fold
from likeness.methods.multiface.networks import Avatar

SIZE, LATENT, VERTICES = 1024, 256, 7306


def main() -> list[Row]:
    """Measure base and warp steps, inference, the decoder in float32 and bfloat16, and the loader."""
    torch.manual_seed(0)
    average, verts = torch.randn(1, 3, SIZE, SIZE), torch.randn(1, VERTICES, 3)
    view, z = torch.tensor([[0.0, 0.0, 1.0]]), torch.randn(1, LATENT)
    rows = []
    for name, step_goal, inference_goal in (("base", "<= 0.2 s", "<= 0.06 s"), ("warp", "<= 0.5 s", "<= 0.1 s")):
        avatar = Avatar(name, SIZE, LATENT, VERTICES)  # type: ignore[arg-type]
        ours, plain = best_time(lambda a=avatar: step(a, average, verts, view)), None
        with torch.no_grad():
            fast = fold(avatar).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            inference = best_time(lambda f=fast: f.decode(f.encode(average, verts).mean, view))
            decode = best_time(lambda f=fast: f.decode(z, view))
            half = fold(avatar).to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
            decode_half = best_time(lambda f=half: f.decode(z.bfloat16(), view.bfloat16()))
        plainly(avatar)
        plain = best_time(lambda a=avatar: step(a, average, verts, view))
        with torch.no_grad():
            plain_inference = best_time(lambda a=avatar: a.decode(a.encode(average, verts).mean, view))
            plain_decode = best_time(lambda a=avatar: a.decode(z, view))
        rows += [
            Row(f"{name} 1024 training step", ours, "weight-normed layers, channels first", plain, step_goal),
            Row(
                f"{name} 1024 inference",
                inference,
                "weight-normed layers, channels first",
                plain_inference,
                inference_goal,
            ),
        ]
        if name == "base":
            rows += [
                Row("decoder alone, float32", decode, "weight-normed layers", plain_decode, "<= 0.04 s"),
                Row("decoder alone, bfloat16", decode_half, "float32, the same", decode, "<= 0.02 s"),
            ]
    return [*rows, loader()]


def step(avatar: Avatar, average: Tensor, verts: Tensor, view: Tensor) -> None:
    """Forward and backward of the mesh and texture losses."""
    decoded = avatar.decode(avatar.encode(average, verts).mean, view)
    ((decoded.texture - average).square().mean() + (decoded.verts - verts).square().mean()).backward()
    avatar.zero_grad()


def plainly(avatar: Avatar) -> None:
    """Turn the networks' own speed-ups off: effective matrices in full, channels first."""
    for module in avatar.modules():
        if isinstance(module, LinearWN):
            module.forward = _plain_linear.__get__(module)  # type: ignore[method-assign]
        if isinstance(module, ConvTranspose2dWN | nn.Conv2d):
            module.forward = _first(module.forward)  # type: ignore[method-assign]


def _plain_linear(self: LinearWN, x: Tensor) -> Tensor:
    return F.linear(x, self.weight * (self.g / self.weight.square().sum().sqrt())[:, None], self.bias)


def _first(forward):
    return lambda x: forward(x.contiguous())


def loader() -> Row:
    """One sample without its photograph from 1024 x 1024 textures."""
    with tempfile.TemporaryDirectory() as name:
        entity = Entity(Path(name))
        generator = np.random.default_rng(0)
        texture = cv2.resize(generator.integers(1, 255, (64, 64, 3), dtype=np.uint8), (SIZE, SIZE))
        for camera in ("c", "average"):
            write_picture(entity.texture("E", camera, "000001"), texture)
        mesh = np.zeros((VERTICES, 3), np.float32)
        write_mesh(entity.mesh("E", "000001"), mesh)
        write_transform(entity.transform("E", "000001"), np.eye(3, 4))
        record = CameraRecord(np.eye(3), np.zeros(5), np.concatenate([np.eye(3), [[0], [0], [1000.0]]], axis=1))
        statistics = Statistics(texture, 100.0, mesh, 1.0)
        views = ViewSet(entity, [Sample("E", "000001", "c")], {"c": record}, {"c": 0}, statistics, SIZE)
        ours = best_time(lambda: views.batch([0]))
        mean = texture[::-1].astype(np.float32)

        def plain() -> None:
            for camera in ("c", "average"):
                picture = cv2.imread(str(entity.texture("E", camera, "000001")))[::-1, :, ::-1].astype(np.float32)
                missing = picture == 0
                normed = (picture - mean) / 10
                normed[missing] = 0
                torch.from_numpy(cv2.resize(normed, (SIZE, SIZE)).transpose(2, 0, 1).copy())
                torch.from_numpy(1 - cv2.resize(missing.astype(np.float32), (SIZE, SIZE)).transpose(2, 0, 1))

        return Row("loader, one sample without photo", ours, "numpy, step by step", best_time(plain), ">= 15 samples/s")
