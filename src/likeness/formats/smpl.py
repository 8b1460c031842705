"""Body models of the SMPL family, and rigs of any skeleton, read from `.npz` or `.pkl` without running what they hold.

SMPL (Loper et al., 2015): `v_template` (V, 3), `f` (F, 3), `weights` (V, J), `kintree_table` (2, J), `J_regressor`
(J, V), `shapedirs` (V, 3, B); other entries are passed over. A rig: `vertices`, `faces`, `weights`, `parents` (J,),
rest `joints` (J, 3). The old pickles keep some arrays inside chumpy objects, which are read as inert records.
"""

import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from likeness.errors import UserError


@dataclass(frozen=True)
class BodyRig:
    """A body that is skinned linearly, and how its rest shape depends on numbers."""

    vertices: Tensor
    """(V, 3) rest pose, metres."""
    faces: Tensor
    """(F, 3) int64."""
    weights: Tensor
    """(V, J)."""
    parents: tuple[int, ...]
    """Of each joint, before it; -1 for the root."""
    joints: Tensor
    """(J, 3) rest positions."""
    shape_directions: Tensor | None = None
    """(V, 3, B)."""
    regressor: Tensor | None = None
    """(J, V) from rest vertices to rest joints."""

    def shaped(self, betas: Tensor) -> "BodyRig":
        """The rig of one person, with `betas` (B,): fewer than the model's are filled up with zeros.

        Raises:
            UserError: the rig has no shapes, or fewer than `betas`.
        """
        if not betas.any():
            return self
        known = 0 if self.shape_directions is None else self.shape_directions.shape[-1]
        if self.shape_directions is None or len(betas) > known:
            raise UserError(f"{len(betas)} shape numbers for a body model with {known}")
        moved = self.vertices + self.shape_directions[..., : len(betas)] @ betas
        joints = self.joints if self.regressor is None else self.regressor @ moved
        return BodyRig(moved, self.faces, self.weights, self.parents, joints, self.shape_directions, self.regressor)


def read_rig(path: Path) -> BodyRig:
    """Read a body model of either kind.

    Raises:
        UserError: absent, damaged, no body model, arrays that do not fit, or a file that names more than arrays.
    """
    content = read_arrays(path)
    smpl = "v_template" in content
    names = ("v_template", "f", "weights", "kintree_table", "J_regressor") if smpl else RIG
    lacking = [name for name in names if name not in content]
    if lacking:
        raise UserError(
            f"lacks {', '.join(lacking)}; it has {', '.join(content) or 'nothing'}. Expected SMPL's arrays "
            f"(v_template, f, weights, kintree_table, J_regressor, shapedirs) or a rig's ({', '.join(RIG)})",
            path=path,
        )
    vertices, faces, weights = (_numbers(content, name, path) for name in names[:3])
    parents = np.asarray(content[names[3]])
    parents = parents[0] if smpl and parents.ndim == 2 else parents.reshape(-1)
    # The tables mark the root by the largest unsigned number.
    chain = tuple(-1 if not 0 <= int(parent) < len(parents) else int(parent) for parent in parents.astype(np.float64))
    regressor = _numbers(content, "J_regressor", path) if smpl else None
    joints = regressor @ vertices if regressor is not None else _numbers(content, "joints", path)
    directions = _numbers(content, "shapedirs", path) if smpl and "shapedirs" in content else None
    count = (len(vertices), len(chain))
    shapes = {
        names[0]: (vertices.shape, (count[0], 3)),
        names[1]: (faces.shape, (len(faces), 3)),
        names[2]: (weights.shape, count),
        names[4]: (joints.shape, (count[1], 3)),
    }
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise UserError(f"`{name}` leads to shape {found}, expected {expected}", path=path)
    if faces.max() >= count[0] or faces.min() < 0:
        raise UserError(f"a face names vertex {int(faces.max())} of {count[0]}", path=path)
    wrong = [child for child, parent in enumerate(chain) if parent >= child]
    if wrong:
        raise UserError(f"joint {wrong[0]} comes before its parent {chain[wrong[0]]}: sort the joints", path=path)
    if np.abs(weights.sum(1) - 1).max() > 1e-2:
        raise UserError("`weights` has rows that do not sum to 1", path=path)
    tensors = (vertices, weights, joints, directions, regressor)
    verts, skin, places, shape, regress = (None if a is None else torch.from_numpy(a).float() for a in tensors)
    assert verts is not None and skin is not None and places is not None
    return BodyRig(verts, torch.from_numpy(faces).long(), skin, chain, places, shape, regress)


RIG = ("vertices", "faces", "weights", "parents", "joints")
"""Arrays of a rig that is no SMPL."""


def read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an `.npz`, or of a pickled dictionary; entries that are no arrays are left out.

    Raises:
        UserError: absent, damaged, or a pickle that names anything but arrays.
    """
    if not path.is_file():
        raise UserError("no such file: expected a body model or motion as .npz, or a model as .pkl", path=path)
    try:
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files if _loadable(archive, name)}
        with open(path, "rb") as stream:
            content = _Reader(stream, encoding="latin1").load()
    except Exception as error:  # a damaged file can raise nearly anything
        raise UserError(f"cannot be read safely: {error or type(error).__name__}", path=path) from error
    if not isinstance(content, Mapping):
        raise UserError(f"holds a {type(content).__name__}, expected a dictionary of arrays", path=path)
    plain = {str(name): _plain(value) for name, value in content.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _loadable(archive: Any, name: str) -> bool:
    try:
        return archive[name] is not None
    except ValueError:  # an array of objects, which would have to be unpickled
        return False


class Inert:
    """What stands for an object of a foreign class: its state, none of its code."""

    state: Any = None

    def __init__(self, *arguments: Any):
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class InertChumpy(Inert):
    """A chumpy array."""


class InertSparse(Inert):
    """A sparse matrix of scipy, compressed by columns or, as `InertRows`, by rows."""


class InertRows(InertSparse):
    """See `InertSparse`."""


def _dtype(name: str, *unused: Any) -> np.dtype:
    if not re.fullmatch(r"[<>|=]?[biufSU]\d+", str(name)):
        raise pickle.UnpicklingError(f"an array of type {name!r}")
    return np.dtype(str(name), align=False, copy=True)


def _array(kind: Any, *unused: Any) -> np.ndarray:
    if kind is not np.ndarray:
        raise pickle.UnpicklingError("an array of a foreign class")
    return np.ndarray((0,), np.uint8)


def _rebuilt(kind: Any, *unused: Any) -> Inert:
    if not (isinstance(kind, type) and issubclass(kind, Inert)):
        raise pickle.UnpicklingError("an object of a foreign class")
    return kind()


def _encoded(text: str, *unused: Any) -> bytes:
    return text.encode("latin1")


class _Reader(pickle.Unpickler):
    """Admits arrays, and inert stand-ins for chumpy's and scipy's objects."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        top = module.split(".")[0]
        if top == "chumpy":
            return InertChumpy
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csr_matrix", "csc_array", "csr_array"):
            return InertRows if name.startswith("csr") else InertSparse
        admitted: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): _dtype,
            ("multiarray", "_reconstruct"): _array,
            ("copy_reg", "_reconstructor"): _rebuilt,
            ("copyreg", "_reconstructor"): _rebuilt,
            ("__builtin__", "object"): object,
            ("builtins", "object"): object,
            ("_codecs", "encode"): _encoded,
        }
        key = (module, name) if top != "numpy" or module == "numpy" else (module.rsplit(".", 1)[-1], name)
        if key not in admitted:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which a body model has no need of")
        return admitted[key]

    def persistent_load(self, key: Any) -> Any:
        raise pickle.UnpicklingError(f"it refers to something outside itself ({key!r})")


def _plain(value: Any) -> np.ndarray | None:
    """The array that a stand-in holds; None where it holds none."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, InertSparse):
        state = value.state if isinstance(value.state, Mapping) else {}
        kind = scipy.sparse.csr_matrix if isinstance(value, InertRows) else scipy.sparse.csc_matrix
        shape = state.get("_shape")
        if shape is None or any(name not in state for name in ("data", "indices", "indptr")):
            return None
        return kind((state["data"], state["indices"], state["indptr"]), shape=tuple(shape)).toarray()
    if isinstance(value, InertChumpy):
        state = value.state if isinstance(value.state, Mapping) else {}
        if "x" in state:
            return _plain(state["x"])
        inner = _plain(state.get("a"))
        if inner is not None and "idxs" in state:  # a selection out of another array
            chosen = inner.ravel()[np.asarray(state["idxs"])]
            return chosen.reshape(state["preferred_shape"]) if state.get("preferred_shape") is not None else chosen
    return None


def _numbers(content: Mapping[str, Any], name: str, path: Path) -> np.ndarray:
    array = np.asarray(content[name])
    if array.dtype.kind not in "biuf":
        raise UserError(f"`{name}` holds no numbers", path=path)
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise UserError(f"`{name}` holds numbers that are not finite", path=path)
    return array
