"""From identity embeddings to the parameters of a generator's adaptive layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likeness.methods.bilayer.networks.adaptive import Predicted
from likeness.methods.bilayer.networks.blocks import channels_at

POOLED_SIZE = 32


class Projector(nn.Module):
    """For each level, a stack of three linear layers (no nonlinearity) for each parameter group.

    An embedding (B, C, 8, 8) is pooled (or replicated) to s x s with `s = 32 * C_gen / C_emb` and cut into one row
    per output channel of the generator's block; each stack maps a row to that channel's weights, bias last.

    Args:
        levels: number of generator blocks.
        embedding_channels: (base, most) of the embedder's channel rule.
        generator_channels: (base, most) of the generator's channel rule.
        groups: "spade" for (norm2 scale, norm2 shift, skip, next norm1 scale, next norm1 shift), or "norm" for
            (norm2, skip, next norm1).
    """

    def __init__(
        self, levels: int, embedding_channels: tuple[int, int], generator_channels: tuple[int, int], groups: str
    ):
        super().__init__()
        self.kinds = ("conv", "conv", "skip", "conv", "conv") if groups == "spade" else ("norm", "skip", "norm")
        self.sizes: list[int] = []
        self.rows: list[int] = []
        blocks = []
        for level in range(levels):
            hidden = channels_at(levels - level, *embedding_channels)
            inner = channels_at(levels - level, *generator_channels)
            outer = channels_at(levels - level - 1, *generator_channels)
            ratio = inner / hidden
            embedded = channels_at(levels - level - 1, *embedding_channels)
            self.sizes.append(int(POOLED_SIZE * ratio))
            self.rows.append(int(embedded * ratio))
            if self.rows[-1] != outer:
                raise ValueError(
                    f"level {level}: {embedded} embedding channels cannot parametrise {outer} generator channels"
                )
            width = embedded * self.sizes[-1] ** 2 // self.rows[-1]
            outputs = {"conv": outer + 1, "skip": inner + 1, "norm": 2}
            blocks.append(
                nn.ModuleList(
                    nn.Sequential(nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs[kind]))
                    for kind in self.kinds
                )
            )
        self.fc_blocks = nn.ModuleList(blocks)

    def collapse(self, embedding_size: int) -> None:
        """Make every stack one linear layer for embeddings of that height, in place and for good."""
        for stacks, size in zip(self.fc_blocks, self.sizes, strict=True):
            assert isinstance(stacks, nn.ModuleList)
            repeats = _repeats(size, embedding_size)
            for index, stack in enumerate(stacks):
                matrix, offset = _collapse(stack, size // repeats, repeats)
                layer = nn.Linear(matrix.shape[1], matrix.shape[0])
                layer.weight, layer.bias = nn.Parameter(matrix.detach()), nn.Parameter(offset.detach())
                stacks[index] = layer

    def forward(self, embeddings: Sequence[Tensor]) -> list[Predicted]:
        """Embeddings of `levels` shapes (B, C_k, 8, 8) -> parameter groups in the generator's order of use."""
        groups = []
        for embedding, stacks, size, rows in zip(embeddings, self.fc_blocks, self.sizes, self.rows, strict=True):
            assert isinstance(stacks, nn.ModuleList)
            repeats = _repeats(size, embedding.shape[-1])
            if embedding.shape[-1] * repeats != size:
                embedding = F.adaptive_avg_pool2d(embedding, size)
            entries = embedding.reshape(embedding.shape[0], rows, -1)  # before pixels are repeated
            for kind, stack in zip(self.kinds, stacks, strict=True):
                matrix, offset = _collapse(stack, size // repeats, repeats)
                predicted = F.linear(entries, matrix, offset)  # (B, rows, q)
                weight, bias = predicted[..., :-1], predicted[..., -1]
                if kind == "norm":
                    groups.append(Predicted(weight[..., 0] + 1, bias))
                else:
                    groups.append(Predicted(weight[..., None, None], bias))
        return groups


def _repeats(size: int, embedding_size: int) -> int:
    """How often pooling to `size` repeats each pixel of an embedding; 1 where it averages."""
    return size // embedding_size if size % embedding_size == 0 else 1


def _collapse(stack: nn.Module, size: int, repeats: int) -> tuple[Tensor, Tensor]:
    """Linear layers without a nonlinearity between them as one: matrix (q, g * size * size), offset (q,).

    The stack takes rows of `g` pictures of `size * repeats` pixels a side, the matrix the pictures of `size` pixels
    of which those repeat each pixel `repeats` times either way: 64 numbers in place of 1024, seen once for all rows.
    """
    if isinstance(stack, nn.Linear):  # done by `Projector.collapse`
        return stack.weight, stack.bias
    assert isinstance(stack, nn.Sequential)
    layers = [layer for layer in stack if isinstance(layer, nn.Linear)]
    first = layers[0]
    # Every layer is called once, which is when its spectral norm is taken; the other products use its weight as it is.
    offset = stack(first.bias.new_zeros(1, first.in_features))[0]
    factors: list[Tensor] = [layer.weight for layer in reversed(layers)]
    if not torch.is_grad_enabled():
        # Rounding errors of parameters are multiplied by all that follows; in evaluation better ones cost little.
        factors = [factor.double() for factor in factors]
        third, second, _ = factors
        biases = [layer.bias.double() for layer in layers]
        offset = third @ (second @ biases[0] + biases[1]) + biases[2]
    if repeats > 1:
        entries = first.in_features // repeats**2
        kept = torch.eye(entries, dtype=factors[0].dtype, device=factors[0].device)
        kept = kept.reshape(-1, size, 1, size, 1).expand(-1, -1, repeats, -1, repeats)
        factors.append(kept.reshape(entries, -1).t())
    return torch.linalg.multi_dot(factors).to(first.bias.dtype), offset.to(first.bias.dtype)
