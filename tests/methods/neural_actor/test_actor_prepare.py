"""Tracked bodies into transforms, and back."""

import json

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from likeness.cli.main import run as command
from likeness.errors import UserError
from likeness.formats.actor import read_body, read_cameras, read_frames, read_transform
from likeness.geometry.body import posed_vertices

PARENTS = [-1, 0, 1, 1]
BETAS = np.array([0.7, -0.4])


@pytest.fixture
def body():
    """Arrays of a small SMPL with 4 joints."""
    rng = np.random.default_rng(1)
    weights = rng.random((10, 4)) ** 4
    return {
        "v_template": rng.normal(size=(10, 3)),
        "f": np.array([[k, k + 1, k + 2] for k in range(8)]),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(4)], np.uint32),
        "J_regressor": np.kron(np.eye(4, 5), [[0.5, 0.5]]),
        "shapedirs": 0.1 * rng.normal(size=(10, 3, 3)),
    }


@pytest.fixture
def folder(body, tmp_path):
    """Body and texture layout in files."""
    np.savez(tmp_path / "smpl.npz", **body)
    lines = ["vt 0 0", "vt 1 0", "vt 0 1"] + ["f 1/1 2/2 3/3"] * 8
    (tmp_path / "uv.obj").write_text("\n".join(lines) + "\n")
    return tmp_path


def smpl_forward(body, betas, poses, trans):
    """(V, 3) of SMPL without pose blend shapes: every joint turns about itself, the root too; and (J, 3) its joints."""
    verts = body["v_template"] + body["shapedirs"][..., : len(betas)] @ betas
    joints = body["J_regressor"] @ verts
    world = []
    for joint, (angles, parent) in enumerate(zip(poses.reshape(-1, 3), PARENTS)):
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec(angles).as_matrix()
        matrix[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        world.append(matrix if parent < 0 else world[parent] @ matrix)
    out = np.zeros_like(verts)
    for weight, matrix, joint in zip(body["weights"].T, world, joints):
        out += weight[:, None] * ((verts - joint) @ matrix[:3, :3].T + matrix[:3, 3])
    return out + trans, np.stack([matrix[:3, 3] for matrix in world]) + trans


def write_easymocap(folder, frames):
    folder.mkdir()
    for number, (rh, th, poses) in enumerate(frames):
        person = {
            "id": 4,
            "Rh": [rh.tolist()],
            "Th": [th.tolist()],
            "poses": [poses.tolist()],
            "shapes": [BETAS.tolist()],
        }
        other = {"id": 5, "Rh": [[0, 0, 0]], "Th": [[9, 9, 9]], "poses": [[0] * 12], "shapes": [[0, 0]]}
        (folder / f"{number:06d}.json").write_text(json.dumps([other, person]))


def prepared(folder, motion, *options):
    words = [str(motion), str(folder / "out"), "--body", str(folder / "smpl.npz"), "--uv", str(folder / "uv.obj")]
    command(["prepare", "neural_actor", *words, *options])
    return folder / "out"


def test_NA18_easymocap_round_trip(folder, body):
    rng = np.random.default_rng(2)
    frames = [(rng.normal(size=3), rng.normal(size=3), np.r_[np.zeros(3), rng.normal(size=9)]) for _ in range(3)]
    write_easymocap(folder / "smpl", frames)
    out = prepared(folder, folder / "smpl", "--person", "4")
    model = read_body(out)
    for frame, (rh, th, poses) in zip(read_frames(out), frames, strict=True):
        pose = read_transform(frame.transform)
        expected, joints = smpl_forward(body, BETAS, poses, np.zeros(3))
        turn = Rotation.from_rotvec(rh).as_matrix()
        assert np.allclose(posed_vertices(model, pose), expected @ turn.T + th, atol=1e-5)
        assert np.allclose(pose.joints, joints @ turn.T + th, atol=1e-5)
        # And back: what EasyMocap wrote can be read off again.
        assert np.allclose(
            Rotation.from_matrix(pose.rotation.numpy().T).as_rotvec(), Rotation.from_rotvec(rh).as_rotvec(), atol=1e-5
        )
        assert np.allclose(pose.translation, th, atol=1e-6)
        document = json.loads(frame.transform.read_text())
        assert np.allclose(document["pose"], [poses], atol=1e-6)
        assert np.asarray(document["joints_RT"]).shape == (4, 4, 4) and np.asarray(document["motion"]).shape == (
            3,
            4,
            3,
        )
    (folder / "smpl" / "000002.json").rename(folder / "smpl" / "000009.json")
    with pytest.raises(UserError, match="another motion, such as 000002.json"):
        prepared(folder, folder / "smpl", "--person", "4")
    motion = json.loads(read_frames(out)[2].transform.read_text())["motion"]
    earlier = [read_transform(frame.transform).joints for frame in read_frames(out)]
    assert np.allclose(motion, torch.stack(earlier), atol=1e-6)


def test_NA18_smpls_own_parameters_turn_about_the_root(folder, body):
    rng = np.random.default_rng(3)
    poses, trans = rng.normal(size=(2, 12)), rng.normal(size=(2, 3))
    np.savez(folder / "motion.npz", poses=poses, trans=trans, betas=np.r_[BETAS, 0, 5, 5], gender="neutral")
    out = prepared(folder, folder / "motion.npz", "--first-frame", "7")
    model, frames = read_body(out), read_frames(out)
    assert [frame.transform.stem for frame in frames] == ["000007", "000008"]
    for frame, angles, shift in zip(frames, poses, trans):
        pose = read_transform(frame.transform)
        expected, joints = smpl_forward(body, BETAS, angles, shift)
        assert np.allclose(posed_vertices(model, pose), expected, atol=1e-5)
        assert np.allclose(pose.joints, joints, atol=1e-5)
        assert torch.equal(pose.bones[0, :3, :3], torch.eye(3))


def test_NA18_matrices_of_any_rig(folder, body, data_dir):
    rng = np.random.default_rng(4)
    bones = np.tile(np.eye(4), (2, 4, 1, 1))
    bones[..., :3, :3] = Rotation.from_rotvec(rng.normal(size=(8, 3))).as_matrix().reshape(2, 4, 3, 3)
    bones[..., :3, 3] = rng.normal(size=(2, 4, 3))
    np.savez(folder / "motion.npz", bones=bones)
    rig = {"vertices": body["v_template"], "faces": body["f"], "weights": body["weights"], "parents": np.array(PARENTS)}
    np.savez(folder / "smpl.npz", **rig, joints=rng.normal(size=(4, 3)))
    out = prepared(folder, folder / "motion.npz")
    model = read_body(out)
    for frame, matrices in zip(read_frames(out), bones):
        points = np.einsum("vj,jab,vb->va", body["weights"], matrices[:, :3], np.c_[body["v_template"], np.ones(10)])
        assert np.allclose(posed_vertices(model, read_transform(frame.transform)), points, atol=1e-5)


def test_NA18_cameras_of_easymocap(folder):
    write_easymocap(folder / "smpl", [(np.zeros(3), np.zeros(3), np.zeros(12))])
    matrix = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
    turn, shift = Rotation.from_rotvec([0.1, 0.5, -0.2]).as_matrix(), np.array([[0.2], [0.3], [3.0]])
    for name in ("intri", "extri"):
        storage = cv2.FileStorage(str(folder / f"{name}.yml"), cv2.FILE_STORAGE_WRITE)
        storage.startWriteStruct("names", cv2.FileNode_SEQ)
        storage.write("", "02"), storage.write("", "01")
        storage.endWriteStruct()
        for camera in ("01", "02"):
            if name == "intri":
                storage.write(f"K_{camera}", matrix), storage.write(f"dist_{camera}", np.zeros((1, 5)))
            elif camera == "01":
                storage.write(f"Rot_{camera}", turn), storage.write(f"T_{camera}", shift)
            else:
                storage.write(f"R_{camera}", cv2.Rodrigues(turn)[0]), storage.write(f"T_{camera}", 2 * shift)
        storage.release()
    out = prepared(folder, folder / "smpl", "--person", "4", "--cameras", str(folder))
    for scale, camera in zip((1, 2), read_cameras(out), strict=True):
        assert np.allclose(camera.intrinsics, matrix)
        outward = np.linalg.inv(camera.camera_to_world.numpy())
        assert np.allclose(outward[:3], np.c_[turn, scale * shift], atol=1e-5)
    text = (folder / "intri.yml").read_text()
    (folder / "intri.yml").write_text(text.replace("0.,", "0.1,", 30))
    with pytest.raises(UserError, match=r"intri.yml.*undistort"):
        prepared(folder, folder / "smpl", "--person", "4", "--cameras", str(folder))


def test_NA18_motions_that_do_not_fit_are_named(folder):
    write_easymocap(folder / "smpl", [(np.zeros(3), np.zeros(3), np.zeros(12))])
    with pytest.raises(UserError, match=r"000000.json.*0 bodies with id 0 \(ids: 5, 4\)"):
        prepared(folder, folder / "smpl")
    path = folder / "smpl" / "000000.json"
    whole = json.loads(path.read_text())[1]

    def changed(words, **changes):
        path.write_text(json.dumps([whole | changes]))
        with pytest.raises(UserError, match=words):
            prepared(folder, folder / "smpl", "--person", "4")

    changed("`poses` has 15 numbers, the body 4 joints", poses=[[0] * 15])
    changed("first three numbers of `poses` are not zero", poses=[[1] * 12])
    changed("`Th` has 2 numbers, expected 3", Th=[[1, 2]])
    np.savez(folder / "m.npz", poses=np.zeros((2, 72)))
    with pytest.raises(
        UserError, match=r"`poses` is \(2, 72\) float64, expected finite numbers of shape \(frames, 4 x 3"
    ):
        prepared(folder, folder / "m.npz")
    np.savez(folder / "m.npz", poses=np.zeros((2, 12)), trans=np.zeros((3, 3)))
    with pytest.raises(UserError, match="`poses` has 2 frames, `trans` 3"):
        prepared(folder, folder / "m.npz")
    np.savez(folder / "m.npz", bones=np.ones((2, 4, 4, 4)))
    with pytest.raises(UserError, match="frame 0, joint 0, is no rigid matrix"):
        prepared(folder, folder / "m.npz")
    (folder / "uv.obj").write_text("vt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    with pytest.raises(UserError, match="has 1 faces, the body 8"):
        prepared(folder, folder / "m.npz")
    assert not (folder / "out").exists()
