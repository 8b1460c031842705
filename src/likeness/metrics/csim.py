"""Whether two pictures show the same person: similarity of identity embeddings.

A figure is only comparable with figures of the same network, so it is always reported under the network's name
(`IdentityEncoder.name`); published CSIM figures were made with ArcFace.
"""

import torch
from torch import Tensor
from torch.nn import functional


def cosine(first: Tensor, second: Tensor, centre: Tensor | None = None) -> Tensor:
    """Cosine (N,) in [-1, 1] between embeddings (N, D).

    Args:
        centre: (D,) the mean of many people's embeddings, taken off first. Without it, embeddings that lie in one cone
            (dlib's) all look alike.
    """
    if centre is not None:
        first, second = first - centre, second - centre
    return functional.cosine_similarity(first.double(), second.double(), dim=-1)


def distance(first: Tensor, second: Tensor) -> Tensor:
    """L2 distance (N,) between embeddings (N, D); dlib's author takes those below 0.6 for one person."""
    return torch.linalg.vector_norm(first.double() - second.double(), dim=-1)
