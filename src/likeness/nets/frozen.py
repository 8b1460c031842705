"""A network that a step only looks through."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """What `network` computes within this has no gradient with respect to its parameters, only to its inputs.

    torch leaves out by itself what a backward pass was not asked for, but not within functions of ours.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
