"""The picture grid of a training: one row a sample, columns in the order in which the networks make them."""

import torch
from torch import Tensor

from likeness.methods.bilayer.model import BaseOutput, EnhancedOutput, Pairs


def picture_grid(batch: Pairs, out: BaseOutput, enhanced: EnhancedOutput | None, rows: int) -> Tensor:
    """Source, its stickman, texture, target, prediction, layers, UV field, masks, target stickman.

    Returns:
        (3, rows * S, columns * S) in [0, 1], one row for each of at most `rows` samples (their first frames).
    """
    count, targets = batch.target_imgs.shape[:2]
    frame = out.target

    def first(x: Tensor) -> Tensor:
        return x.unflatten(0, (count, targets))[:, 0]

    def grey(x: Tensor) -> Tensor:
        return (x * 2 - 1).expand(-1, 3, -1, -1)

    uvs = first(frame.uvs).permute(0, 3, 1, 2)
    columns = [batch.source_imgs[:, 0], batch.source_stickmen[:, 0]]
    if out.source is not None:
        sources = batch.source_imgs.shape[1]
        columns.append(out.source.lf_rgbs.unflatten(0, (count, sources))[:, 0])
        columns.append(grey(out.source.segs.unflatten(0, (count, sources))[:, 0]))
    columns.append(out.texture)
    if enhanced is not None:
        columns.append(enhanced.texture)
    columns += [batch.target_imgs[:, 0], first(frame.imgs)]
    if enhanced is not None:
        columns.append(first(enhanced.imgs))
    columns += [first(frame.lf_rgbs), first(frame.hf_rgbs)]
    if enhanced is not None:
        columns.append(first(enhanced.hf_rgbs))
    columns.append(torch.cat((uvs, -torch.ones_like(uvs[:, :1])), 1))
    columns += [grey(batch.target_segs[:, 0]), grey(first(frame.segs)), batch.target_stickmen[:, 0]]
    row = torch.cat([column[:rows].float() for column in columns], 3)  # (B, 3, S, columns * S)
    return ((torch.cat(list(row), 1) + 1) / 2).clamp(0, 1)
