"""Motion carried over between actors: the driver's rotations on the actor's own bones.

The format states motions as matrices A_j of a rig's bones from its own rest pose (Loper et al., "SMPL", 2015); carried
to a body of other proportions, their rotations stay and their offsets follow from that body's rest joints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.formats.actor import read_frames, read_obj, read_skeleton, read_transform
from likeness.geometry.body import Pose


@dataclass(frozen=True)
class Rig:
    """A body's bones in its rest pose."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    """-1 for a root; parents come before their children."""
    joints: Tensor
    """(J, 3) metres."""

    @property
    def reach(self) -> float:
        """Metres of all bones together."""
        bones = [self.joints[child] - self.joints[parent] for child, parent in enumerate(self.parents) if parent >= 0]
        return float(torch.stack(bones).norm(dim=-1).sum()) if bones else 1.0


@dataclass(frozen=True)
class BoneMatch:
    """Which of the driver's bones moves each of the actor's."""

    source: tuple[int, ...]
    """For each bone of the actor one of the driver's, or -1: it then follows its parent."""
    unmatched: tuple[str, ...]
    """Names of the actor's bones without one."""
    unused: tuple[str, ...]
    """Names of the driver's bones that move nothing."""


def read_rig(folder: Path) -> Rig:
    """The rig of an actor's folder: names and parents from skeleton.json, rest joints from its first motion.

    Raises:
        UserError: the skeleton is absent or of another number of bones.
    """
    names, parents = read_skeleton(folder)
    pose = read_transform(read_frames(folder, maps=False)[0].transform)
    if len(names) != len(pose.bones):
        raise UserError(f"names {len(names)} bones, the motions have {len(pose.bones)}", path=folder)
    return Rig(names, parents, rest_joints(pose))


def rest_joints(pose: Pose) -> Tensor:
    """(J, 3) where the joints lie in the rest pose: each bone's A_j carries its own joint."""
    local = pose.to_normalised(pose.joints)
    return torch.linalg.solve(pose.bones[:, :3, :3], (local - pose.bones[:, :3, 3]).unsqueeze(-1)).squeeze(-1)


def match_bones(actor: Rig, driver: Rig, names: Mapping[str, str] | None = None) -> BoneMatch:
    """Match bones by equal names, then by the map `names` (actor's name -> driver's).

    Raises:
        UserError: the map names a bone that is not there, or nothing matches.
    """
    pairs = {name: name for name in actor.names if name in driver.names} | dict(names or {})
    for ours, theirs in pairs.items():
        for name, rig, whose in ((ours, actor, "actor"), (theirs, driver, "driver")):
            if name not in rig.names:
                raise UserError(f"the {whose} has no bone {name!r}; it has {', '.join(rig.names)}")
    source = tuple(driver.names.index(pairs[name]) if name in pairs else -1 for name in actor.names)
    if max(source) < 0:
        raise UserError(
            f"no bone of the actor ({', '.join(actor.names[:8])}, ...) is called as one of the driver's "
            f"({', '.join(driver.names[:8])}, ...): give --bones \"actor's: driver's, ...\""
        )
    unmatched = tuple(name for name in actor.names if name not in pairs)
    return BoneMatch(source, unmatched, tuple(name for name in driver.names if name not in pairs.values()))


def retarget(pose: Pose, actor: Rig, driver: Rig, match: BoneMatch) -> Pose:
    """The driver's pose on the actor's bones.

    Rotations are taken over; what has no match follows its parent. Steps of the root, from its rest place and in the
    world, are scaled by the ratio of the rigs' sizes, so that strides fit the legs.
    """
    scale = actor.reach / driver.reach
    rotations: list[Tensor] = []
    places: list[Tensor] = []
    for child, parent in enumerate(actor.parents):
        theirs = match.source[child]
        if theirs >= 0:
            rotation = pose.bones[theirs, :3, :3]
        else:
            rotation = rotations[parent] if parent >= 0 else torch.eye(3)
        if parent >= 0:
            place = places[parent] + rotations[parent] @ (actor.joints[child] - actor.joints[parent])
        else:
            root = max(theirs, 0)
            moved = pose.bones[root, :3, :3] @ driver.joints[root] + pose.bones[root, :3, 3] - driver.joints[root]
            place = actor.joints[child] + scale * moved
        rotations.append(rotation)
        places.append(place)
    bones = torch.eye(4).repeat(len(rotations), 1, 1)
    bones[:, :3, :3] = torch.stack(rotations)
    joints = torch.stack(places)
    bones[:, :3, 3] = joints - (bones[:, :3, :3] @ actor.joints.unsqueeze(-1)).squeeze(-1)
    translation = scale * pose.translation
    return Pose(bones, pose.rotation, translation, joints @ pose.rotation + translation)


def stand_alike(pose: Pose, vertices: Tensor, driver_height: float, up: Tensor) -> Pose:
    """The pose moved along `up` (3,) so that its lowest vertex is as high as the driver's.

    Args:
        vertices: (V, 3) of the posed actor in the world.
        driver_height: of the driver's lowest vertex along `up`.
    """
    lift = (driver_height - float((vertices @ up).min())) * up
    return Pose(pose.bones, pose.rotation, pose.translation + lift, pose.joints + lift)


def read_shape(folder: Path, faces: Tensor) -> Tensor:
    """(V, 3) rest vertices of another body of the same mesh.

    Raises:
        UserError: its triangles are others.
    """
    vertices, other = read_obj(folder / "canonical.obj")
    if other.shape != faces.shape or not torch.equal(other, faces.cpu()):
        raise UserError(
            f"has {len(other)} triangles that are not the actor's {len(faces)}: a shape must be of the same mesh",
            path=folder / "canonical.obj",
        )
    return vertices


def parse_bones(text: str) -> dict[str, str]:
    """`"hip: pelvis, knee_l: calf_l"` as a map from the actor's names to the driver's.

    Raises:
        UserError: not of this form.
    """
    pairs: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        ours, colon, theirs = (part.strip() for part in entry.partition(":"))
        if not colon or not ours or not theirs:
            raise UserError(f"cannot read {entry!r}: expected \"actor's bone: driver's bone\", separated by commas")
        pairs[ours] = theirs
    return pairs


def told(match: BoneMatch, bones: Sequence[str]) -> str:
    """What was matched and what was not, in a sentence or two."""
    found = sum(index >= 0 for index in match.source)
    text = f"{found} of {len(bones)} bones are driven"
    if match.unmatched:
        text += f"; follow their parents: {', '.join(match.unmatched)}"
    if match.unused:
        text += f"; the driver's {', '.join(match.unused)} move nothing"
    return text
