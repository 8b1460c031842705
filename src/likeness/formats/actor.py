"""The Neural Actor data set in its image form: body, cameras, motions, textures and pictures.

`canonical.obj`, `uvmapping.obj`, `skinning_weight.txt`, `transform_tpose.json`, `intrinsic*/`, `pose/` or `extrinsic/`,
`transform/%06d.json`, `tex/*.png`, `normal/*.png`, `rgb/<stem of the transform>/*.png`. Lengths are metres; `pose/`
holds camera-to-world, `extrinsic/` world-to-camera matrices of OpenCV cameras. Column i of a picture lies at x = i:
unlike elsewhere in the toolkit there is no half-pixel offset, and published weights expect that.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.files import write_text
from likeness.geometry.body import BodyModel, Pose

INTRINSIC_FOLDERS = ("intrinsic", "intrinisc", "intrinsics")
INTRINSIC_FILES = ("intrinsic.txt", "intrinsics.txt")
PICTURES = ("*.png", "*.jpg", "*.jpeg")
BODY_FILES = ("canonical.obj", "uvmapping.obj", "skinning_weight.txt", "transform_tpose.json")


@dataclass(frozen=True)
class ActorCamera:
    """One camera of the studio."""

    intrinsics: Tensor
    """(3, 3) pixels of the original picture."""
    camera_to_world: Tensor
    """(4, 4)."""


@dataclass(frozen=True)
class ActorFrame:
    """The files of one moment."""

    transform: Path
    texture: Path | None
    normal: Path | None
    pictures: tuple[Path, ...]
    """In the order of the cameras."""


@dataclass(frozen=True)
class BodyFiles:
    """Where a body's files lie; None is the usual name in the actor's folder."""

    mesh: Path | None = None
    """canonical.obj."""
    texuv: Path | None = None
    """uvmapping.obj."""
    weights: Path | None = None
    """skinning_weight.txt."""
    tpose: Path | None = None
    """transform_tpose.json."""


def read_body(folder: Path, tpose: bool = True, files: BodyFiles = BodyFiles()) -> BodyModel:
    """Read mesh, uv, weights and, with `tpose`, the canonical pose where its file is there.

    Raises:
        UserError: a file is absent, or their lengths do not fit each other.
    """
    mesh, texuv = files.mesh or folder / "canonical.obj", files.texuv or folder / "uvmapping.obj"
    table, tpose_file = files.weights or folder / "skinning_weight.txt", files.tpose or folder / "transform_tpose.json"
    vertices, faces = read_obj(mesh)
    uv, uv_faces = read_uv(texuv)
    if len(uv_faces) != len(faces):
        raise UserError(
            f"has {len(uv_faces)} faces, {mesh.name} has {len(faces)}: face k of one must be face k of the other",
            path=texuv,
        )
    weights = _numbers(table)
    if weights.ndim != 2 or len(weights) != len(vertices):
        raise UserError(f"has {len(weights)} rows, expected one for each of {len(vertices)} vertices", path=table)
    canonical = None
    if tpose and (files.tpose is not None or tpose_file.is_file()):
        canonical = read_canonical_bones(tpose_file)
        if len(canonical) != weights.shape[1]:
            raise UserError(f"has {len(canonical)} joints, {table.name} has {weights.shape[1]}", path=tpose_file)
    return BodyModel(vertices, faces, uv[uv_faces], torch.from_numpy(weights).float(), canonical)


def read_canonical_bones(path: Path) -> Tensor:
    """(J, 4, 4) from the rest pose to the canonical one, of a `transform_tpose.json`."""
    return _bones(_json(path), path)


def write_body(folder: Path, model: BodyModel, uv: Tensor, uv_faces: Tensor) -> None:
    """Write the four files of a body; `uv` (T, 2) and `uv_faces` (F, 3) index it."""
    lines = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in model.vertices.tolist()]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in model.faces.tolist()]
    write_text(folder / "canonical.obj", "\n".join(lines) + "\n")
    lines = [f"vt {u:.6f} {v:.6f}" for u, v in uv.tolist()]
    corners = zip(model.faces.tolist(), uv_faces.tolist())
    lines += ["f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(face, texture)) for face, texture in corners]
    write_text(folder / "uvmapping.obj", "\n".join(lines) + "\n")
    rows = (" ".join(f"{weight:.6g}" for weight in row) for row in model.weights.tolist())
    write_text(folder / "skinning_weight.txt", "\n".join(rows) + "\n")
    if model.canonical_bones is not None:
        bones = model.canonical_bones
        document = {"joints_RT": bones.permute(1, 2, 0).tolist(), "joints": bones[:, :3, 3].tolist()}
        write_text(folder / "transform_tpose.json", json.dumps(document | {"pose": [[0.0] * 3 * len(bones)]}))


def read_transform(path: Path) -> Pose:
    """Read one frame's motion.

    Raises:
        UserError: not JSON, a key is absent or of another shape, or `rotation` is no rotation.
    """
    document = _json(path)
    bones = _bones(document, path)
    rotation = _array(document, "rotation", path).reshape(-1, 3)
    translation = _array(document, "translation", path).reshape(-1)
    joints = _array(document, "joints", path).reshape(-1, 3)
    if rotation.shape != (3, 3) or np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3:
        raise UserError("`rotation` is not a rigid 3x3 rotation", path=path)
    if translation.shape != (3,):
        raise UserError(f"`translation` has {translation.size} numbers, expected 3", path=path)
    if len(joints) != len(bones):
        raise UserError(f"`joints` has {len(joints)} rows, `joints_RT` {len(bones)} bones", path=path)
    return Pose(bones, *(torch.from_numpy(array).float() for array in (rotation, translation, joints)))


def write_transform(path: Path, pose: Pose, axis_angle: Tensor | None = None, motion: Tensor | None = None) -> None:
    """Write one frame's motion; `axis_angle` (3 J) and `motion` (3, J, 3) default to zeros and the still joints."""
    count = len(pose.bones)
    document = {
        "translation": [pose.translation.tolist()],
        "rotation": pose.rotation.tolist(),
        "joints": pose.joints.tolist(),
        "joints_RT": pose.bones.permute(1, 2, 0).tolist(),
        "pose": [[0.0] * (3 * count) if axis_angle is None else axis_angle.tolist()],
        "motion": (pose.joints.expand(3, -1, -1) if motion is None else motion).tolist(),
    }
    write_text(path, json.dumps(document))


def read_cameras(folder: Path) -> list[ActorCamera]:
    """Read every camera, in the order of the sorted file names.

    Raises:
        UserError: no intrinsics, no poses, counts that differ, or a matrix that is not rigid.
    """
    outward = folder / "extrinsic"
    pose_folder = outward if outward.is_dir() else folder / "pose"
    pose_files = sorted(pose_folder.glob("*.txt"))
    if not pose_files:
        raise UserError("holds no camera: expected pose/*.txt (camera to world) or extrinsic/*.txt", path=folder)
    matrices = [_rigid(path) for path in pose_files]
    if pose_folder == outward:
        matrices = [torch.linalg.inv(matrix) for matrix in matrices]
    files = next((sorted((folder / name).glob("*.txt")) for name in INTRINSIC_FOLDERS if (folder / name).is_dir()), [])
    if not files:
        single = next((folder / name for name in INTRINSIC_FILES if (folder / name).is_file()), None)
        if single is None:
            names = ", ".join([f"{name}/" for name in INTRINSIC_FOLDERS] + list(INTRINSIC_FILES))
            raise UserError(f"holds no intrinsics: expected one of {names}", path=folder)
        files = [single] * len(pose_files)
    if len(files) != len(pose_files):
        raise UserError(
            f"has {len(files)} files, {pose_folder.name}/ has {len(pose_files)}: one a camera", path=files[0].parent
        )
    return [ActorCamera(read_intrinsics(path), matrix) for path, matrix in zip(files, matrices)]


def write_cameras(folder: Path, cameras: list[ActorCamera]) -> None:
    """Write `intrinisc/%04d.txt` (the published spelling) and `pose/%04d.txt`."""
    for index, camera in enumerate(cameras):
        full = torch.eye(4)
        full[:3, :3] = camera.intrinsics
        for name, matrix in (("intrinisc", full), ("pose", camera.camera_to_world)):
            text = "\n".join(" ".join(f"{value:.8f}" for value in row) for row in matrix.tolist()) + "\n"
            write_text(folder / name / f"{index:04d}.txt", text)


def read_camera_poses(path: Path) -> Tensor:
    """Read (N, 4, 4) camera-to-world poses of a camera path.

    `path` is a text file of one pose a line (16 or 12 numbers), or a folder of one 4 x 4 or 3 x 4 file each, sorted by
    name; a folder called `extrinsic` holds world-to-camera matrices, any other camera-to-world.

    Raises:
        UserError: absent, empty, or a matrix that is not rigid.
    """
    if path.is_dir():
        files = sorted(path.glob("*.txt"))
        if not files:
            raise UserError("holds no camera: expected one .txt a pose", path=path)
        matrices = torch.stack([_rigid(file) for file in files])
        return torch.linalg.inv(matrices) if path.name == "extrinsic" else matrices
    rows = _numbers(path)
    if rows.ndim != 2 or rows.shape[1] not in (12, 16):
        raise UserError(
            f"has rows of {rows.shape[-1]} numbers, expected 16: one camera-to-world pose a line", path=path
        )
    return torch.stack([_as_rigid(row, path) for row in rows])


def read_intrinsics(path: Path) -> Tensor:
    """Read (3, 3) intrinsics from a 3x3, 4x4 or 1x16 matrix, or from one line `f cx cy _`."""
    values = _numbers(path).reshape(-1)
    if values.size == 4:
        f, cx, cy, _ = values
        matrix = np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]])
    elif values.size in (9, 16):
        side = int(values.size**0.5)
        matrix = values.reshape(side, side)[:3, :3]
    else:
        raise UserError(f"has {values.size} numbers, expected a 3x3 or 4x4 matrix or `f cx cy 0`", path=path)
    return torch.from_numpy(matrix).float()


def read_frames(folder: Path, maps: bool = True) -> list[ActorFrame]:
    """Pair transforms, textures, normals and pictures: by position, and by the transform's stem for pictures.

    Without `maps` textures and normals are left out, whose writing may not be finished.

    Raises:
        UserError: no transforms, or fewer textures than transforms.
    """
    transforms = sorted((folder / "transform").glob("*.json"))
    if not transforms:
        raise UserError("holds no transform/*.json", path=folder)
    columns: dict[str, list[Path | None]] = {}
    for name in ("tex", "normal"):
        kinds = PICTURES if maps else ()
        files: list[Path | None] = [*sorted(path for kind in kinds for path in (folder / name).glob(kind))]
        if files and len(files) < len(transforms):
            raise UserError(f"holds {len(files)} pictures for {len(transforms)} transforms", path=folder / name)
        columns[name] = files or [None] * len(transforms)
    frames = []
    for transform, texture, normal in zip(transforms, columns["tex"], columns["normal"]):
        pictures = sorted(path for kind in PICTURES for path in (folder / "rgb" / transform.stem).glob(kind))
        frames.append(ActorFrame(transform, texture, normal, tuple(pictures)))
    return frames


def read_skeleton(folder: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Bone names and parents (-1 for a root) of `skeleton.json`, an addition to the published layout.

    Raises:
        UserError: absent, without these entries, or a parent does not come before its child.
    """
    path = folder / "skeleton.json"
    if not path.is_file():
        raise UserError(
            'is absent: it names the bones, as {"bones": ["pelvis", ...], "parents": [-1, ...]}, in the order of '
            "skinning_weight.txt",
            path=path,
        )
    document = _json(path)
    names, parents = (document.get(key) for key in ("bones", "parents"))
    if not isinstance(names, list) or not isinstance(parents, list) or len(names) != len(parents):
        raise UserError("needs `bones` and `parents`, lists of one length", path=path)
    if not all(isinstance(parent, int) and -1 <= parent < child for child, parent in enumerate(parents)):
        raise UserError("has a bone whose parent does not come before it", path=path)
    return tuple(str(name) for name in names), tuple(parents)


def write_skeleton(folder: Path, names: Sequence[str], parents: Sequence[int]) -> None:
    """Write `skeleton.json`."""
    write_text(folder / "skeleton.json", json.dumps({"bones": list(names), "parents": list(parents)}))


def read_obj(path: Path) -> tuple[Tensor, Tensor]:
    """Vertices (V, 3) and triangles (F, 3) of an OBJ file."""
    vertices, faces = [], []
    for line in _lines(path):
        parts = line.split()
        if parts[:1] == ["v"]:
            vertices.append([float(value) for value in parts[1:4]])
        elif parts[:1] == ["f"]:
            faces.append([int(corner.split("/")[0]) - 1 for corner in parts[1:]])
    _check_triangles(faces, len(vertices), path, "vertices")
    return torch.tensor(vertices, dtype=torch.float32), torch.tensor(faces)


def read_uv(path: Path) -> tuple[Tensor, Tensor]:
    """Texture coordinates (T, 2) and their triangles (F, 3) of an OBJ file; other lines are passed over."""
    uv, faces = [], []
    for number, line in enumerate(_lines(path), 1):
        parts = line.split()
        if parts[:1] == ["vt"]:
            uv.append([float(value) for value in parts[1:3]])
        elif parts[:1] == ["f"]:
            corners = [corner.split("/") for corner in parts[1:]]
            if any(len(corner) < 2 or not corner[1] for corner in corners):
                raise UserError(f"line {number} names no texture coordinate: expected `f v/vt v/vt v/vt`", path=path)
            faces.append([int(corner[1]) - 1 for corner in corners])
    _check_triangles(faces, len(uv), path, "texture coordinates")
    return torch.tensor(uv, dtype=torch.float32), torch.tensor(faces)


def _check_triangles(faces: list[list[int]], count: int, path: Path, what: str) -> None:
    if not faces or not count:
        raise UserError(f"holds {count} {what} and {len(faces)} faces: expected a mesh", path=path)
    if any(len(face) != 3 for face in faces):
        raise UserError("has faces that are no triangles: triangulate the mesh first", path=path)
    largest = max(max(face) for face in faces)
    if largest >= count:
        raise UserError(f"a face names number {largest + 1} of {count} {what}", path=path)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError as error:
        raise UserError("is absent", path=path) from error


def _numbers(path: Path) -> np.ndarray:
    """All rows of numbers; lines of two numbers at the start or end are picture sizes and are passed over."""
    rows = [line.split() for line in _lines(path) if line.strip()]
    while len(rows) > 1 and len(rows[0]) == 2:
        rows = rows[1:]
    while len(rows) > 1 and len(rows[-1]) == 2:
        rows = rows[:-1]
    try:
        return np.array([[float(value) for value in row] for row in rows])
    except ValueError as error:
        raise UserError(f"is no table of numbers: {error}", path=path) from error


def _rigid(path: Path) -> Tensor:
    values = _numbers(path).reshape(-1)
    if values.size not in (12, 16):
        raise UserError(f"has {values.size} numbers, expected a 3x4 or 4x4 matrix", path=path)
    return _as_rigid(values, path)


def _as_rigid(values: np.ndarray, path: Path) -> Tensor:
    matrix = np.eye(4)
    matrix[:3] = values[:12].reshape(3, 4)
    rotation = matrix[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2 or np.linalg.det(rotation) < 0:
        raise UserError("is not a rigid camera pose: its 3x3 part must be a rotation", path=path)
    return torch.from_numpy(matrix).float()


def _json(path: Path) -> dict:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("is absent", path=path) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"is no JSON document: {error}", path=path) from error
    if not isinstance(document, dict):
        raise UserError("is no JSON dictionary", path=path)
    return document


def _array(document: dict, key: str, path: Path) -> np.ndarray:
    if key not in document:
        raise UserError(f"lacks `{key}`; it has {', '.join(document)}", path=path)
    try:
        array = np.asarray(document[key], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(f"`{key}` is no array of numbers", path=path) from error
    if not np.isfinite(array).all():
        raise UserError(f"`{key}` holds numbers that are not finite", path=path)
    return array


def _bones(document: dict, path: Path) -> Tensor:
    array = _array(document, "joints_RT", path)
    if array.ndim != 3 or array.shape[:2] != (4, 4):
        raise UserError(f"`joints_RT` is {array.shape}, expected 4 x 4 x joints, the joint last", path=path)
    return torch.from_numpy(array).float().permute(2, 0, 1).contiguous()
