"""A head avatar in use: the identity is embedded once, then landmarks alone make frames.

```python
avatar = Avatar.from_run("runs/x/runs/mine")
me = avatar.identify([photo], [landmarks], [mask])
picture, mask = me.drive(landmarks)
```
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from likeness.engine import load_tensors
from likeness.errors import UserError
from likeness.methods.bilayer import stickman
from likeness.methods.bilayer.networks import BASE, ENHANCER, NetworkOptions, build_network, network_options
from likeness.methods.bilayer.networks.convolution import fix_kernels
from likeness.methods.bilayer.networks.folded import FoldedGenerator
from likeness.methods.bilayer.networks.inference_generator import compose
from likeness.methods.bilayer.networks.projector import Projector
from likeness.methods.bilayer.networks.spectral_norm import fold_spectral_norm
from likeness.methods.bilayer.networks.warp import sample
from likeness.methods.bilayer.published import find_network_file, load_network_weights, read_run_config, run_folder
from likeness.nets.memory import keep_freed_memory


@dataclass(frozen=True)
class Picture:
    """One frame of an avatar, before it is put on a background."""

    colour: Tensor
    """(3, S, S) in [0, 1]."""
    mask: Tensor
    """(1, S, S) in [0, 1]."""

    def over(self, background: float = 1.0) -> Tensor:
        """The frame on a grey level -> (3, S, S): 1 white, as published; 0 black."""
        return self.colour * self.mask + background * (1 - self.mask)


class Identity(nn.Module):
    """One person: texture, folded generator, keypoints embedder; makes a frame from landmarks alone."""

    def __init__(self, embedder: nn.Module, generator: FoldedGenerator, texture: Tensor, grid: Tensor):
        super().__init__()
        self.embedder, self.generator = embedder, generator
        self.register_buffer("texture", texture.contiguous(memory_format=torch.channels_last))
        self.register_buffer("grid", grid)
        self.eval()

    def forward(self, poses: Tensor) -> tuple[Tensor, Tensor]:
        """Poses (N, 136) -> colour (N, 3, S, S) in [-1, 1], not clamped nor masked, and mask (N, 1, S, S)."""
        layers = self.generator(self.embedder(poses))
        uvs = self.get_buffer("grid") + layers.delta_uvs.permute(0, 2, 3, 1)
        texture = self.get_buffer("texture").expand(poses.shape[0], -1, -1, -1)
        return layers.lf_rgbs + sample(texture, uvs), torch.sigmoid(layers.segs_logits)

    @torch.inference_mode()
    def drive(self, pose: np.ndarray) -> Picture:
        """One frame from a pose (136,) or (68, 2), normalised to [-1, 1]."""
        device = self.get_buffer("grid").device
        poses = torch.from_numpy(np.ascontiguousarray(pose, dtype=np.float32)).reshape(1, -1).to(device)
        if poses.shape[1] != 136:
            raise UserError(f"an avatar is driven by 68 landmarks, found {poses.shape[1] / 2:g}")
        colour, mask = self(poses)
        return Picture(((colour[0] + 1) / 2).clamp(0, 1), mask[0])


class Avatar:
    """The networks of a trained run, ready to embed any number of people."""

    def __init__(
        self,
        networks: dict[str, nn.Module],
        options: NetworkOptions,
        thickness: int = 2,
        precision: torch.dtype = torch.float32,
    ):
        """Make networks ready for use, in place.

        Args:
            networks: as of `build_network`; those of `BASE`, and the enhancer if it is to be used.
            options: what they were built with.
            thickness: of the stickmen that they were trained with.
            precision: of driven frames: float32, or bfloat16, which is faster where the processor has it (AVX-512
                BF16, AMX) and stays within 0.05 of float32.
        """
        self.precision = precision
        self.networks, self.options, self.thickness = networks, options, thickness
        keep_freed_memory()
        for name, network in networks.items():
            fold_spectral_norm(network.eval()).requires_grad_(False)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if name != "inference_generator":  # whose kernels are folded for each person
                fix_kernels(network)
            for module in network.modules():
                if isinstance(module, Projector):
                    module.collapse(options.emb_output_tensor_size)

    @classmethod
    def from_run(
        cls,
        run: str | Path,
        which: str = "last",
        device: str | torch.device = "cpu",
        enhancer: bool = True,
        precision: torch.dtype = torch.float32,
    ) -> Avatar:
        """Load a run of either stage, or an imported one.

        Args:
            run: the run's folder, or `shipped` for the one that comes with the package.
            which: `last` or the number of an epoch.
            device: where to compute.
            enhancer: use the run's texture enhancer if it has one.
            precision: see `Avatar`.

        Raises:
            UserError: no run, not one of this method, or a network is missing.
        """
        run = run_folder(run)
        config = read_run_config(run)
        names = [*BASE, ENHANCER] if enhancer and find_network_file(run, ENHANCER, which) else list(BASE)
        networks = {}
        for name in names:
            path = find_network_file(run, name, which)
            if path is None:
                raise UserError(f"has no checkpoint {which!r} of {name}", path=run)
            networks[name] = build_network(name, config, spectral_norm=name in config.spn_networks)
            load_network_weights(networks[name], load_tensors(path), path)
            networks[name].to(device)
        return cls(networks, network_options(config), config.stickmen_thickness, precision)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.networks[BASE[0]].parameters()).device

    @torch.no_grad()
    def identify(
        self, images: Sequence[np.ndarray], keypoints: Sequence[np.ndarray], masks: Sequence[np.ndarray]
    ) -> Identity:
        """Embed a person from one or several source crops.

        Args:
            images: (3, S, S) float32 in [0, 1] each.
            keypoints: (68, 2) pixels of the crop each.
            masks: (1, S, S) in [0, 1] each.
        """
        size = self.options.image_size
        for image, mask in zip(images, masks, strict=True):
            if image.shape != (3, size, size) or mask.shape != (1, size, size):
                raise UserError(
                    f"this avatar takes crops and masks of {size}x{size}, found {image.shape} and {mask.shape}"
                )
        poses = np.stack([stickman.normalise(k, size) for k in keypoints])
        drawn = np.stack([stickman.draw(pose, size, self.thickness) for pose in poses])
        imgs = torch.from_numpy(np.stack(images)).float()[None].to(self.device) * 2 - 1
        segs = torch.from_numpy(np.stack(masks)).float()[None].to(self.device)
        stickmen = torch.from_numpy(drawn)[None].to(self.device)
        embeds = self.networks["identity_embedder"](imgs, stickmen, segs)
        texture = self.networks["texture_generator"](embeds)
        generator = self.networks["inference_generator"]
        predicted = generator.project(embeds)  # type: ignore[operator]
        grid = generator.get_buffer("identity_grid")
        if ENHANCER in self.networks:
            pose_embeds = self.networks["keypoints_embedder"](torch.from_numpy(poses).to(self.device))
            layers = generator(pose_embeds, predicted)
            repeated = texture.repeat_interleave(len(images), 0)
            source = compose(layers, repeated, grid, apply_masks=False)
            texture = self.networks[ENHANCER](texture, source, imgs[0])
        return Identity(
            self.networks["keypoints_embedder"],
            FoldedGenerator(generator, predicted, self.precision),  # type: ignore[arg-type]
            texture,
            grid,
        )


LANDMARK_RANGE = 1.5
"""Normalised landmarks are sent as 16-bit integers over this range on either side of zero."""


def pack(pose: np.ndarray, frame_number: int) -> bytes:
    """Landmarks as they go over a wire: 4 bytes of frame number, 136 16-bit coordinates -> 276 bytes."""
    scaled = np.clip(np.rint(pose.reshape(-1) / LANDMARK_RANGE * 32767), -32767, 32767).astype("<i2")
    return struct.pack("<I", frame_number) + scaled.tobytes()


def unpack(message: bytes) -> tuple[np.ndarray, int]:
    """The inverse of `pack`: pose (136,) float32, exact to 5e-5, and frame number."""
    if len(message) != 4 + 2 * 136:
        raise UserError(f"a landmark message has 276 bytes, found {len(message)}")
    scaled = np.frombuffer(message, "<i2", offset=4).astype(np.float32)
    return scaled / 32767 * LANDMARK_RANGE, struct.unpack_from("<I", message)[0]
