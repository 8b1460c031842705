"""Where rays from one point pass through a cloud of equal balls."""

import torch
import warp as wp
from torch import Tensor

from likeness.kernels import as_array, in_torch_order, launch
from likeness.render.ball_kernels import bound, enclose


def ball_bounds(origin: Tensor, directions: Tensor, centres: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Union of the intervals in which rays are inside of balls (Neural Actor's ray bounds); no gradients.

    Args:
        origin: (3,) common to all rays.
        directions: (N, 3) unit length.
        centres: (V, 3).
        radius: of every ball.

    Returns:
        near (N,), far (N,), hit (N,) bool; near and far are 0 where nothing is hit.
    """
    directions = directions.detach().float().contiguous()
    near, far = (directions.new_zeros(len(directions)) for _ in range(2))
    if not len(directions) or not len(centres):
        return near, far, torch.zeros_like(near, dtype=torch.bool)
    offsets = (centres.detach().float() - origin).contiguous()
    lower, upper = (torch.empty_like(offsets) for _ in range(2))
    corners = [as_array(each, wp.vec3) for each in (lower, upper)]
    launch(enclose, len(offsets), [as_array(offsets, wp.vec3), float(radius), *corners], offsets.device)
    with in_torch_order(offsets.device):
        tree = wp.Bvh(wp.from_torch(lower, dtype=wp.vec3), wp.from_torch(upper, dtype=wp.vec3))  # type: ignore[arg-type]
    reach = float(offsets.norm(dim=-1).max()) + 2 * float(radius)
    arguments = [tree.id, as_array(offsets, wp.vec3), as_array(directions, wp.vec3), float(radius) ** 2, reach]
    arguments += [as_array(near, wp.float32), as_array(far, wp.float32)]
    launch(bound, len(directions), arguments, directions.device)
    hit = far > -1.0e29
    return torch.where(hit, near, 0.0), torch.where(hit, far, 0.0), hit
