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
from likeness.methods.bilayer.networks.blocks import ResBlock, Upsample
from likeness.methods.bilayer.networks.inference_generator import InferenceGenerator, Layers

WIDE = 256
"""From this many channels on, four small kernels are faster than one transposed convolution."""


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


class UpsampledConv(nn.Module):
    """Nearest upsampling by two, then a 3x3 convolution, computed on the small picture with 4/9 of the products."""

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        out, inner = weight.shape[:2]
        phases = weight.new_zeros(2, 2, out, inner, 2, 2)
        transposed = weight.new_zeros(inner, out, 4, 4)
        for p in (0, 1):
            for q in (0, 1):
                for k in range(3):
                    for l in range(3):
                        # Tap (k, l) of output pixel (p, q) reads small pixel (row, column).
                        row, column = (p + k - 1) // 2, (q + l - 1) // 2
                        phases[p, q, :, :, row + 1 - p, column + 1 - q] += weight[:, :, k, l]
                        transposed[:, :, p + 1 - 2 * row, q + 1 - 2 * column] += weight[:, :, k, l].T
        self.phased = inner >= WIDE
        kernel = phases.reshape(4 * out, inner, 2, 2) if self.phased else transposed
        self.register_buffer("kernel", kernel.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        kernel, bias = self.get_buffer("kernel"), self.get_buffer("bias")
        if not self.phased:
            return F.conv_transpose2d(x, kernel, bias, stride=2, padding=1)
        height, width = x.shape[-2:]
        rows = F.conv2d(x, kernel, bias.repeat(4), padding=1).chunk(4, 1)
        corners = [rows[2 * p + q][:, :, p : p + height, q : q + width] for p in (0, 1) for q in (0, 1)]
        upper, lower = torch.stack(corners[:2], -1), torch.stack(corners[2:], -1)  # (N, C, H, W, 2)
        return torch.stack((upper, lower), 3).reshape(x.shape[0], -1, 2 * height, 2 * width)


def speed_up(network: nn.Module) -> None:
    """Replace, in place, nearest upsampling before a 3x3 convolution by `UpsampledConv`; spectral norms are folded."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(len(module) - 1):
            up, conv = module[index], module[index + 1]
            if isinstance(up, Upsample) and up.kind == "nearest" and isinstance(conv, nn.Conv2d):
                if conv.kernel_size == (3, 3) and conv.bias is not None:
                    module[index] = nn.Identity()
                    module[index + 1] = UpsampledConv(conv.weight.detach(), conv.bias.detach())


class _Conv(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.get_buffer("weight")
        return F.conv2d(x, weight, self.get_buffer("bias"), padding=weight.shape[-1] // 2)


class _Block(nn.Module):
    def __init__(self, scale: Tensor, shift: Tensor, first: _Conv, second: UpsampledConv, skip: _Conv):
        super().__init__()
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("shift", shift.view(1, -1, 1, 1))
        self.first, self.second, self.skip = first, second, skip

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.leaky_relu(torch.addcmul(self.get_buffer("shift"), x, self.get_buffer("scale")), 0.2)
        hidden = F.leaky_relu(self.first(hidden), 0.2)
        return self.second(hidden) + F.interpolate(self.skip(x), scale_factor=2, mode="nearest")


class FoldedGenerator(nn.Module):
    """One person's inference generator: pose embeddings (N, C, 4, 4) -> layers, equal to the unfolded one."""

    def __init__(self, generator: InferenceGenerator, predicted: Sequence[Predicted]):
        """Fold.

        Args:
            generator: in evaluation mode.
            predicted: the parameter groups of one person (B = 1).
        """
        super().__init__()
        groups = iter(predicted)
        blocks = []
        *sources, final = generator.gen_inf.blocks
        for block in sources:
            assert isinstance(block, ResBlock)
            norm1, _, conv1, norm2, _ = block.block_feats
            _, conv2 = block.block
            assert isinstance(conv1, nn.Conv2d) and isinstance(conv2, nn.Conv2d)
            assert conv1.bias is not None and conv2.bias is not None
            scale, shift = scale_and_shift(norm1, groups)
            scale2, shift2 = scale_and_shift(norm2, groups)
            first = _Conv(effective_weight(conv1) * scale2.view(-1, 1, 1, 1), conv1.bias.detach() * scale2 + shift2)
            second = UpsampledConv(effective_weight(conv2), conv2.bias.detach())
            skip = next(groups)
            blocks.append(_Block(scale, shift, first, second, _Conv(skip.weight[0].detach(), skip.bias[0].detach())))
        self.blocks = nn.ModuleList(blocks)
        scale, shift = scale_and_shift(final, groups)
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("shift", shift.view(1, -1, 1, 1))
        heads = [head.get_submodule("0") for head in generator.gen_inf.heads]
        self.heads = _Conv(
            torch.cat([effective_weight(head) for head in heads]),
            torch.cat([head.get_parameter("bias").detach() for head in heads]),
        )
        self.eval()

    def forward(self, x: Tensor) -> Layers:
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
        x = F.leaky_relu(torch.addcmul(self.get_buffer("shift"), x, self.get_buffer("scale")), 0.2)
        out = self.heads(x)
        colours = torch.tanh(out[:, :5])
        return Layers(colours[:, :2], colours[:, 2:], out[:, 5:])
