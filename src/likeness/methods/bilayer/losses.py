"""The losses of the bi-layer avatars: pure functions of predictions, and the two perceptual feature networks."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likeness.methods.bilayer.networks.convolution import Convolution

PERCEPTUAL_WEIGHTS = (0.03125, 0.0625, 0.125, 0.25, 1.0)
"""Weights of the five feature levels."""

VGG_CONVOLUTIONS = {19: (2, 2, 4, 4, 1), 16: (2, 2, 3, 3, 1)}
VGG_TAPS = {19: (1, 6, 11, 20, 29), 16: (1, 6, 11, 18, 25)}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.680)

Mean = Callable[[Tensor], Tensor]


def predictions(real: Tensor, fake: Tensor, kind: str, mean: Mean = torch.mean) -> tuple[Tensor, Tensor]:
    """Scores -> what the hinge is applied to, by kind `gan`, `rgan` or `ragan`; means run over batch and map."""
    if kind == "gan":
        return real, fake
    if kind == "rgan":
        return real - fake, fake - real
    if kind == "ragan":
        return real - mean(fake), fake - mean(real)
    raise ValueError(f"unknown adversarial prediction {kind!r}: choose gan, rgan or ragan")


def adversarial_discriminator(real: Tensor, fake: Tensor, kind: str, mean: Mean = torch.mean) -> Tensor:
    """Hinge loss of the discriminator: `mean relu(1 - r) + mean relu(1 + f)`."""
    r, f = predictions(real, fake, kind, mean)
    return F.relu(1 - r).mean() + F.relu(1 + f).mean()


def adversarial_generator(real: Tensor, fake: Tensor, kind: str, mean: Mean = torch.mean) -> Tensor:
    """Loss of the generator: relativistic kinds `mean relu(1 - f) + mean relu(1 + r)`, `gan` `-mean f`."""
    r, f = predictions(real, fake, kind, mean)
    if kind == "gan":
        return -f.mean()
    return F.relu(1 - f).mean() + F.relu(1 + r).mean()


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor], kind: str = "l1") -> Tensor:
    """Mean over feature maps of the mean absolute (`l1`) or squared (`mse`) difference; real ones get no gradient."""
    return torch.stack([pixelwise(f, r.detach(), kind) for r, f in zip(real, fake, strict=True)]).mean()


def pixelwise(fake: Tensor, real: Tensor, kind: str = "l1") -> Tensor:
    """Mean absolute (`l1`) or squared (`mse`) difference."""
    return F.l1_loss(fake, real) if kind == "l1" else F.mse_loss(fake, real)


def segmentation(logits: Tensor, real: Tensor, kind: str = "bce") -> Tensor:
    """Of mask logits against a soft mask: binary cross entropy, or `dice`, which first makes them probabilities."""
    return F.binary_cross_entropy_with_logits(logits, real) if kind == "bce" else dice(torch.sigmoid(logits), real)


def dice(probabilities: Tensor, real: Tensor) -> Tensor:
    """`log(sum p^2 + sum q^2) - log(sum 2 p q)` over the whole batch."""
    overlap = 2 * (probabilities * real).sum()
    return torch.log(probabilities.square().sum() + real.square().sum()) - torch.log(overlap)


def warping_regularizer(delta_uvs: Tensor) -> Tensor:
    """Mean absolute UV offset."""
    return delta_uvs.abs().mean()


def warping_weight(calls: int, weight: float, decay: float, schedule: int, eps: float = 1e-7) -> float:
    """The regulariser's weight at call number `calls` (from 1).

    With `decay` other than 1 the weight shrinks by it in call `schedule` already has its old value: the first period
    is `schedule` calls long, every later one `schedule - 1`. It never falls below `eps`.
    """
    if decay == 1 or schedule < 0 or calls <= schedule:
        return weight
    periods = 1 + ((calls - schedule - 1) // (schedule - 1) if schedule > 1 else calls - schedule - 1)
    return max(weight * decay**periods, eps)


class VggFeatures(nn.Module):
    """Features of VGG after five of its activations, max pools replaced by average pools.

    Args:
        depth: 19 (torchvision's weights, pictures normalised as for ImageNet) or 16 (the caffe face network, whose
            channel means are taken off R, G, B in their stored order, as the published training does).
        pooling: avgpool, or maxpool as the networks were trained.
        face: normalise for the caffe face network.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, depth: int, *, face: bool = False, pooling: str = "avgpool"):
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for level, (count, out) in enumerate(zip(VGG_CONVOLUTIONS[depth], (64, 128, 256, 512, 512), strict=True)):
            if level:
                layers.append(nn.AvgPool2d(2) if pooling == "avgpool" else nn.MaxPool2d(2))
            for _ in range(count):
                layers += [Convolution(width, out), nn.ReLU(inplace=True)]
                width = out
        self.features = nn.Sequential(*layers)
        self.taps = VGG_TAPS[depth]
        mean = torch.tensor(CAFFE_MEAN) / 127.5 - 1 if face else 2 * torch.tensor(IMAGENET_MEAN) - 1
        scale = torch.full((3,), 1 / 127.5) if face else 2 * torch.tensor(IMAGENET_STD)
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Pictures (N, 3, H, W) in [-1, 1] -> five feature maps."""
        x = ((x - self.mean) / self.scale).contiguous(memory_format=torch.channels_last)
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps


class RandomFeatures(nn.Module):
    """The stand-in where no published perceptual weights are at hand: a small VGG-like pyramid of fixed random filters.

    Random filters still compare edges and textures at five scales. Its numbers are not those of a trained network and
    are logged under a name of their own.
    """

    def __init__(self, seed: int = 0, width: int = 16):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        widths = [3, width, 2 * width, 4 * width, 4 * width, 4 * width]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        for layer in self.convolutions:
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            fan_in = layer.weight[0].numel()
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * (2 / fan_in) ** 0.5
            layer.bias.data.zero_()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Pictures (N, 3, H, W) in [-1, 1] -> five feature maps."""
        maps: list[Tensor] = []
        for layer in self.convolutions:
            x = F.leaky_relu(layer(x if not maps else F.avg_pool2d(x, 2)), 0.2)
            maps.append(x)
        return maps


def perceptual(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Weighted sum of the mean absolute differences of five feature levels; real ones get no gradient."""
    terms = [w * F.l1_loss(f, r.detach()) for w, f, r in zip(PERCEPTUAL_WEIGHTS, fake, real, strict=True)]
    return torch.stack(terms).sum()
