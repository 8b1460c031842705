"""The affine camera that maps a face's landmarks with their depths onto another face's, in closed form.

Minimises sum_k |t_k - M (x_k, y_k, z_k, 1)|^2 over M (2, 4), plus `ridge` |M|^2 (Moniz et al. 2018, equations 2 and 3).
The columns are centred, scaled and orthogonalised in float64: the normal matrix of the plain formula has condition
numbers of 5e10 for shallow faces and none at all for flat ones.
"""

import torch
from torch import Tensor

_RANK_TOLERANCE = 8
"""A column whose remainder falls below this many rounding units of the input's type carries nothing of its own."""


def fit_affine(source_xy: Tensor, depth: Tensor, target_xy: Tensor, ridge: float = 0.0) -> Tensor:
    """The best affine M (N, 2, 4), in the type of `source_xy`; differentiable in every argument, always finite.

    Args:
        source_xy: (N, 66, 2).
        depth: (N, 66) of the source.
        target_xy: (N, 66, 2).
        ridge: added to the four diagonal entries of the normal matrix, the translation's included.

    Where the landmarks are rank-deficient (depth zero, constant, or planar in x and y) M is the solution of least norm
    in scaled columns, and no gradient flows through it.
    """
    if ridge > 0:
        return _ridge(source_xy, depth, target_xy, ridge)
    dtype = source_xy.dtype
    wide = torch.cat([source_xy.transpose(1, 2), depth.unsqueeze(1)], dim=1).double()  # (N, 3, 66): x, y, z
    targets = target_xy.transpose(1, 2).double()  # (N, 2, 66)
    mean, target_mean = wide.mean(2, keepdim=True), targets.mean(2, keepdim=True)
    columns, aims = wide - mean, targets - target_mean
    size = wide.square().sum(2)  # (N, 3)
    threshold = size * (_RANK_TOLERANCE * torch.finfo(dtype).eps) ** 2

    # Gram-Schmidt, each column cleared twice of the ones before it; `upper` collects R of columns = R^T basis.
    basis: list[Tensor] = []
    deficient = torch.zeros(len(wide), dtype=torch.bool, device=wide.device)
    upper: dict[tuple[int, int], Tensor] = {}
    for i in range(3):
        rest = columns[:, i]
        for _ in range(2):
            for j in range(i):
                part = (rest * basis[j]).sum(1)
                upper[j, i] = upper[j, i] + part if (j, i) in upper else part
                rest = rest - part.unsqueeze(1) * basis[j]
        square = rest.square().sum(1)
        empty = square <= threshold[:, i]
        deficient = deficient | empty
        norm = torch.where(empty, 1.0, square).sqrt()
        basis.append(torch.where(empty.unsqueeze(1), 0.0, rest / norm.unsqueeze(1)))
        upper[i, i] = norm
    onto = aims @ torch.stack(basis, dim=2)  # (N, 2, 3)
    third = onto[:, :, 2] / upper[2, 2].unsqueeze(1)
    second = (onto[:, :, 1] - upper[1, 2].unsqueeze(1) * third) / upper[1, 1].unsqueeze(1)
    first = onto[:, :, 0] - upper[0, 1].unsqueeze(1) * second - upper[0, 2].unsqueeze(1) * third
    linear = torch.stack([first / upper[0, 0].unsqueeze(1), second, third], dim=2)  # (N, 2, 3)
    affine = torch.cat([linear, target_mean - linear @ mean], dim=2)
    if bool(deficient.any()):
        least = _least_norm(wide.detach(), targets.detach(), _RANK_TOLERANCE * torch.finfo(dtype).eps)
        affine = torch.where(deficient[:, None, None], least, affine)
    return affine.to(dtype)


def apply_affine(affine: Tensor, source_xy: Tensor, depth: Tensor) -> Tensor:
    """M (x, y, z, 1): (N, 66, 2) from M (N, 2, 4), landmarks (N, 66, 2) and depths (N, 66)."""
    linear = torch.cat([source_xy, depth.unsqueeze(2)], dim=2) @ affine[:, :, :3].transpose(1, 2)
    return linear + affine[:, :, 3].unsqueeze(1)


def fit_affine_of_xy(source_xy: Tensor, target_xy: Tensor) -> Tensor:
    """The best affine of x and y alone, as M (N, 2, 4) with a third column of zeros: what depth has to beat."""
    return fit_affine(source_xy, torch.zeros_like(source_xy[:, :, 0]), target_xy)


def _ridge(source_xy: Tensor, depth: Tensor, target_xy: Tensor, ridge: float) -> Tensor:
    rows = torch.cat([source_xy.transpose(1, 2), depth.unsqueeze(1), torch.ones_like(depth).unsqueeze(1)], 1).double()
    normal = rows @ rows.transpose(1, 2) + ridge * torch.eye(4, dtype=torch.float64, device=rows.device)
    aims = rows @ target_xy.double()  # (N, 4, 2)
    return torch.linalg.solve(normal, aims).transpose(1, 2).to(source_xy.dtype)


def _least_norm(columns: Tensor, targets: Tensor, tolerance: float) -> Tensor:
    rows = torch.cat([columns, torch.ones_like(columns[:, :1])], dim=1)  # (N, 4, 66)
    scale = rows.square().sum(2, keepdim=True).sqrt()
    scale = torch.where(scale > 0, scale, 1.0)
    inverse = torch.linalg.pinv(rows / scale, rtol=tolerance)  # (N, 66, 4)
    return targets @ inverse / scale.transpose(1, 2)
