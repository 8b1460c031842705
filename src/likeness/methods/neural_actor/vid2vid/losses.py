"""Losses of the texture predictor: pure functions, unweighted."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.methods.neural_actor.vid2vid.discriminator import Judged

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG_CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
"""VGG19 up to conv5_1; 0 is a pooling layer (Simonyan and Zisserman, ICLR 2015, table 1, column E)."""
VGG_TAPS = (1, 6, 11, 20, 29)
"""Indices of relu1_1, relu2_1, ..., relu5_1 in torchvision's `features`."""
VGG_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
CONFIDENT = 0.02
"""Largest squared colour difference, summed over channels, at which the flow of real frames is believed."""


def hinge_loss(real: Sequence[Judged], fake: Sequence[Judged]) -> Tensor:
    """The discriminator's loss: mean over scales of the two hinges' sum."""
    terms = [F.relu(1 - a.scores).mean() + F.relu(1 + b.scores).mean() for a, b in zip(real, fake)]
    return torch.stack(terms).mean()


def adversarial_loss(fake: Sequence[Judged]) -> Tensor:
    """The generator's loss: minus the mean score, averaged over scales."""
    return -torch.stack([each.scores.mean() for each in fake]).mean()


def feature_matching_loss(real: Sequence[Judged], fake: Sequence[Judged]) -> Tensor:
    """Absolute differences of features, summed over layers and averaged over scales; `real` gets no gradient."""
    terms = [
        torch.stack([F.l1_loss(y, x.detach()) for x, y in zip(a.features, b.features)]).sum()
        for a, b in zip(real, fake)
    ]
    return torch.stack(terms).mean()


def flow_confidence(target: Tensor, warped: Tensor) -> Tensor:
    """(B, 1, H, W), 1 where the real previous frame, warped, shows the target; pictures in [-1, 1]."""
    return ((target - warped).square().sum(1, keepdim=True) < CONFIDENT).to(target)


def flow_loss(flow: Tensor, truth: Tensor, confidence: Tensor) -> Tensor:
    """Mean absolute difference (pixels), over all pixels, of which those without confidence count as 0."""
    return F.l1_loss(flow * confidence, truth * confidence)


def warp_loss(warped: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the warped previous frame to the target."""
    return F.l1_loss(warped, target)


def mask_loss(mask: Tensor, warped: Tensor, target: Tensor) -> Tensor:
    """Draws the mask to 0 where the warped frame is right and to 1 where it is wrong.

    Args:
        mask: (B, 1, H, W) in [0, 1].
        warped: (B, 3, H, W) in [-1, 1].
        target: the same.
    """
    right = (1 - (warped - target).abs().sum(1, keepdim=True)).clamp(0, 1)
    return (mask * right).abs().mean() + F.l1_loss(mask * (1 - right), 1 - right)


class Vgg19(nn.Module):
    """VGG19 up to relu5_1 with torchvision's keys; pictures (B, 3, H, W) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in VGG_CHANNELS:
            if width == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        self.features = nn.Sequential(*layers)
        self.requires_grad_(False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """relu1_1, relu2_1, relu3_1, relu4_1, relu5_1."""
        mean, std = (picture.new_tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
        values, taps = ((picture + 1) / 2 - mean) / std, []
        for index, layer in enumerate(self.features):
            values = layer(values)
            if index in VGG_TAPS:
                taps.append(values)
        return taps


def perceptual_loss(vgg: Vgg19, fake: Tensor, real: Tensor) -> Tensor:
    """Absolute differences of VGG19 features, weighted by depth; `real` gets no gradient."""
    with torch.no_grad():
        wanted = vgg(real)
    terms = [weight * F.l1_loss(a, b) for weight, a, b in zip(VGG_WEIGHTS, vgg(fake), wanted)]
    return torch.stack(terms).sum()
