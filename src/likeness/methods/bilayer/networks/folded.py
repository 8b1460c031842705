"""The inference generator of one person with everything constant folded away: plain convolutions only.

Spectral norms are divided out; BatchNorm with its predicted scale and shift becomes part of the convolution before it,
or one scale and shift a channel where a skip path needs the raw input; predicted 1x1 convolutions become plain ones;
nearest upsampling followed by a 3x3 convolution becomes one convolution on the small picture, which is exact.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likeness.methods.bilayer.networks.adaptive import AdaptiveNorm, Predicted
from likeness.methods.bilayer.networks.blocks import ResBlock
from likeness.methods.bilayer.networks.convolution import Convolution, FixedConv, add_upsampled
from likeness.methods.bilayer.networks.inference_generator import InferenceGenerator, Layers

SLOPE = 0.2

LOW = 2
"""How many blocks may run in bfloat16: the last, on the largest pictures. What is rounded earlier moves the UV field by
whole pixels; sums between blocks and the heads stay in float32 for the same reason."""


def effective_weight(layer: nn.Module) -> Tensor:
    """A layer's weight with its spectral norm divided out."""
    if not hasattr(layer, "weight_orig"):
        return layer.get_parameter("weight").detach()
    original = layer.get_parameter("weight_orig").detach()
    sigma = layer.get_buffer("weight_u") @ (original.flatten(1) @ layer.get_buffer("weight_v"))
    return original / sigma


def scale_and_shift(norm: nn.Module, predictions) -> tuple[Tensor, Tensor]:
    """BatchNorm in evaluation mode as one scale and shift a channel, (C,) each."""
    statistics = norm.norm_layer if isinstance(norm, AdaptiveNorm) else norm
    assert isinstance(statistics, nn.BatchNorm2d)
    assert statistics.running_mean is not None and statistics.running_var is not None
    if isinstance(norm, AdaptiveNorm):
        predicted: Predicted = next(predictions)
        gamma, beta = predicted.weight[0], predicted.bias[0]
    else:
        gamma, beta = statistics.weight, statistics.bias
    scale = gamma.detach() / (statistics.running_var + statistics.eps).sqrt()
    return scale, beta.detach() - statistics.running_mean * scale


class _Norm(nn.Module):
    """One scale and shift a channel, then the activation, on (N, H, W, C)."""

    def __init__(self, scale: Tensor, shift: Tensor):
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        moved = torch.addcmul(self.get_buffer("shift"), x, self.get_buffer("scale"))
        return F.leaky_relu(moved, SLOPE, inplace=True)


class _Block(nn.Module):
    """One residual block on (N, H, W, C), the order in which channels lie closest."""

    def __init__(self, norm: _Norm, first: FixedConv, second: FixedConv, skip: Tensor):
        super().__init__()
        self.norm, self.first, self.second = norm, first, second
        self.register_buffer("skip", skip.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x).permute(0, 3, 1, 2).to(self.first.get_buffer("weight").dtype)
        hidden = F.leaky_relu(self.first(normed), SLOPE, inplace=True)
        skip = torch.matmul(x, self.get_buffer("skip")).permute(0, 3, 1, 2)
        return add_upsampled(self.second(hidden).to(x.dtype), skip).permute(0, 2, 3, 1)


class FoldedGenerator(nn.Module):
    """One person's inference generator: pose embeddings (N, C, 4, 4) -> layers, equal to the unfolded one."""

    def __init__(
        self, generator: InferenceGenerator, predicted: Sequence[Predicted], precision: torch.dtype = torch.float32
    ):
        """Fold.

        Args:
            generator: in evaluation mode.
            predicted: the parameter groups of one person (B = 1).
            precision: float32, or bfloat16 for the 3x3 convolutions of the last `LOW` blocks.
        """
        super().__init__()
        groups = iter(predicted)
        blocks: list[_Block] = []
        *sources, final = generator.gen_inf.blocks
        for block in sources:
            assert isinstance(block, ResBlock)
            norm1, _, conv1, norm2, _ = block.block_feats
            _, conv2 = block.block
            assert isinstance(conv1, nn.Conv2d) and isinstance(conv2, Convolution)
            assert conv1.bias is not None and conv2.bias is not None
            norm = _Norm(*scale_and_shift(norm1, groups))
            scale, shift = scale_and_shift(norm2, groups)
            first = FixedConv(effective_weight(conv1) * scale.view(-1, 1, 1, 1), conv1.bias.detach() * scale + shift)
            skip = next(groups)
            second = FixedConv(effective_weight(conv2), (conv2.bias + skip.bias[0]).detach(), "nearest")
            if len(sources) - len(blocks) <= LOW:
                first, second = first.to(precision), second.to(precision)
            blocks.append(_Block(norm, first, second, skip.weight[0, :, :, 0, 0].detach().t()))
        self.blocks = nn.ModuleList(blocks)
        self.norm = _Norm(*scale_and_shift(final, groups))
        heads = [head.get_submodule("0") for head in generator.gen_inf.heads]
        weight = torch.cat([effective_weight(head) for head in heads])
        # Two neighbouring pixels at a time: twice six channels fill the processor's vectors better than six.
        pair = torch.cat((F.pad(weight, (0, 1)), F.pad(weight, (1, 0))))
        self.register_buffer("heads", pair.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", torch.cat([head.get_parameter("bias").detach() for head in heads]).repeat(2))
        self.eval()

    def forward(self, x: Tensor) -> Layers:
        x = x.permute(0, 2, 3, 1).contiguous()
        for block in self.blocks:
            x = block(x)
        x = self.norm(x).permute(0, 3, 1, 2)
        pairs = F.conv2d(x, self.get_buffer("heads"), self.get_buffer("bias"), stride=(1, 2), padding=1)
        out = pairs.permute(0, 2, 3, 1).reshape(x.shape[0], *x.shape[2:], -1)
        colours = torch.tanh(out).permute(0, 3, 1, 2)
        return Layers(colours[:, :2], colours[:, 2:5], out[..., 5:].permute(0, 3, 1, 2))
