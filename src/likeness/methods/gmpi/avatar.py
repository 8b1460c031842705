"""A trained generator taken up again: from a run of ours, or from published files."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from likeness.engine import Run
from likeness.methods.gmpi.config import GMPIConfig
from likeness.methods.gmpi.method import build_generator
from likeness.methods.gmpi.networks import MPI, MPIGenerator, TruncationCentre
from likeness.methods.gmpi.scene import Scene, Spacing
from likeness.nets.memory import keep_freed_memory
from likeness.nets.stylegan2 import Noise
from likeness.render.multiplane import Rendering, render


@dataclass(frozen=True)
class Avatar:
    """A generator of multiplane images with the scene that it was trained in."""

    config: GMPIConfig
    generator: MPIGenerator

    def __post_init__(self) -> None:
        keep_freed_memory()

    @classmethod
    def from_run(cls, run: str | Path, which: str = "last", device: str = "cpu") -> "Avatar":
        """The 0.999 average of a run of stage gmpi.

        Raises:
            UserError: not such a run.
        """
        opened = Run.open(run, "gmpi", "gmpi")
        config = opened.config(GMPIConfig)
        generator = build_generator(config)
        opened.load("ema", generator, which)
        return cls(config, generator.to(device).eval().requires_grad_(False))

    @property
    def scene(self) -> Scene:
        """Camera and volume, as trained."""
        return replace(self.config.scene, confined=self.config.confined, spacing=self.config.spacing)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.generator.mapping.w_avg.device

    def planes(self, count: int | None = None, spacing: Spacing | None = None) -> Tensor:
        """(P, 3) depth, height, width; by default as many as in training."""
        count = self.config.planes if count is None or self.config.variant == "vanilla" else count
        return self.scene.planes(count, spacing)

    def z(self, seed: int) -> Tensor:
        """(1, z_dim) of a seed."""
        return torch.randn(1, self.config.z_dim, generator=torch.Generator().manual_seed(seed)).to(self.device)

    @torch.no_grad()
    def mpi(
        self,
        z: Tensor,
        planes: Tensor,
        *,
        psi: float = 1.0,
        centre: TruncationCentre = "mean",
        noise: Noise = "const",
        chunk: int | None = None,
        force_background: bool = True,
    ) -> MPI:
        """Multiplane images of z (N, z_dim) on planes (P, 3)."""
        return self.generator(
            z,
            self.scene.normalised(planes[:, 0]).to(self.device),
            psi=psi,
            centre=centre,
            noise=noise,
            chunk=chunk,
            force_background=force_background,
            token_depths=self._token_depths(),
        )

    @torch.no_grad()
    def mpi_of_styles(self, styles: Tensor, planes: Tensor, *, chunk: int | None, force_background: bool) -> MPI:
        """Multiplane images of styles (N, num_ws, w_dim) on planes (P, 3)."""
        depths = self.scene.normalised(planes[:, 0]).to(self.device)
        return self.generator.from_styles(
            styles, depths, chunk=chunk, force_background=force_background, token_depths=self._token_depths()
        )

    def _token_depths(self) -> Tensor | None:
        trained = self.scene.normalised(self.scene.plane_depths(self.config.planes))
        return trained.to(self.device) if self.config.variant == "tokens" else None

    @torch.no_grad()
    def view(self, mpi: MPI, planes: Tensor, yaw: Tensor, pitch: Tensor, size: int | None = None) -> Rendering:
        """Views at yaw, pitch (V,) of one multiplane image, or of as many as there are views; colours in [0, 1]."""
        cameras = self.scene.cameras(yaw, pitch, size or self.config.resolution)
        source = torch.zeros(len(yaw), dtype=torch.long) if len(mpi.alpha) == 1 else None
        return render(mpi.colours, mpi.alpha, planes, cameras, source=source, align_corners=self.config.align_corners)
