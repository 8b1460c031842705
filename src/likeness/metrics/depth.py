"""How far a depth map is from another one, up to scale and offset."""

from torch import Tensor

NEAREST = 1e-8
"""Rendered depths below it count as empty."""


def depth_error(rendered: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference (scalar) of two standardised depth maps, as GMPI's evaluation takes it.

    Both maps are brought to mean 0 and (population) standard deviation 1 over the pixels that are compared: those
    inside `mask` whose rendered depth is not empty.

    Args:
        rendered, reference: (H, W) depths in any units.
        mask: (H, W), more than one half inside the face.

    Returns:
        A scalar, NaN where no pixel is left.
    """
    inside = (mask > 0.5) & (rendered >= NEAREST)
    one, two = (_standardised(depth[inside].double()) for depth in (rendered, reference))
    return (one - two).square().mean()


def _standardised(values: Tensor) -> Tensor:
    return (values - values.mean()) / ((values - values.mean()).square().mean().sqrt() + 1e-8)
