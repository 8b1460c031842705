"""`likeness prepare neural_actor`: a tracked body (EasyMocap, SMPL, any skinned rig) into an actor's folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor

from likeness.errors import UserError
from likeness.formats.actor import read_uv, write_body, write_cameras, write_transform
from likeness.formats.easymocap import read_bodies, read_yaml_cameras
from likeness.formats.smpl import BodyRig, read_arrays, read_rig
from likeness.geometry.body import BodyModel, Pose
from likeness.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from likeness.geometry.skinning import bone_transforms
from likeness.work import run_all


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Write OUT/{canonical.obj,uvmapping.obj,skinning_weight.txt,transform_tpose.json,transform/} from a tracked body.

    The motion is a folder of EasyMocap's JSON files, or an .npz of SMPL parameters (`poses` (T, 3 J) with the global
    rotation first, `trans` (T, 3), `betas`), or an .npz of matrices (`bones` (T, J, 4, 4) from rest to pose).
    """

    motion: Annotated[Path, tyro.conf.Positional]
    """EasyMocap's folder of JSON files, or an .npz."""
    out: Annotated[Path, tyro.conf.Positional]
    """The actor's folder to write."""
    body: Path
    """SMPL as .npz or .pkl, or a rig as .npz: vertices, faces, weights, parents, joints."""
    uv: Path
    """OBJ with texture coordinates, face for face those of the body."""
    person: int = 0
    """Id of the body in EasyMocap's files."""
    cameras: Path | None = None
    """Folder with EasyMocap's intri.yml and extri.yml, to be written as intrinisc/ and pose/."""
    first_frame: int = 0
    """Number of the motion's first frame in the pictures' names; EasyMocap's files keep their own numbers."""


@dataclass(frozen=True)
class Motion:
    """What every frame's transform is made of."""

    stems: list[str]
    poses: list[Pose]
    angles: list[Tensor]
    """(3 J,) of each frame, the root's zero."""


def prepare(config: PrepareConfig) -> None:
    """Write the folder; nothing is written before the body and every frame have been read and found good."""
    rig = read_rig(config.body)
    uv, uv_faces = read_uv(config.uv)
    if len(uv_faces) != len(rig.faces):
        raise UserError(f"has {len(uv_faces)} faces, the body {len(rig.faces)}: they must be the same", path=config.uv)
    if config.motion.is_dir():
        rig, motion = from_easymocap(config.motion, rig, config.person)
    else:
        rig, motion = from_arrays(config.motion, rig, config.first_frame)
    strangers = {path.stem for path in (config.out / "transform").glob("*.json")} - set(motion.stems)
    if strangers:
        raise UserError(
            f"holds transforms of another motion, such as {min(strangers)}.json: remove them or choose another folder",
            path=config.out / "transform",
        )
    rest = torch.eye(4).expand(len(rig.parents), 4, 4).clone()
    cameras = [] if config.cameras is None else [camera for _, camera in read_yaml_cameras(config.cameras)]
    write_body(config.out, BodyModel(rig.vertices, rig.faces, uv[uv_faces], rig.weights, rest), uv, uv_faces)
    write_cameras(config.out, cameras)
    run_all(lambda t: _write_frame(config.out, motion, t), range(len(motion.poses)), 1, "transforms")
    print(
        f"{config.out}: a body of {len(rig.vertices)} vertices and {len(rig.parents)} joints, "
        f"{len(motion.poses)} frames{f', {len(cameras)} cameras' if cameras else ''}"
    )


def from_easymocap(folder: Path, rig: BodyRig, person: int = 0) -> tuple[BodyRig, Motion]:
    """The rig in the person's mean shape, and its motion: x = R(Rh) X + Th."""
    frames = read_bodies(folder, person)
    shapes = torch.stack([_padded(body.shapes, max(len(other.shapes) for _, other in frames)) for _, body in frames])
    _tell_spread(shapes)
    rig = rig.shaped(shapes.mean(0))
    poses = []
    for stem, body in frames:
        if body.poses.numel() != 3 * len(rig.parents):
            raise UserError(
                f"`poses` has {body.poses.numel()} numbers, the body {len(rig.parents)} joints: give the body model "
                "that was fitted",
                path=folder / f"{stem}.json",
            )
        local = axis_angle_to_matrix(body.poses.double().view(-1, 3))
        rotation = axis_angle_to_matrix(body.rotation.double())
        poses.append(
            _pose(rig, bone_transforms(local, rig.joints.double(), list(rig.parents)), rotation, body.translation)
        )
    return rig, Motion([stem for stem, _ in frames], poses, [body.poses for _, body in frames])


def from_arrays(path: Path, rig: BodyRig, first_frame: int = 0) -> tuple[BodyRig, Motion]:
    """The rig in the person's shape, and its motion from SMPL's own parameters or from matrices.

    SMPL turns the whole body about its root joint, x = R0 (X - J0) + J0 + trans; here the turn is about the origin, so
    that Th = J0 - R0 J0 + trans.
    """
    content = read_arrays(path)
    joints = len(rig.parents)
    if "bones" in content:
        bones = _tensor(content, "bones", path, (joints, 4, 4))
        return rig, _from_bones(path, rig, bones, first_frame)
    poses = _tensor(content, "poses", path, (joints, 3))
    trans = _tensor(content, "trans", path, (3,)) if "trans" in content else torch.zeros(len(poses), 3).double()
    if len(trans) != len(poses):
        raise UserError(f"`poses` has {len(poses)} frames, `trans` {len(trans)}", path=path)
    if "betas" in content:
        betas = np.atleast_2d(np.asarray(content["betas"], dtype=np.float64))
        known = 0 if rig.shape_directions is None else rig.shape_directions.shape[-1]
        # Collections store more shape numbers than a small model has directions; SMPL's come in order of importance.
        used = torch.from_numpy(betas[:, :known]).float()
        _tell_spread(used)
        rig = rig.shaped(used.mean(0))
    root = rig.joints[0].double()
    turn = axis_angle_to_matrix(poses[:, 0])
    shift = root - (turn @ root) + trans
    local = axis_angle_to_matrix(poses)
    local = torch.cat([torch.eye(3).double().expand(len(poses), 1, 3, 3), local[:, 1:]], dim=1)
    bones = bone_transforms(local, rig.joints.double().expand(len(poses), -1, -1), list(rig.parents))
    angles = torch.cat([torch.zeros(len(poses), 1, 3), poses[:, 1:].float()], dim=1).flatten(1)
    made = [_pose(rig, bones[t], turn[t], shift[t]) for t in range(len(poses))]
    return rig, Motion(_stems(len(poses), first_frame), made, list(angles))


def _from_bones(path: Path, rig: BodyRig, bones: Tensor, first_frame: int) -> Motion:
    """The root's matrix is the global motion, and the others are taken relative to it."""
    rotations = bones[..., :3, :3]
    unfit = (rotations @ rotations.mT - torch.eye(3).double()).abs().amax((-1, -2)) > 1e-3
    if unfit.any():
        frame, joint = unfit.nonzero()[0].tolist()
        raise UserError(
            f"`bones` of frame {frame}, joint {joint}, is no rigid matrix: scale or shear must be in the rest shape",
            path=path,
        )
    relative = torch.linalg.inv(bones[:, :1]) @ bones
    poses, angles = [], []
    for t in range(len(bones)):
        poses.append(_pose(rig, relative[t], bones[t, 0, :3, :3], bones[t, 0, :3, 3]))
        parents = [relative[t, parent, :3, :3] if parent >= 0 else torch.eye(3).double() for parent in rig.parents]
        local = torch.stack(parents).mT @ relative[t, :, :3, :3]
        angles.append(matrix_to_axis_angle(local).float().flatten())
    return Motion(_stems(len(bones), first_frame), poses, angles)


def _pose(rig: BodyRig, bones: Tensor, rotation: Tensor, translation: Tensor) -> Pose:
    rest = rig.joints.double()
    moved = (bones[:, :3, :3] @ rest.unsqueeze(-1)).squeeze(-1) + bones[:, :3, 3]
    pose = Pose(bones.float(), rotation.mT.float(), translation.float(), moved.float())
    return replace(pose, joints=pose.to_world(moved.float()))


def _write_frame(out: Path, motion: Motion, t: int) -> None:
    history = torch.stack([motion.poses[max(0, t - back)].joints for back in (2, 1, 0)])
    write_transform(out / "transform" / f"{motion.stems[t]}.json", motion.poses[t], motion.angles[t], history)


def _stems(count: int, first: int) -> list[str]:
    return [f"{first + t:06d}" for t in range(count)]


def _padded(values: Tensor, count: int) -> Tensor:
    return torch.cat([values, values.new_zeros(count - len(values))])


def _tell_spread(shapes: Tensor) -> None:
    spread = float((shapes - shapes.mean(0)).abs().max()) if shapes.numel() else 0.0
    if spread > 1e-3:
        print(f"the shape differs between frames by up to {spread:.3g}: all frames get the mean shape")


def _tensor(content: dict[str, Any], name: str, path: Path, shape: Sequence[int]) -> Tensor:
    """(T, *shape) float64."""
    if name not in content:
        raise UserError(f"has neither `bones` nor `poses`; it has {', '.join(content) or 'no arrays'}", path=path)
    array = np.asarray(content[name])
    count = int(np.prod(shape))
    if array.dtype.kind not in "iuf" or array.ndim < 2 or array[0].size != count or not np.isfinite(array).all():
        raise UserError(
            f"`{name}` is {array.shape} {array.dtype}, expected finite numbers of shape (frames, "
            f"{' x '.join(map(str, shape))}) for a body of this many joints",
            path=path,
        )
    return torch.from_numpy(array.astype(np.float64)).reshape(len(array), *shape)
