"""What is measured of a run beside its losses: millimetres, grey levels and drawn views, next to the mean face."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from likeness.methods.multiface.data import MultifaceBatch
from likeness.methods.multiface.model import MultifaceAvatar, predict
from likeness.methods.multiface.objective import Objective
from likeness.metrics.lpips import load_lpips, load_st_lpips
from likeness.metrics.psnr import psnr
from likeness.metrics.ssim import ssim


@torch.no_grad()
def against_mean_face(
    model: MultifaceAvatar, objective: Objective, batches: Iterable[MultifaceBatch]
) -> dict[str, float]:
    """Mean distance of vertices (mm) and mean error of seen texels (grey levels), beside those of the mean face.

    The codes' means are decoded. `mesh_factor` and `texture_factor` say how many times smaller the errors are.
    """
    found: dict[str, list[Tensor]] = {}
    scale, grey = objective.normaliser.vert_std, objective.normaliser.tex_std
    for batch in batches:
        prediction = predict(model.avatar, model.colour, batch.average, batch.verts, batch.view, batch.row, None)
        seen = batch.mask.sum((1, 2, 3)).clamp(min=1)
        error = ((prediction.texture - batch.texture).abs() * batch.mask).sum((1, 2, 3))
        _add(
            found,
            batch,
            mesh_mm=(prediction.verts - batch.verts).norm(dim=-1).mean(1) * scale,
            mean_face_mesh_mm=batch.verts.norm(dim=-1).mean(1) * scale,
            texture_grey=error / seen * grey,
            mean_face_texture_grey=(batch.texture.abs() * batch.mask).sum((1, 2, 3)) / seen * grey,
        )
    figures = _means(found)
    for kind, name in (("mesh", "mesh_mm"), ("texture", "texture_grey")):
        for group in _GROUPS:
            if name + group in figures:
                figures[f"{kind}_factor{group}"] = figures[f"mean_face_{name}{group}"] / figures[name + group]
    return figures


@torch.no_grad()
def rendered_views(
    model: MultifaceAvatar,
    objective: Objective,
    batches: Iterable[MultifaceBatch],
    *,
    lpips: bool,
    backbone: Path | None,
) -> dict[str, float]:
    """PSNR, SSIM and a perceptual distance of drawn views against photographs, linear colours in [0, 1].

    Over covered pixels, and over the full frame with the photograph's background kept (`psnr_frame` is against black).

    Args:
        lpips: add LPIPS where its `backbone` (torchvision's VGG16 weights) is given, else ST-LPIPS.
    """
    distance = None
    if lpips:
        distance = load_st_lpips() if backbone is None else load_lpips(backbone)
    title = "st_lpips_frame" if backbone is None else "lpips_frame"
    found: dict[str, list[Tensor]] = {}
    for batch in batches:
        assert batch.photo is not None
        prediction = predict(model.avatar, model.colour, batch.average, batch.verts, batch.view, batch.row, None)
        picture, weight = objective.draw(prediction, batch.projection)
        mask = (weight[:, :1] > 0).float()
        picture = picture.clamp(0, 1)
        composed = torch.where(mask > 0, picture, batch.photo)
        measures = {
            "psnr_covered": psnr(picture, batch.photo, mask=mask),
            "psnr_frame": psnr(picture, batch.photo),
            "ssim_frame": ssim(composed, batch.photo),
        }
        if distance is not None:
            measures[title] = distance.to(composed.device)(composed * 2 - 1, batch.photo * 2 - 1).flatten()
        _add(found, batch, **measures)
    return _means(found)


_GROUPS = ("", " (trained cameras)", " (new cameras)")


def _add(found: dict[str, list[Tensor]], batch: MultifaceBatch, **values: Tensor) -> None:
    new = (batch.row < 0).cpu()
    for name, value in values.items():
        value = value.cpu().double()
        for group, chosen in zip(_GROUPS, (value, value[~new], value[new])):
            found.setdefault(name + group, []).append(chosen)


def _means(found: dict[str, list[Tensor]]) -> dict[str, float]:
    """Mean of every list; apart by cameras only where the test set has both kinds."""
    joined = {name: torch.cat(values) for name, values in found.items()}
    kinds = [group for group in _GROUPS[1:] if any(len(v) for name, v in joined.items() if name.endswith(group))]
    wanted = _GROUPS if len(kinds) == 2 else _GROUPS[:1]
    ordered = [name for group in wanted for name in joined if name.endswith(group) and (group or "(" not in name)]
    return {name: float(joined[name].mean()) for name in ordered}
