"""EasyMocap's results: SMPL parameters, one JSON a frame, and cameras in OpenCV's YAML (`intri.yml`, `extri.yml`).

Its bodies follow x = R(Rh) X(poses, shapes) + Th, with the first three numbers of `poses` zero: unlike in SMPL the
global rotation turns about the origin, after posing.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.formats.actor import ActorCamera


@dataclass(frozen=True)
class BodyFrame:
    """One frame's body."""

    rotation: Tensor
    """(3,) Rh, axis times angle."""
    translation: Tensor
    """(3,) Th, metres."""
    poses: Tensor
    """(3 J,) axis times angle of each joint; the root's is zero."""
    shapes: Tensor
    """(B,)."""


def read_bodies(folder: Path, person: int = 0) -> list[tuple[str, BodyFrame]]:
    """(stem, body) of each frame, in the order of the file names.

    Raises:
        UserError: no files, or one that is damaged or does not hold that person.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise UserError("holds no *.json: expected EasyMocap's smpl parameters, one file a frame", path=folder)
    return [(path.stem, _body(path, person)) for path in files]


def _body(path: Path, person: int) -> BodyFrame:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"is no JSON document: {error}", path=path) from error
    people = document.get("annots", [document]) if isinstance(document, dict) else document
    chosen = [entry for entry in people if isinstance(entry, dict) and entry.get("id", 0) == person]
    if len(chosen) != 1:
        ids = ", ".join(str(entry.get("id", 0)) for entry in people if isinstance(entry, dict))
        raise UserError(f"holds {len(chosen)} bodies with id {person} (ids: {ids or 'none'})", path=path)
    values = {}
    for name, count in (("Rh", 3), ("Th", 3), ("poses", None), ("shapes", None)):
        try:
            array = np.asarray(chosen[0][name], dtype=np.float64).reshape(-1)
        except KeyError:
            raise UserError(f"lacks `{name}`; it has {', '.join(chosen[0])}", path=path) from None
        except (ValueError, TypeError) as error:
            raise UserError(f"`{name}` is no array of numbers", path=path) from error
        if not np.isfinite(array).all() or count not in (None, array.size) or array.size == 0:
            raise UserError(f"`{name}` has {array.size} numbers, expected {count or 'some'}, all finite", path=path)
        values[name] = torch.from_numpy(array).float()
    if values["poses"].numel() % 3 or values["poses"].numel() < 6:
        raise UserError(f"`poses` has {values['poses'].numel()} numbers, expected 3 a joint", path=path)
    if values["poses"][:3].abs().max() > 1e-4:
        raise UserError(
            "the first three numbers of `poses` are not zero, but EasyMocap keeps the global rotation in `Rh`: are "
            "these parameters of SMPL itself? Then give them as .npz",
            path=path,
        )
    return BodyFrame(values["Rh"], values["Th"], values["poses"], values["shapes"])


def read_yaml_cameras(folder: Path) -> list[tuple[str, ActorCamera]]:
    """(name, camera) of each camera of `intri.yml` and `extri.yml`, in the order of the names.

    Raises:
        UserError: a file or camera is absent, or a lens distorts.
    """
    intri, extri = (_yaml(folder / f"{name}.yml") for name in ("intri", "extri"))
    names_node = intri.getNode("names")
    names = [names_node.at(index).string() for index in range(names_node.size())]
    if not names:
        raise UserError("names no camera", path=folder / "intri.yml")
    cameras = []
    for name in sorted(names):
        matrix, distortion = intri.getNode(f"K_{name}").mat(), intri.getNode(f"dist_{name}").mat()
        rotation, vector = extri.getNode(f"Rot_{name}").mat(), extri.getNode(f"R_{name}").mat()
        translation = extri.getNode(f"T_{name}").mat()
        if rotation is None and vector is not None:
            rotation = cv2.Rodrigues(vector)[0]
        for what, value in (("K", matrix), ("Rot", rotation), ("T", translation)):
            if value is None:
                raise UserError(f"has no {what}_{name}", path=folder / ("intri.yml" if what == "K" else "extri.yml"))
        if distortion is not None and np.abs(distortion).max() > 1e-6:
            raise UserError(
                f"camera {name} has a lens that distorts: undistort its pictures first (EasyMocap does) and write "
                "zeros here, since training knows pinhole cameras alone",
                path=folder / "intri.yml",
            )
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, translation.reshape(3)
        camera = ActorCamera(torch.from_numpy(matrix).float(), torch.from_numpy(np.linalg.inv(pose)).float())
        cameras.append((name, camera))
    return cameras


def _yaml(path: Path) -> cv2.FileStorage:
    if not path.is_file():
        raise UserError("no such file: expected EasyMocap's intri.yml and extri.yml", path=path)
    try:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    except cv2.error as error:
        raise UserError(f"is no YAML file of OpenCV: {error.err}", path=path) from error
    if not storage.isOpened():
        raise UserError("is no YAML file of OpenCV", path=path)
    return storage
