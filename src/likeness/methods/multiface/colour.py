"""Colour correction of each camera, in the two layouts of the published weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from likeness.errors import UserError
from likeness.methods.multiface.passes import scaled


class DiagonalColour(nn.Module):
    """Gain and bias of each channel: `out_c = weight[cam, c] tex_c + bias[cam, c]`; the first camera stays (1, 0)."""

    weight_anchor: Tensor
    bias_anchor: Tensor

    def __init__(self, cameras: int):
        super().__init__()
        self.register_buffer("weight_anchor", torch.ones(1, 3, 1, 1))
        self.register_buffer("bias_anchor", torch.zeros(1, 3, 1, 1))
        self.weight = nn.Parameter(torch.ones(cameras - 1, 3, 1, 1))
        self.bias = nn.Parameter(torch.zeros(cameras - 1, 3, 1, 1))

    @property
    def cameras(self) -> int:
        """Number of rows."""
        return len(self.weight) + 1

    def rows(self) -> tuple[Tensor, Tensor]:
        """Matrices (n, 3, 3) and biases (n, 3) of all cameras."""
        gain = torch.cat([self.weight_anchor, self.weight]).flatten(1)
        return torch.diag_embed(gain), torch.cat([self.bias_anchor, self.bias]).flatten(1)

    def forward(self, texture: Tensor, camera: Tensor) -> Tensor:
        """Correct `texture` (B, 3, S, S) for the camera rows `camera` (B,)."""
        gain = torch.cat([self.weight_anchor, self.weight])[camera]
        return scaled(texture, gain, torch.cat([self.bias_anchor, self.bias])[camera])

    def mean(self, texture: Tensor) -> Tensor:
        """Correct `texture` by the mean over the rows: for a camera that was never trained."""
        gain = torch.cat([self.weight_anchor, self.weight]).mean(0, keepdim=True)
        return scaled(texture, gain, torch.cat([self.bias_anchor, self.bias]).mean(0, keepdim=True))


class MatrixColour(nn.Module):
    """A 3x3 matrix and a bias: `out_c = sum_d weights[cam, c, d] tex_d + bias[cam, c]`.

    In training the first camera is the identity; in evaluation its stored values are used.
    """

    def __init__(self, cameras: int):
        super().__init__()
        self.weights = nn.Parameter(torch.eye(3).repeat(cameras, 1, 1)[..., None, None])
        self.bias = nn.Parameter(torch.zeros(cameras, 3))

    @property
    def cameras(self) -> int:
        """Number of rows."""
        return len(self.weights)

    def rows(self) -> tuple[Tensor, Tensor]:
        """Matrices (n, 3, 3) and biases (n, 3) of all cameras."""
        matrices: Tensor = self.weights.flatten(2)
        biases: Tensor = self.bias
        if self.training:
            matrices = torch.cat([torch.eye(3, device=matrices.device)[None], matrices[1:]])
            biases = torch.cat([torch.zeros_like(biases[:1]), biases[1:]])
        return matrices, biases

    def forward(self, texture: Tensor, camera: Tensor) -> Tensor:
        """Correct `texture` (B, 3, S, S) for the camera rows `camera` (B,)."""
        matrices, biases = self.rows()
        return torch.einsum("bcd,bdhw->bchw", matrices[camera], texture) + biases[camera][:, :, None, None]

    def mean(self, texture: Tensor) -> Tensor:
        """Correct `texture` by the mean over the rows: for a camera that was never trained."""
        matrices, biases = self.rows()
        return torch.einsum("cd,bdhw->bchw", matrices.mean(0), texture) + biases.mean(0)[:, None, None]


Colour = DiagonalColour | MatrixColour


def as_matrix(colour: DiagonalColour) -> MatrixColour:
    """The same correction in the matrix layout, without loss."""
    matrix = MatrixColour(colour.cameras)
    with torch.no_grad():
        weights, bias = colour.rows()
        matrix.weights.copy_(weights[..., None, None])
        matrix.bias.copy_(bias)
    return matrix


def camera_rows(names: Sequence[str], trained: Sequence[str]) -> dict[str, int]:
    """Colour row of each of `names`; rows are keyed by camera id, never by place.

    Raises:
        UserError: a name has no row.
    """
    rows = {name: row for row, name in enumerate(trained)}
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise UserError(
            f"cameras {', '.join(unknown)} have no colour row: the model was trained on {', '.join(trained)}; "
            "evaluate them with the mean row, or train with them"
        )
    return {name: rows[name] for name in names}
