"""Density and colour of canonical points."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.methods.neural_actor.encodings import InputSpec, encode, frequencies
from likeness.methods.neural_actor.networks.mlp import DensityHead, Mlp


class Frequencies(nn.Module):
    """The constant bands of one encoded input, stored under the published key `emb`."""

    emb: Tensor

    def __init__(self, spec: InputSpec, times_pi: bool):
        super().__init__()
        self.kind = spec.kind
        self.register_buffer("emb", frequencies(spec.levels, times_pi))

    def forward(self, values: Tensor) -> Tensor:
        return encode(values, self.emb, self.kind)


class Background(nn.Module):
    """The background's colour in the field's colour space."""

    def __init__(self, color: tuple[float, float, float], trainable: bool):
        super().__init__()
        self.bg_color = nn.Parameter(torch.tensor(color), requires_grad=trainable)


class Field(nn.Module):
    """NeRF over the inputs that two specification strings name.

    Args:
        density_inputs, texture_inputs: parsed specifications; the first texture input is this field's own feature.
        width, layers, skip: of the feature network; the last two of `layers` are its published extra ones.
        density_width: hidden width of the density head.
        texture_layers: hidden layers of the colour network.
        background: colour in [-1, 1]; `train_background` lets it learn.
    """

    def __init__(
        self,
        density_inputs: tuple[InputSpec, ...],
        texture_inputs: tuple[InputSpec, ...],
        *,
        width: int = 256,
        layers: int = 8,
        skip: int = 3,
        density_width: int = 128,
        texture_layers: int = 5,
        background: tuple[float, float, float] = (1.0, 1.0, 1.0),
        train_background: bool = False,
    ):
        super().__init__()
        self.density_inputs, self.texture_inputs = density_inputs, texture_inputs
        self.den_filters = _filters(density_inputs)
        self.tex_filters = _filters(texture_inputs)
        self.bg_color = Background(background, train_background)
        self.feature_field = Mlp(sum(spec.width for spec in density_inputs), width, layers, skip=skip)
        self.predictor = DensityHead(width, density_width)
        self.renderer = Mlp(sum(spec.width for spec in texture_inputs), width, texture_layers - 1, outputs=3)

    @property
    def background(self) -> Tensor:
        """(3,)."""
        return self.bg_color.bg_color

    @property
    def reads(self) -> set[str]:
        """Names of the inputs of both networks."""
        return {spec.name for spec in (*self.density_inputs, *self.texture_inputs)}

    def normals(self, inputs: dict[str, Tensor]) -> Tensor:
        """Unit normals (N, 3) in canonical space, against the density's gradient; with a graph where one is made."""
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            position = inputs["pos"] if graph and inputs["pos"].requires_grad else inputs["pos"].detach()
            position = position if position.requires_grad else position.requires_grad_()
            sigma, _ = self.density({**inputs, "pos": position})
            (slope,) = torch.autograd.grad(sigma.sum(), position, create_graph=graph)
        return F.normalize(-slope.float(), dim=-1)

    def density(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Density (N,) before ReLU, and feature (N, width), of named inputs (N, dim)."""
        feature = self.feature_field(_encoded(self.density_inputs, self.den_filters, inputs))
        return self.predictor(feature), feature

    def color(self, inputs: dict[str, Tensor]) -> Tensor:
        """Colour (N, 3), linear in [-1, 1] space, of named inputs; `feat` is what `density` returned."""
        return self.renderer(_encoded(self.texture_inputs, self.tex_filters, inputs))


def _filters(specs: tuple[InputSpec, ...]) -> nn.ModuleDict:
    return nn.ModuleDict({spec.name: Frequencies(spec, spec.kind == "b") for spec in specs if spec.levels})


def _encoded(specs: tuple[InputSpec, ...], filters: nn.ModuleDict, inputs: dict[str, Tensor]) -> Tensor:
    values = [filters[spec.name](inputs[spec.name]) if spec.levels else inputs[spec.name] for spec in specs]
    return torch.cat(values, dim=-1)
