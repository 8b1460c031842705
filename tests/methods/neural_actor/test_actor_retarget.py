"""Pose transfer between actors and reshaping."""

import json

import pytest
import torch

from likeness.cli.main import run as command
from likeness.errors import UserError
from likeness.formats.actor import read_body, read_skeleton, read_transform
from likeness.geometry.body import posed_vertices
from likeness.methods.neural_actor.animate import AnimateConfig, carried_over
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.retarget import (
    Rig,
    match_bones,
    parse_bones,
    read_rig,
    read_shape,
    rest_joints,
    retarget,
)
from tests.methods.neural_actor.stand_in import BONES, PARENTS, body, pose, write_actor, write_run


@pytest.fixture(scope="module")
def actors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("actors")
    small = write_actor(folder / "small", height=1.4, radius=0.12, bends=0.4)
    tall = write_actor(folder / "tall", height=1.8, radius=0.2, bends=0.1)
    return write_run(folder / "run", small), small, tall


def rig(height=1.6, names=BONES):
    return Rig(tuple(names), tuple(PARENTS), body(height)[2])


def test_NA23_rest_joints_follow_from_one_motion():
    joints = body(1.5)[2]
    torch.testing.assert_close(rest_joints(pose(joints, 0.7, (1.0, 2.0, 3.0))), joints, atol=1e-5, rtol=0)


def test_NA23_the_same_proportions_give_the_same_pose():
    joints = body(1.6)[2]
    driven = pose(joints, 0.5, (0.3, 0.0, 0.2))
    ported = retarget(driven, rig(), rig(), match_bones(rig(), rig()))
    torch.testing.assert_close(ported.bones, driven.bones, atol=1e-5, rtol=0)
    torch.testing.assert_close(ported.joints, driven.joints, atol=1e-5, rtol=0)


def test_NA23_other_proportions_keep_rotations_and_own_bone_lengths():
    driven = pose(body(1.8)[2], 0.5, (0.9, 0.0, 0.0))
    small, tall = rig(1.4), rig(1.8)
    ported = retarget(driven, small, tall, match_bones(small, tall))
    expected = pose(small.joints, 0.5, (0.7, 0.0, 0.0))  # strides shrink as the body
    torch.testing.assert_close(ported.bones, expected.bones, atol=1e-5, rtol=0)
    torch.testing.assert_close(ported.joints, expected.joints, atol=1e-5, rtol=0)


def test_NA23_unmatched_bones_are_listed_and_follow_their_parents():
    ours, theirs = rig(names=("root", "spine", "head")), rig(names=("root", "middle", "crown"))
    match = match_bones(ours, theirs, {"spine": "middle"})
    assert match.source == (0, 1, -1) and match.unmatched == ("head",) and match.unused == ("crown",)
    driven = pose(theirs.joints, 0.5)
    ported = retarget(driven, ours, theirs, match)
    torch.testing.assert_close(ported.bones[2, :3, :3], ported.bones[1, :3, :3])
    with pytest.raises(UserError, match="driver has no bone 'tail'"):
        match_bones(ours, theirs, {"spine": "tail"})
    with pytest.raises(UserError, match="is called as one of the driver's"):
        match_bones(rig(names=("a", "b", "c")), theirs)
    assert parse_bones("spine: middle, head:crown") == {"spine": "middle", "head": "crown"}
    with pytest.raises(UserError, match="cannot read 'spine'"):
        parse_bones("spine")


def test_NA23_feet_stand_as_high_as_the_drivers(actors):
    run, small, tall = actors
    avatar = Avatar.from_run(run)
    config = AnimateConfig(run=run, out=small, driver=tall)
    poses = [read_transform(tall / "transform" / f"{index:06d}.json") for index in range(3)]
    lowest = [float(posed_vertices(read_body(tall), each)[:, 1].min()) for each in poses]
    ported = carried_over(avatar, config, small, poses)
    own = [float(posed_vertices(read_body(small), each)[:, 1].min()) for each in ported]
    assert own == pytest.approx(lowest, abs=1e-5)


def test_NA23_transfer_and_reshape_by_one_command_each(actors, tmp_path, capsys):
    run, _, tall = actors
    common = f"animate neural_actor --run {run} --resolution 24 24 --output-types color skel voxel"
    command(f"{common} --out {tmp_path / 'driven'} --driver {tall} --start-end 0 2".split())
    assert "3 of 3 bones are driven" in capsys.readouterr().out
    assert len(list((tmp_path / "driven" / "color").iterdir())) == 2
    command(f"{common} --out {tmp_path / 'reshaped'} --shape {tall} --start-end 0 1".split())
    assert (tmp_path / "reshaped" / "voxel" / "000000.png").is_file()


def test_NA23_reshaped_body_has_the_other_shape_in_the_actors_motion(actors):
    run, small, tall = actors
    avatar = Avatar.from_run(run)
    wide = avatar.reshaped(read_shape(tall, avatar.network.encoder.faces))
    poses = [read_transform(small / "transform" / f"{index:06d}.json") for index in range(3)]
    config = AnimateConfig(run=run, out=small, shape=tall)
    for ported, original in zip(carried_over(wide, config, small, poses), poses):
        posed = wide.pose(ported)
        torch.testing.assert_close(ported.bones[:, :3, :3], original.bones[:, :3, :3], atol=1e-5, rtol=0)
        ours = ported.to_normalised(ported.joints)
        lengths = (ours[1:] - ours[:-1]).norm(dim=-1)
        expected = (read_rig(tall).joints[1:] - read_rig(tall).joints[:-1]).norm(dim=-1)
        torch.testing.assert_close(lengths, expected, atol=1e-4, rtol=0)
        assert posed.vertices.shape == avatar.network.encoder.vertices.shape


def test_NA23_a_shape_of_another_mesh_and_a_missing_skeleton_are_named(actors, tmp_path):
    run, _, _ = actors
    (tmp_path / "canonical.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(UserError, match="same mesh"):
        read_shape(tmp_path, Avatar.from_run(run).network.encoder.faces)
    with pytest.raises(UserError, match="is absent: it names the bones"):
        read_skeleton(tmp_path)
    for document, words in (
        ({"bones": ["a"]}, "lists of one length"),
        ({"bones": ["a", "b"], "parents": [1, -1]}, "come before"),
    ):
        (tmp_path / "skeleton.json").write_text(json.dumps(document))
        with pytest.raises(UserError, match=words):
            read_skeleton(tmp_path)


def test_NA23_skeleton_of_the_free_actor(data_dir):
    ours = read_rig(data_dir / "neural_actor" / "anny_actor")
    assert len(ours.names) == 53 and ours.names[1] == "pelvis" and ours.parents[1] == 0
