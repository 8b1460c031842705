"""Fully connected blocks of the renderer's fields."""

import math

import torch
from torch import Tensor, nn


class FullyConnected(nn.Module):
    """Linear then ReLU; weights Kaiming-normal (fan-in)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        self.net = nn.Sequential(linear, nn.ReLU(inplace=True))

    def forward(self, values: Tensor) -> Tensor:
        return self.net(values)


class Mlp(nn.Module):
    """`layers` blocks of one width, and a linear output where `outputs` is given.

    After block `skip` the input returns: y <- [input, y] / sqrt(2).
    """

    def __init__(self, inputs: int, width: int, layers: int, outputs: int | None = None, skip: int | None = None):
        super().__init__()
        self.skip = skip
        sizes = [inputs] + [width] * (layers - 1)
        if skip is not None and skip + 1 < layers:
            sizes[skip + 1] = width + inputs
        blocks: list[nn.Module] = [FullyConnected(size, width) for size in sizes]
        if outputs is not None:
            last = nn.Linear(width, outputs)
            nn.init.kaiming_normal_(last.weight, nonlinearity="relu")
            blocks.append(last)
        self.net = nn.ModuleList(blocks)

    def forward(self, values: Tensor) -> Tensor:
        hidden = values
        for index, block in enumerate(self.net):
            hidden = block(hidden)
            if index == self.skip:
                hidden = torch.cat([values, hidden], dim=-1) / math.sqrt(2)
        return hidden


class DensityHead(nn.Module):
    """One hidden layer, then the density before its ReLU; the output's bias starts at 0.5."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.hidden_layer = FullyConnected(inputs, width)
        self.output_layer = nn.Linear(width, 1)
        nn.init.constant_(self.output_layer.bias, 0.5)

    def forward(self, feature: Tensor) -> Tensor:
        """(..., C) -> (...)."""
        return self.output_layer(self.hidden_layer(feature)).squeeze(-1)
