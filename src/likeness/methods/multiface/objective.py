"""The weighted loss terms of one entity, and the drawing that the screen loss needs."""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.methods.multiface.config import MultifaceConfig
from likeness.methods.multiface.data import MultifaceBatch, Normaliser
from likeness.methods.multiface.losses import kl_divergence, screen_loss, texture_loss, vertex_loss
from likeness.methods.multiface.model import Prediction
from likeness.methods.multiface.screen import MeshTopology, draw_uv
from likeness.render.texture import sample_texture


class Objective:
    """The loss terms of one entity; holds what they need on one device."""

    def __init__(self, config: MultifaceConfig, normaliser: Normaliser, topology: MeshTopology, weight: Tensor | None):
        self.config, self.normaliser, self.topology, self.weight = config, normaliser, topology, weight
        self.tex_var = normaliser.tex_std**2
        self.weights = {
            "verts": config.lambda_verts,
            "tex": config.lambda_tex,
            "screen": config.lambda_screen,
            "kl": config.lambda_kl,
        }
        self.size = (config.resolution[0] // config.screen_scale, config.resolution[1] // config.screen_scale)

    def to(self, device: torch.device) -> Objective:
        """The same on `device`."""
        weight = None if self.weight is None else self.weight.to(device)
        return Objective(self.config, self.normaliser.to(device), self.topology.to(device), weight)

    def draw(self, prediction: Prediction, projection: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures and loss weights, both (B, 3, H, W), of predictions."""
        verts = self.normaliser.verts(prediction.verts)
        texture = self.normaliser.texture(prediction.texture)
        raster, uv = draw_uv(verts, projection, self.topology, self.size)
        picture = sample_texture(texture, uv, raster.mask)
        if self.weight is None:
            return picture, raster.mask.float()
        weight = sample_texture(self.weight[None], uv, raster.mask)
        return picture, weight

    def terms(self, prediction: Prediction, batch: MultifaceBatch) -> dict[str, Tensor]:
        """Named terms of the loss; those whose weight is 0 are left out."""
        terms = {}
        if self.weights["verts"]:
            terms["verts"] = vertex_loss(prediction.verts, batch.verts)
        if self.weights["tex"]:
            terms["tex"] = texture_loss(prediction.texture, batch.texture, batch.mask)
        if self.weights["screen"] and batch.photo is not None:
            picture, weight = self.draw(prediction, batch.projection)
            terms["screen"] = screen_loss(picture, batch.photo, weight, self.tex_var)
        if self.weights["kl"]:
            terms["kl"] = kl_divergence(prediction.code)
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """() weighted sum."""
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
