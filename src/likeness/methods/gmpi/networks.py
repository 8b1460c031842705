"""The generator of multiplane images, and the discriminator that sees the camera.

Source: Zhao et al., "Generative Multiplane Images: Making a 2D GAN 3D-Aware", ECCV 2022.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from likeness.methods.gmpi.alpha import TOKENS, AlphaMaps, MPIBlock, Variant
from likeness.nets.stylegan2 import Mapping, Noise, Synthesis, truncate
from likeness.nets.stylegan2_ops import upsample2

Activation = Literal["tanh", "sigmoid", "none"]
TruncationCentre = Literal["mean", "zero"]


@dataclass(frozen=True)
class MPI:
    """A multiplane image, nearest plane first; all values lie in [0, 1].

    Only what is distinct is kept: planes 0 to P - 2 show `foreground`, plane P - 1 shows `background`.
    """

    foreground: Tensor
    """(N, 3, R, R)."""
    background: Tensor
    """(N, 3, R, R)."""
    alpha: Tensor
    """(N, P, R, R)."""

    @property
    def colours(self) -> Tensor:
        """(N, 2, 3, R, R) the distinct textures, foreground first."""
        return torch.stack([self.foreground, self.background], dim=1)

    def dense(self) -> Tensor:
        """(N, P, 4, R, R) one RGBA picture a plane, for export and comparison."""
        planes = self.alpha.shape[1]
        colour = self.foreground.unsqueeze(1).repeat(1, planes, 1, 1, 1)
        colour = torch.cat([colour[:, :-1], self.background.unsqueeze(1)], dim=1)
        return torch.cat([colour, self.alpha.unsqueeze(2)], dim=2)

    def __getitem__(self, index: slice) -> "MPI":
        return MPI(self.foreground[index], self.background[index], self.alpha[index])


class MPISynthesis(Synthesis):
    """w -> textures and alpha maps, before the final activation."""

    block_type = MPIBlock

    def forward(  # type: ignore[override]
        self,
        ws: Tensor,
        depths: Tensor,
        noise: Noise = "const",
        half: torch.dtype | None = None,
        token_weights: Tensor | None = None,
        chunk: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits of the two textures (N, 2, 3, R, R) and of the maps (N, P, R, R) (P = 1: depth2alpha's depth).

        Args:
            ws: (N, num_ws, w_dim).
            depths: (P,) normalised plane depths.
            noise: see `Noise`.
            half: see `Synthesis.walk`.
            token_weights: (P, 34), see `MPIBlock.maps`.
            chunk: planes whose alpha maps grow together where a clamp acts, and they cannot all share their growth;
                bounds the scratch memory and changes nothing else.
        """
        colours = None
        levels = []
        for block, x, styles in self.walk(ws, noise, half):
            y = torch.stack([block.torgb(x, styles[2]), block.background(x, styles[2])], dim=1).float()
            colours = y if colours is None else upsample2(colours.flatten(1, 2)).view(y.shape) + y
            levels.append(block.maps(x, styles, depths, token_weights))
        assert colours is not None
        if levels[0].shift is None:  # vanilla and depth2alpha have maps of their own number
            return colours, _grown(levels, slice(None))
        if _never_clamped(levels):
            return colours, _grown_together(levels)
        chunk = chunk or len(depths)
        parts = [_grown(levels, slice(start, start + chunk)) for start in range(0, len(depths), chunk)]
        return colours, parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _grown(levels: list[AlphaMaps | None], planes: slice) -> Tensor:
    """(N, P', R, R) skip sum of the levels' maps from 4x4 upwards."""
    assert levels[0] is not None
    total = levels[0].of(planes)
    for level in levels[1:]:
        total = upsample2(total)
        if level is not None:
            total = total + level.of(planes)
    return total


@torch.no_grad()
def _never_clamped(levels: list[AlphaMaps | None]) -> bool:
    """No level's clamp acts on any plane, so that the skip sum is linear in the planes' shifts."""
    reach = [
        (level.shared.abs().amax() + level.shift.abs().amax()) / level.clamp
        for level in levels
        if level is not None and level.shift is not None and level.clamp is not None
    ]
    return not reach or bool(torch.stack(reach).max() <= 1)


def _grown_together(levels: list[AlphaMaps | None]) -> Tensor:
    """(N, P, R, R) as `_grown`, with what the planes share upsampled once.

    A plane's own part is a constant at each level. Upsampling darkens a constant towards the borders only, by the same
    factors for all planes, so that each level leaves one picture `fall`, that of a constant 1.
    """
    first = levels[0]
    assert first is not None
    assert first.shift is not None
    total, fall, shifts = first.shared, torch.ones_like(first.shared[:1]), [first.shift]
    for level in levels[1:]:
        total, fall = upsample2(total), upsample2(fall)
        if level is not None and level.shift is not None:
            total = total + level.shared
            fall = torch.cat([fall, torch.ones_like(fall[:, :1])], dim=1)
            shifts.append(level.shift)
    own = torch.stack(shifts, dim=-1) @ fall[0].flatten(1)  # (N, P, L) (L, R R)
    return total + own.unflatten(-1, total.shape[2:])


class MPIGenerator(nn.Module):
    """z -> multiplane image.

    Args:
        resolution: side of the textures.
        variant: how alpha is made; the published models are "depth".
        planes: number of planes that the weights hold ("vanilla" only; the others take any number at run time).
        largest_alpha: resolution above which alpha is upsampled only.
        full_background: force the last plane's alpha to 1 ("depth" and "tokens").
        activation: what brings logits into [0, 1]; "none" clamps to [-1, 1] first.
        depth_range: normalised depths run over [0, 1] ("01") or [-1, 1] ("-11").
        depth_bins: resolution of "depth2alpha".
        frequencies: octaves of sines and cosines given to the depth embedding beside the depth itself.
    """

    def __init__(
        self,
        resolution: int,
        *,
        variant: Variant = "depth",
        planes: int = 32,
        z_dim: int = 512,
        w_dim: int = 512,
        channel_base: int = 32768,
        channel_max: int = 512,
        mapping_layers: int = 8,
        largest_alpha: int = 256,
        full_background: bool = True,
        activation: Activation = "tanh",
        depth_range: Literal["01", "-11"] = "01",
        depth_bins: int = 256,
        frequencies: int = 0,
    ):
        super().__init__()
        self.variant, self.planes, self.resolution = variant, planes, resolution
        self.z_dim, self.w_dim = z_dim, w_dim
        self.full_background, self.activation = full_background, activation
        self.depth_range, self.depth_bins = depth_range, depth_bins
        self.synthesis = MPISynthesis(
            w_dim,
            resolution,
            channel_base=channel_base,
            channel_max=channel_max,
            variant=variant,
            planes=planes,
            largest_alpha=largest_alpha,
            frequencies=frequencies,
        )
        self.mapping = Mapping(z_dim, w_dim, layers=mapping_layers)

    def forward(
        self,
        z: Tensor,
        depths: Tensor,
        *,
        psi: float = 1.0,
        cutoff: int | None = None,
        centre: TruncationCentre = "mean",
        noise: Noise = "const",
        half: torch.dtype | None = None,
        chunk: int | None = None,
        force_background: bool = True,
        token_depths: Tensor | None = None,
    ) -> MPI:
        """Multiplane images of z (N, z_dim) at depths (P,) in [0, 1] (0 nearest, 1 farthest), nearest first.

        Args:
            z: (N, z_dim) standard normal.
            depths: (P,).
            psi: truncation; 1 for none.
            cutoff: number of styles that truncation touches.
            centre: what truncation pulls towards: the mean style, or zero (what the published tool did).
            noise: see `Noise`.
            half: type of the highest resolutions' features.
            chunk: planes a pass.
            force_background: set the last plane's alpha to 1 where the variant does so; off for meshes.
            token_depths: (32,) depths that the "tokens" variant was trained at; needed for any other number of planes.
        """
        w = self.mapping(z)
        middle = self.mapping.w_avg if centre == "mean" else torch.zeros_like(self.mapping.w_avg)
        ws = truncate(w, middle, psi, self.synthesis.num_ws, cutoff)
        return self.from_styles(
            ws,
            depths,
            noise=noise,
            half=half,
            chunk=chunk,
            force_background=force_background,
            token_depths=token_depths,
        )

    def from_styles(
        self,
        ws: Tensor,
        depths: Tensor,
        *,
        noise: Noise = "const",
        half: torch.dtype | None = None,
        chunk: int | None = None,
        force_background: bool = True,
        token_depths: Tensor | None = None,
    ) -> MPI:
        """Multiplane images of styles ws (N, num_ws, w_dim); the rest as in `forward`."""
        if self.variant == "vanilla" and len(depths) != self.planes:
            raise ValueError(f"this vanilla generator holds {self.planes} planes, {len(depths)} were asked for")
        scaled = depths if self.depth_range == "01" else 2 * depths - 1
        tokens = None
        if self.variant == "tokens" and len(depths) != TOKENS:
            if token_depths is None:
                raise ValueError(
                    f"{len(depths)} planes from {TOKENS} tokens: say at which depths the tokens were trained"
                )
            tokens = token_interpolation(token_depths, depths)
        colours, maps = self.synthesis(ws, scaled, noise, half, tokens, chunk)
        colours, maps = activate(colours, self.activation), activate(maps, self.activation)
        if self.variant == "depth2alpha":
            maps = alpha_from_depth(maps, scaled, self.depth_bins, 1.0 if self.depth_range == "01" else 2.0)
        elif self.variant != "vanilla" and self.full_background and force_background:
            maps = torch.cat([maps[:, :-1], torch.ones_like(maps[:, -1:])], dim=1)
        return MPI(colours[:, 0], colours[:, 1], maps)


def activate(logits: Tensor, activation: Activation) -> Tensor:
    """Logits -> [0, 1]."""
    if activation == "none":
        return (logits.clamp(-1, 1) + 1) / 2
    return (logits if activation == "sigmoid" else 2 * logits).sigmoid()  # (tanh x + 1) / 2 = sigmoid 2 x


def alpha_from_depth(depth: Tensor, planes: Tensor, bins: int, span: float) -> Tensor:
    """Alpha (N, P, R, R) that steps from 0 to 1 where plane depths (P,) pass the depth map (N, 1, R, R)."""
    step = span / bins
    signed = (planes[None, :, None, None] - depth).clamp(-step, step)
    return (signed + step) / (2 * step + 1e-8)


def token_interpolation(source: Tensor, target: Tensor) -> Tensor:
    """Weights (T, S + 2) that interpolate tokens at depths `source` (S,) linearly at `target` (T,), both ascending.

    The S + 2 columns are a zero token, the S tokens, and a copy of the last one; targets outside the sources' range
    take the nearest token.
    """
    count = len(source)
    right = torch.searchsorted(source.contiguous(), target.contiguous()).clamp(1, count - 1)
    left = right - 1
    t = ((target - source[left]) / (source[right] - source[left])).clamp(0, 1)
    weights = target.new_zeros(len(target), count + 2)
    weights.scatter_(1, left[:, None] + 1, 1 - t[:, None])
    return weights.scatter_(1, right[:, None] + 1, t[:, None])
