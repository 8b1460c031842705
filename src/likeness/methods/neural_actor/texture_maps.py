"""Features of a texture map at several sizes, sampled as if enlarged to one size and laid side by side."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class FeatureMaps:
    """The trunk's maps of one texture; each stands for its bilinear enlargement to the first one's size."""

    levels: tuple[Tensor, ...]
    """(H_l, W_l, C_l) each, row 0 on top; channels last, so that a sample reads whole rows of memory."""

    @classmethod
    def of(cls, maps: list[Tensor]) -> "FeatureMaps":
        """Maps (1, C_l, H_l, W_l), the largest first."""
        # In full precision under autocast too: the blend of texels is no matrix product, and gains nothing.
        return cls(tuple(each[0].float().permute(1, 2, 0).contiguous() for each in maps))

    @property
    def channels(self) -> int:
        """Of all levels together."""
        return sum(level.shape[-1] for level in self.levels)

    def dense(self) -> Tensor:
        """(1, C, H, W) the enlarged maps (`align_corners`) side by side, row 0 on top."""
        maps = [level.permute(2, 0, 1).unsqueeze(0) for level in self.levels]
        size = maps[0].shape[-2:]
        return torch.cat([F.interpolate(each, size, mode="bilinear", align_corners=True) for each in maps], dim=1)

    def sample(self, uv: Tensor) -> Tensor:
        """(N, C) at uv (N, 2) in [0, 1], v up: `grid_sample` of `dense()` upside down, zeros outside.

        Both bilinear steps are one weighted sum of at most nine texels a level, so that no enlarged map is made.
        """
        height, width = self.levels[0].shape[:2]
        columns = _between(uv[:, 0], width)
        rows = _between(1 - uv[:, 1], height)
        values = []
        for level in self.levels:
            x, x_weights = _taps(columns, width, level.shape[1])
            y, y_weights = _taps(rows, height, level.shape[0])
            index = y.unsqueeze(-1) * level.shape[1] + x.unsqueeze(-2)  # (N, K, K)
            weights = y_weights.unsqueeze(-1) * x_weights.unsqueeze(-2)
            table = level.flatten(0, 1)
            values.append(F.embedding_bag(index.flatten(1), table, per_sample_weights=weights.flatten(1), mode="sum"))
        return torch.cat(values, dim=-1)


def _between(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Two neighbouring cells (N, 2) of `size` and their weights, of places in [0, 1] across cells; weight 0 outside."""
    position = place * size - 0.5
    first = position.floor()
    share = position - first
    cells = torch.stack([first, first + 1], dim=-1)
    weights = torch.stack([1 - share, share], dim=-1)
    inside = (cells >= 0) & (cells <= size - 1)
    return cells.clamp(0, size - 1), weights * inside


def _taps(cells: tuple[Tensor, Tensor], size: int, level: int) -> tuple[Tensor, Tensor]:
    """Texels (N, K) of a map of `level` cells and their weights, that give the enlarged map's `cells` blended."""
    place, weights = cells
    if level == size:
        return place.long(), weights
    source = place * ((level - 1) / max(size - 1, 1))
    floor = source.floor()
    share = source - floor
    first = floor[:, :1]
    # Enlarging moves two neighbours by at most one texel, so that three texels in a row serve both.
    step = (floor - first).clamp(0, 1)
    lower, upper = weights * (1 - share), weights * share
    combined = torch.stack(
        [
            (lower * (1 - step)).sum(-1),
            (lower * step + upper * (1 - step)).sum(-1),
            (upper * step).sum(-1),
        ],
        dim=-1,
    )
    texels = first + torch.arange(3, device=place.device)
    return texels.clamp(max=level - 1).long(), combined
