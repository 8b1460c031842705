"""ArcFace's IR-SE-50 network (Deng et al., CVPR 2019; squeeze-and-excitation as Hu et al., CVPR 2018) and its crops."""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from likeness.errors import UserError
from likeness.nets.convolution import Conv2d

TEMPLATE = ((35.343697, 51.6963), (76.453766, 51.5014), (56.029396, 71.7366), (39.14085, 92.3655), (73.18488, 92.2041))
"""Where eyes, nose tip and mouth corners lie in ArcFace's 112 x 112 crop, in pixels."""

CROP = 112

PUBLISHED = "model_ir_se50.pth of github.com/TreB1eN/InsightFace_Pytorch (bilayer-model ships it as insight_face.pth)"
"""The weights that published figures were made with."""


class SqueezeExcitation(nn.Module):
    """Channel weights from the channels' means."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C, H, W)
        weights = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))
        return x * weights


class Bottleneck(nn.Module):
    """BN-conv-PReLU-conv-BN-SE beside a shortcut (strided, or 1x1 conv and BN where the channels change)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.shortcut_layer: nn.Module
        if inputs == outputs:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class ArcFaceNetwork(nn.Module):
    """Crops (N, 3, 112, 112) in [-1, 1] to embeddings (N, 512) of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        blocks = []
        inputs = 64
        for outputs, count in ((64, 3), (128, 4), (256, 14), (512, 3)):
            for index in range(count):
                blocks.append(Bottleneck(inputs, outputs, 2 if index == 0 else 1))
                inputs = outputs
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Dropout(), nn.Flatten(), nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512)
        )

    def forward(self, crops: Tensor) -> Tensor:
        return functional.normalize(self.output_layer(self.body(self.input_layer(crops))))


def load_arcface(path: str | Path) -> ArcFaceNetwork:
    """The network with published weights, for evaluation.

    Raises:
        UserError: no such file, not tensors alone, or tensors of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no ArcFace weights there: expected {PUBLISHED}", path=path)
    network = ArcFaceNetwork()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"these are no ArcFace IR-SE-50 weights ({reason}): expected {PUBLISHED}", path=path) from error
    return network.eval().requires_grad_(False)


def similarity_transforms(landmarks: Tensor) -> Tensor:
    """(N, 2, 3) similarity from the crop's pixels to the picture's, least squares over five points (Umeyama 1991).

    Args:
        landmarks: (N, 68, 2) pixels.
    """
    eyes = [landmarks[:, first : first + 6].mean(dim=1) for first in (36, 42)]
    target = torch.stack([*eyes, landmarks[:, 30], landmarks[:, 48], landmarks[:, 54]], dim=1).double()  # (N, 5, 2)
    source = target.new_tensor(TEMPLATE)
    source_mean, target_mean = source.mean(dim=0), target.mean(dim=1, keepdim=True)
    centred = source - source_mean
    u, scales, vt = torch.linalg.svd((target - target_mean).mT @ centred / len(source))  # covariance (N, 2, 2)
    signs = torch.ones_like(scales)
    signs[:, 1] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vt))
    rotation = u @ torch.diag_embed(signs) @ vt
    scale = (scales * signs).sum(dim=1) / centred.square().sum(dim=1).mean()
    linear = scale[:, None, None] * rotation
    shift = target_mean[:, 0] - (linear @ source_mean)
    return torch.cat([linear, shift[:, :, None]], dim=2).to(landmarks.dtype)


def aligned_crops(images: Tensor, landmarks: Tensor) -> Tensor:
    """ArcFace's crops (N, 3, 112, 112) of `images` (N, 3, H, W) around `landmarks` (N, 68, 2) in pixels."""
    height, width = images.shape[-2:]
    transforms = similarity_transforms(landmarks)
    steps = torch.arange(CROP, dtype=images.dtype, device=images.device) + 0.5
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1)  # (112, 112, 3)
    points = torch.einsum("nij,rcj->nrci", transforms.to(images), pixels)
    grid = 2 * points / points.new_tensor([width, height]) - 1
    return functional.grid_sample(images, grid, align_corners=False)
