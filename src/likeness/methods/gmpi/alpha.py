"""What GMPI adds to a StyleGAN2 block: the four ways of making alpha maps, and the background texture.

Source: Zhao et al., "Generative Multiplane Images", ECCV 2022, section 3.2. Names and order of the parameters are those
of the published generators.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.methods.gmpi.projection import normalised_projection
from likeness.nets.stylegan2 import EqualisedLinear, SynthesisBlock, ToImage, clamped
from likeness.nets.stylegan2_ops import SQRT2

Variant = Literal["vanilla", "depth", "tokens", "depth2alpha"]
TOKENS = 32
BACKGROUND_RATIO = 0.05


class DepthEmbedding(nn.Module):
    """A plane's normalised depth -> C features, through four modulated 1x1 layers steered by w."""

    def __init__(self, channels: int, w_dim: int, *, frequencies: int, clamp: float | None):
        super().__init__()
        self.clamp = clamp
        self.frequencies = frequencies
        widths = [1 + 2 * frequencies, max(channels // 4, 1), max(channels // 2, 1), channels, channels]
        for layer in range(1, 5):
            inputs, outputs = widths[layer - 1], widths[layer]
            self.register_parameter(f"weight{layer}", nn.Parameter(torch.randn(outputs, inputs, 1, 1)))
            self.register_parameter(f"bias{layer}", nn.Parameter(torch.zeros(outputs)))
        for layer in range(1, 5):
            self.add_module(f"affine{layer}", EqualisedLinear(w_dim, widths[layer - 1], bias_init=1.0))

    def forward(self, depths: Tensor, w: Tensor) -> Tensor:
        """Normalised depths (P,) and w (N, w_dim) -> (N, P, C)."""
        inputs = [depths]
        for octave in range(self.frequencies):
            inputs += [(2**octave * depths).sin(), (2**octave * depths).cos()]
        h = torch.stack(inputs, dim=-1).unsqueeze(0)  # (1, P, 1 + 2 F)
        for layer in range(1, 5):
            weight = self.get_parameter(f"weight{layer}")[:, :, 0, 0]
            styles = self.get_submodule(f"affine{layer}")(w) / weight.shape[1] ** 0.5  # (N, C_in)
            h = torch.matmul(h, (weight * styles[:, None]).mT) + self.get_parameter(f"bias{layer}")
            h = clamped(F.leaky_relu(h, 0.2) * SQRT2, self.clamp)
        return h


class MPIBlock(SynthesisBlock):
    """A synthesis block that also answers one alpha (or depth) map per plane.

    A block above `largest_alpha` adds nothing to alpha (depth and tokens variants); `variant` is then None.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        resolution: int,
        *,
        clamp: float | None,
        variant: Variant,
        planes: int,
        largest_alpha: int,
        frequencies: int,
    ):
        super().__init__(inputs, outputs, w_dim, resolution, clamp=clamp)
        # Vanilla and depth2alpha make their maps at every resolution.
        self.variant: Variant | None = None
        self.blend_epsilon = 0.0 if variant == "vanilla" else 1e-8
        if variant in ("vanilla", "depth2alpha") or resolution <= largest_alpha:
            self.variant = variant
        if self.variant == "depth2alpha":
            self.todepth = ToImage(outputs, 1, w_dim, clamp=clamp)
        elif self.variant is not None:
            self.toalpha = ToImage(outputs, planes if variant == "vanilla" else 1, w_dim, clamp=clamp)
        if self.variant == "depth":
            self.pos_enc_embed = DepthEmbedding(outputs, w_dim, frequencies=frequencies, clamp=clamp)
            self._modules = {"pos_enc_embed": self._modules.pop("pos_enc_embed"), **self._modules}
        elif self.variant == "tokens":
            # The published average is a list without names in the order of registration, where tokens come first.
            tokens = nn.Parameter(torch.rand(1, TOKENS, outputs, 1, 1))
            self._parameters = {"pos_enc_embed_learnable_param": tokens, **self._parameters}
            self.register_buffer("pos_enc_embed_learnable_param_left_append", torch.zeros(1, 1, outputs, 1, 1))

    def maps(self, x: Tensor, ws: Sequence[Tensor], depths: Tensor, token_weights: Tensor | None) -> "AlphaMaps | None":
        """This block's share of the alpha logits; None where it adds nothing.

        Args:
            x: (N, C, r, r) features.
            ws: (N, w_dim) styles of conv0, conv1 and torgb.
            depths: (P,) normalised plane depths.
            token_weights: (P, 34), see `token_interpolation`; None for the 32 tokens as they are.
        """
        if self.variant is None:
            return None
        w = ws[2]
        if self.variant == "depth2alpha":
            return AlphaMaps(self.todepth(x, w).float(), None, None)
        if self.variant == "vanilla":
            return AlphaMaps(self.toalpha(x, w).float(), None, None)
        kernel = self.toalpha.kernel(w)[:, 0].float()  # (N, C)
        shared = normalised_projection(x.float(), kernel) + self.toalpha.bias  # (N, r, r)
        if self.variant == "depth":
            embedded = self.pos_enc_embed(depths, ws[1]).float()
        else:
            tokens = self.get_parameter("pos_enc_embed_learnable_param")[0, :, :, 0, 0]  # (32, C)
            if token_weights is not None:
                left = self.get_buffer("pos_enc_embed_learnable_param_left_append")[0, :, :, 0, 0]
                tokens = token_weights @ torch.cat([left, tokens, tokens[-1:]])
            embedded = tokens.unsqueeze(0)
        shift = torch.matmul(embedded, kernel.unsqueeze(-1)).squeeze(-1)  # (N, P)
        return AlphaMaps(shared.unsqueeze(1), shift.float(), self.toalpha.clamp)

    def background(self, x: Tensor, w: Tensor) -> Tensor:
        """Colour logits (N, 3, r, r) of the background texture, made from the margins of the features x.

        The margins (5 % of the width on either side) are kept and the columns between are blended linearly from one to
        the other. x gets no gradient, torgb's parameters do. As torgb is linear before its clamp, it reads the margins
        alone and the blend happens in colour.
        """
        margin = max(1, int(BACKGROUND_RATIO * x.shape[-1]))
        features = x.detach()
        left = self.torgb.linear(features[..., : margin + 1], w)
        right = self.torgb.linear(features[..., -margin - 1 :], w)
        return clamped(blend_margins(left, right, x.shape[-1], self.blend_epsilon), self.torgb.clamp)


@dataclass(frozen=True)
class AlphaMaps:
    """One resolution's alpha (or depth) logits, with what all planes share kept once.

    toalpha is linear before its clamp, so that toalpha(IN(x) + e_p) = toalpha(IN(x)) + s_p exactly.
    """

    shared: Tensor
    """(N, 1, r, r); vanilla: (N, P, r, r)."""
    shift: Tensor | None
    """(N, P) s_p; None where `shared` is all."""
    clamp: float | None
    """Bound of the sum."""

    def of(self, planes: slice) -> Tensor:
        """(N, P', r, r) logits of some planes, or all of `shared`."""
        if self.shift is None:
            return self.shared
        return clamped(self.shared + self.shift[:, planes, None, None], self.clamp)


def blend_margins(left: Tensor, right: Tensor, width: int, epsilon: float) -> Tensor:
    """Margins (..., q + 1) of a picture `width` wide -> the picture (..., width) with the middle blended linearly.

    Columns [0, q) and [width - q, width) are copied; column j between is (1 - t) left[q] + t right[-q - 1] with
    t = (j - q) / (width - 2 q + epsilon), which never reaches 1.
    """
    margin = left.shape[-1] - 1
    between = width - 2 * margin
    t = torch.arange(between, dtype=left.dtype, device=left.device) / (between + epsilon)
    blend = (1 - t) * left[..., -1:] + t * right[..., :1]
    return torch.cat([left[..., :margin], blend, right[..., 1:]], dim=-1)
