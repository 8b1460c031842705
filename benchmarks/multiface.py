"""The deep appearance model at 1024, batch 1: step, screen loss, inference, loader, each beside plain torch."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import Row, best_time
from benchmarks.render import head, plain_picture
from likeness.engine import OptimizerSpec, UpdateSpec
from likeness.engine.updates import Updates
from likeness.formats.multiface import CameraRecord, Entity, Statistics, write_mesh, write_picture, write_transform
from likeness.methods.multiface.colour import DiagonalColour
from likeness.methods.multiface.config import MultifaceConfig
from likeness.methods.multiface.data import MultifaceBatch, Normaliser, Sample, ViewSet
from likeness.methods.multiface.layers import SLOPE, Conv2dWN, ConvTranspose2dWN, DownBlock, LinearWN, UpBlock, fold
from likeness.methods.multiface.model import predict
from likeness.methods.multiface.networks import Avatar, WarpField
from likeness.methods.multiface.objective import Objective
from likeness.methods.multiface.optimiser import Adam
from likeness.methods.multiface.screen import MeshTopology

SIZE, LATENT, VERTICES, CAMERAS = 1024, 256, 7306, 38
PICTURE = (1024, 667)
LATTER = torch.channels_last


def main() -> list[Row]:
    """Measure steps with their optimisers, inference, the decoder in float32 and bfloat16, and the loader."""
    torch.manual_seed(0)
    batch, objective = setting()
    view, z = batch.view, torch.randn(1, LATENT)
    plain_name = "plain layers, channels first"
    half_name = "float32, the same" if has_bfloat16() else "float32 (no bfloat16 instructions here)"
    rows = []
    for name, step_goal, inference_goal in (("base", "<= 0.2 s", "<= 0.06 s"), ("warp", "<= 0.5 s", "<= 0.1 s")):
        avatar, colour = Avatar(name, SIZE, LATENT, VERTICES), DiagonalColour(CAMERAS)  # type: ignore[arg-type]
        step = best_time(trainer(avatar, colour, batch, objective, optimiser=Adam), repeats=12)
        if name == "base":
            drawn = best_time(trainer(avatar, colour, batch, with_screen(objective), optimiser=Adam), repeats=12)
        with torch.no_grad():
            fast = fold(avatar).to(memory_format=LATTER)  # type: ignore[call-overload]
            inference = best_time(lambda f=fast: f.decode(f.encode(batch.average, batch.verts).mean, view))
            decode = best_time(lambda f=fast: f.decode(z, view))
            half = fold(avatar).to(torch.bfloat16, memory_format=LATTER)  # type: ignore[call-overload]
            small = dataclasses.replace(batch, average=batch.average.bfloat16(), verts=batch.verts.bfloat16())
            inference_half = best_time(
                lambda f=half, b=small: f.decode(f.encode(b.average, b.verts).mean, view.bfloat16()), repeats=2
            )
            decode_half = best_time(lambda f=half: f.decode(z.bfloat16(), view.bfloat16()), repeats=2)
        plainly(avatar)
        plain_step = best_time(trainer(avatar, colour, batch, objective, optimiser=torch.optim.Adam), repeats=2)
        with torch.no_grad():
            plain_inference = best_time(lambda a=avatar: a.decode(a.encode(batch.average, batch.verts).mean, view))
            plain_decode = best_time(lambda a=avatar: a.decode(z, view))
        rows += [
            Row(f"{name} 1024, a training step with its optimisers", step, plain_name, plain_step, step_goal),
            Row(f"{name} 1024, inference", inference, plain_name, plain_inference, inference_goal),
        ]
        if name == "base":
            drawing = best_time(plain_drawing(batch, objective), repeats=1)
            rows += [
                Row("what the screen loss at 1024 x 667 adds", drawn - step, "plain torch", drawing, "<= 0.08 s"),
                Row("base 1024, inference, bfloat16", inference_half, half_name, inference, "<= 0.035 s"),
                Row("decoder alone", decode, plain_name, plain_decode, "<= 0.04 s"),
                Row("decoder alone, bfloat16", decode_half, half_name, decode, "<= 0.02 s"),
            ]
    return [*rows, loader()]


def setting() -> tuple[MultifaceBatch, Objective]:
    """One sample of noise with a head that covers half the picture, and its loss without the screen."""
    pixels, uv, triangles = head(85, 84, PICTURE)
    height, width = PICTURE
    middle = torch.tensor([width / 2, height / 2, 1000.0])
    mean = torch.zeros(VERTICES, 3)
    mean[: pixels.shape[1]] = pixels[0] - middle
    far = 2000.0
    matrix = [[far, 0, width / 2, width / 2 * far], [0, far, height / 2, height / 2 * far], [0, 0, 1, far]]

    def noise() -> Tensor:
        return torch.randn(1, 3, SIZE, SIZE).contiguous(memory_format=LATTER)

    batch = MultifaceBatch(
        average=noise(),
        texture=noise(),
        mask=(noise() > 0).float(),
        verts=torch.randn(1, VERTICES, 3),
        view=torch.tensor([[0.0, 0.0, 1.0]]),
        projection=torch.tensor(matrix)[None],
        row=torch.tensor([1]),
        photo=torch.rand(1, 3, height, width).contiguous(memory_format=LATTER),
    )
    normaliser = Normaliser(torch.full((SIZE, SIZE, 3), 0.4).permute(2, 0, 1), 20.0, mean, 1.0)
    config = MultifaceConfig(resolution=PICTURE)
    return batch, Objective(config, normaliser, MeshTopology(uv, triangles, triangles), None)


def with_screen(objective: Objective) -> Objective:
    """The same loss with the screen term."""
    config = dataclasses.replace(objective.config, lambda_screen=1.0)
    return Objective(config, objective.normaliser, objective.topology, objective.weight)


def trainer(
    avatar: Avatar,
    colour: DiagonalColour,
    batch: MultifaceBatch,
    objective: Objective,
    *,
    optimiser: type[torch.optim.Adam],
) -> Callable[[], None]:
    """A whole training step: prediction with noise, all terms, one backward, clip, both optimisers."""
    specs = {
        name: OptimizerSpec(networks=(name,), factory=lambda parameters: optimiser(parameters, lr=3e-4))
        for name in ("avatar", "colour")
    }
    update = UpdateSpec(optimizers=("avatar", "colour"), weights=objective.weights, clip_norm=10.0)
    updates = Updates({"avatar": avatar, "colour": colour}, specs, {"all": update})

    def step() -> None:
        noise = torch.randn(1, LATENT)
        prediction = predict(avatar, colour, batch.average, batch.verts, batch.view, batch.row, noise)
        updates.backward("all", objective.terms(prediction, batch))
        updates.apply("all", 0, 0)

    return step


def plain_drawing(batch: MultifaceBatch, objective: Objective) -> Callable[[], None]:
    """The picture and its gradients by plain torch."""
    vertices, uv, triangles = head(85, 84, PICTURE)
    texture = torch.rand(1, 3, SIZE, SIZE, requires_grad=True)
    vertices.requires_grad_()
    assert batch.photo is not None
    photo = batch.photo[0]
    return lambda: (plain_picture(vertices, uv, texture, triangles, PICTURE) - photo).square().mean().backward()


def plainly(avatar: Avatar) -> None:
    """Turn the networks' speed-ups off: effective kernels and matrices in full, torch's gradients, channels first."""
    for module in avatar.modules():
        if isinstance(module, LinearWN):
            module.forward = _plain_linear.__get__(module)  # type: ignore[method-assign]
        if isinstance(module, ConvTranspose2dWN | Conv2dWN):
            module.forward = _plain_convolution.__get__(module)  # type: ignore[method-assign]
        if isinstance(module, DownBlock):
            module.forward = _plain_down_block.__get__(module)  # type: ignore[method-assign]
        if isinstance(module, UpBlock):
            module.forward = _plain_up_block.__get__(module)  # type: ignore[method-assign]
        if isinstance(module, WarpField):
            module.forward = _plain_field.__get__(module)  # type: ignore[method-assign]
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(parameter.detach().contiguous()))


def _plain_linear(self: LinearWN, x: Tensor) -> Tensor:
    return F.linear(x, self.weight * (self.g / self.weight.square().sum().sqrt())[:, None], self.bias)


def _plain_convolution(
    self: ConvTranspose2dWN | Conv2dWN, x: Tensor, texel_bias: Tensor | None = None, *, rectify: bool = False
) -> Tensor:
    if isinstance(self, ConvTranspose2dWN):
        out = F.conv_transpose2d(x.contiguous(), self.effective(), self.bias, 2, 1)
    else:
        out = F.conv2d(x.contiguous(), self.effective(), self.bias, self.stride, 1)
    out = out if texel_bias is None else out + texel_bias
    return F.leaky_relu(out, SLOPE) if rectify else out


def _plain_down_block(self: DownBlock, x: Tensor) -> Tensor:
    return self.conv2(self.conv1(x, rectify=True), rectify=True)


def _plain_up_block(self: UpBlock, x: Tensor) -> Tensor:
    return self.conv2(self.conv1(x, rectify=True), rectify=not self.last)


def _plain_field(self: WarpField, z: Tensor) -> Tensor:
    offset = self.upsample(self.mlp(z).view(-1, 256, 2, 2))
    return (self.normal_grid + offset / self.tex_size).permute(0, 2, 3, 1)


def has_bfloat16() -> bool:
    """Whether the processor itself computes in bfloat16."""
    try:
        return "_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return True


def loader() -> Row:
    """One sample without its photograph from 1024 x 1024 textures with a camera's noise, a fifth of them not seen."""
    with tempfile.TemporaryDirectory() as name:
        entity = Entity(Path(name))
        generator = np.random.default_rng(0)
        smooth = cv2.resize(generator.integers(1, 255, (64, 64, 3), dtype=np.uint8), (SIZE, SIZE))
        texture = np.clip(smooth + 2 * generator.normal(size=smooth.shape), 1, 255).astype(np.uint8)
        texture[: SIZE // 5] = 0
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
