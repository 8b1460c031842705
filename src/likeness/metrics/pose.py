"""How far heads and landmarks are from where they should be."""

import torch
from torch import Tensor


def landmark_error(predicted: Tensor, actual: Tensor) -> Tensor:
    """Mean point distance over the distance between the eye centres of `actual`, (N,), not in per cent.

    The bi-layer evaluation's NME (logged as pose matching). A picture in which no face was found is given as NaN and
    stays NaN: average with `nanmean` and report how many there were.

    Args:
        predicted, actual: (N, 68, 2) in any unit.
    """
    eyes = actual[:, 36:42].mean(dim=1) - actual[:, 42:48].mean(dim=1)
    distances = torch.linalg.vector_norm(predicted - actual, dim=-1).mean(dim=1)
    return distances / torch.linalg.vector_norm(eyes, dim=-1)


def angle_error(measured: Tensor, rendered_pitch_yaw: Tensor) -> Tensor:
    """Mean squared difference (N,) of head angles in radians, as GMPI's evaluation takes it.

    Args:
        measured: (N, 3) angles that a face model found in the picture.
        rendered_pitch_yaw: (N, 2) pitch and yaw the picture was rendered with; the target is (pitch, -yaw, 0).
    """
    pitch, yaw = rendered_pitch_yaw.unbind(dim=1)
    return (measured - torch.stack([pitch, -yaw, torch.zeros_like(pitch)], dim=1)).square().mean(dim=1)
