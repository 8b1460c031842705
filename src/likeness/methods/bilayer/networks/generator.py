"""What the texture generator and the inference generator have in common."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from likeness.methods.bilayer.networks import convolution
from likeness.methods.bilayer.networks.adaptive import Predicted, make_norm
from likeness.methods.bilayer.networks.blocks import ResBlock, channels_at


class Generator(nn.Module):
    """Residual blocks that double the height each, a last norm and activation, and convolutions that make pictures.

    All parameters of norms and skip paths are predicted, but those of the very first norm: nothing is known there yet
    that could be adapted.

    Args:
        levels: number of blocks.
        rule: (base, most) of the channel rule; the last block has `base` channels.
        size: height of the input.
        norm: adaptive norm, a name of `make_norm`.
        outputs: channels of each head.
        dropout: probability, before the heads, while training.
        efficient_upsampling: see `ResBlock`.
    """

    def __init__(
        self,
        levels: int,
        rule: tuple[int, int],
        size: int,
        norm: str,
        outputs: Sequence[int],
        dropout: float,
        efficient_upsampling: bool,
    ):
        super().__init__()
        blocks: list[nn.Module] = [
            ResBlock(
                channels_at(levels - k, *rule),
                channels_at(levels - k - 1, *rule),
                norm=norm,
                first_norm="bn" if k == 0 else None,
                resize="nearest",
                efficient_upsampling=efficient_upsampling,
                skip="ada_conv",
                spatial_size=size * 2**k,
            )
            for k in range(levels)
        ]
        width = channels_at(0, *rule)
        final = make_norm(norm, width, size * 2**levels)
        assert final is not None
        self.blocks = nn.ModuleList([*blocks, final])
        self.dropout = dropout
        self.heads = nn.ModuleList(nn.Sequential(nn.Conv2d(width, out, 3, padding=1)) for out in outputs)

    def forward(self, x: Tensor, predicted: Sequence[Predicted]) -> list[Tensor]:
        """Inputs (N, C, size, size) and the parameter groups in order of use -> what each head makes."""
        groups = iter(predicted)
        x = convolution.laid_out(x)
        for block in self.blocks[:-1]:
            x, _ = block(x, groups)
        x = F.leaky_relu(self.blocks[-1](x, groups), 0.2, inplace=True)
        if self.dropout:
            x = F.dropout(x, self.dropout, self.training)
        return [head(x) for head in self.heads]
