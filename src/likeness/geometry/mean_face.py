"""The average face's 68 points: the model that head pose is solved against."""

import functools
import json
from importlib.resources import files

import torch
from torch import Tensor


@functools.cache
def _points() -> list[list[float]]:
    return json.loads(files("likeness.geometry").joinpath("mean_face.json").read_text())["points"]


def mean_face() -> Tensor:
    """(68, 3) float64 millimetres of the average adult with a neutral expression, symmetric in x.

    iBUG order. Axes are a camera's that sees the face from the front (OpenCV: x to the picture's right, which is the
    subject's left; y down; z away from the camera), so that no rotation means a frontal face. The origin is the points'
    mean. The points are vertices of the CC0 MakeHuman base mesh under its average morph targets; they were made by
    `likeness.capture.faces.mean_face_points`.
    """
    return torch.tensor(_points(), dtype=torch.float64)
