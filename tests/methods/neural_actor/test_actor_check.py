"""The checker: what is right passes, and every mistake is named and explained."""

import json
import shutil

import numpy as np
import pytest
import torch

from likeness.cli.main import run as command
from likeness.formats.actor import read_cameras
from likeness.methods.neural_actor.check import check


@pytest.fixture
def folder(actor_studio, tmp_path):
    copy = tmp_path / "actor"
    shutil.copytree(actor_studio / "training", copy, ignore=shutil.ignore_patterns("*.avi", "*.zip", "rgb_video"))
    return copy


def found(folder, capsys, **options):
    """Figures and printed text of a check."""
    capsys.readouterr()
    numbers = check(folder, folder.parent / "check", **options)
    return numbers, capsys.readouterr().out


def edit(folder, change):
    for path in (folder / "transform").iterdir():
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))


def test_issue_7_check_of_a_good_folder(folder, capsys):
    command(["check", "neural_actor", str(folder), "--out", str(folder.parent / "check")])
    told = capsys.readouterr().out
    assert "nothing is damaged or missing" in told and "3 frames, 4 cameras" in told
    numbers, _ = found(folder, capsys)
    assert numbers["overlap"] > 0.7 and numbers["findings"] == 0
    assert len(list((folder.parent / "check").glob("*.png"))) == 12


def test_issue_7_check_of_videos(actor_studio, tmp_path, capsys):
    split = tmp_path / "split"
    shutil.copytree(
        actor_studio / "training", split, ignore=shutil.ignore_patterns("rgb", "tex", "normal", "transform")
    )
    numbers, told = found(split, capsys)
    assert numbers["videos"] == 6 and numbers["findings"] == 0
    shutil.copyfile(actor_studio / "testing" / "transform.zip", split / "transform.zip")
    _, told = found(split, capsys)
    assert "differ in length" in told and "transform.zip 2" in told and "rgb_video/000.avi 3" in told


def test_issue_7_weights_and_faces_of_another_length(folder, capsys):
    path = folder / "skinning_weight.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-2]) + "\n")
    assert "rows, expected one for each of" in found(folder, capsys)[1]
    path = folder / "uvmapping.obj"
    path.write_text("\n".join(path.read_text().splitlines()[:-2]) + "\n")
    assert "face k of one must be face k of the other" in found(folder, capsys)[1]


def test_issue_7_transforms_fewer_than_pictures(folder, capsys):
    (folder / "transform" / "000001.json").unlink()
    _, told = found(folder, capsys)
    assert "3 frames have pictures and 2 a transform; without one are 000001" in told
    assert "3 pictures for 2 transforms" in told
    for path in sorted((folder / "tex").iterdir())[1:]:
        path.unlink()
    assert "holds 1 pictures for 2 transforms" in found(folder, capsys)[1]


def test_issue_7_pictures_and_cameras_of_another_number(folder, capsys):
    next((folder / "rgb" / "000002").iterdir()).unlink()
    shutil.rmtree(folder / "rgb" / "000000")
    _, told = found(folder, capsys)
    assert "1 frames have another number of pictures than the 4 cameras: 000002" in told
    assert "1 transforms have no pictures: 000000" in told


def test_issue_7_matrices_that_are_not_rigid(folder, capsys):
    edit(folder, lambda d: d.update(joints_RT=(1.1 * np.asarray(d["joints_RT"])).tolist()))
    assert "matrices in `joints_RT` are not rigid (joint 0" in found(folder, capsys)[1]
    edit(folder, lambda d: d.update(rotation=[[1, 0, 0], [0, 1, 0], [0, 0.5, 1]]))
    assert "`rotation` is not a rigid 3x3 rotation" in found(folder, capsys)[1]
    path = folder / "pose" / "0002.txt"
    path.write_text("2 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    assert "0002.txt: is not a rigid camera pose" in found(folder, capsys)[1]


def test_issue_7_bones_of_another_skeleton(folder, capsys):
    edit(folder, lambda d: d.update(joints_RT=np.eye(4)[..., None].repeat(5, 2).tolist(), joints=[[0, 0, 0]] * 5))
    assert "5 bones for a body with weights of" in found(folder, capsys)[1]


def test_issue_7_cameras_behind_the_actor(folder, capsys):
    for index, camera in enumerate(read_cameras(folder)):
        away = camera.camera_to_world @ torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
        matrix = away if index == 1 else torch.linalg.inv(camera.camera_to_world)
        np.savetxt(folder / "pose" / f"{index:04d}.txt", matrix.numpy())
    _, told = found(folder, capsys, frames=1)
    assert "camera 1 at frame 000000: the actor is behind the camera: z must point" in told
    assert "points from world to camera, as in extrinsic/" in told


def test_issue_7_rays_that_miss_and_intrinsics_of_another_size(folder, capsys):
    edit(folder, lambda d: d.update(translation=[[40.0, 0, 0]]))
    _, told = found(folder, capsys)
    assert "no ray meets the body, which projects beside the picture of 64 x 64" in told
    assert "`joints` lie" in told
    for path in (folder / "intrinisc").iterdir():
        path.write_text("900 512 512 0\n")
    assert "principal point (512, 512) lies outside of a picture of 64 x 64" in found(folder, capsys)[1]


def test_issue_7_a_transposed_rotation_is_recognised(folder, capsys):
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec([0.0, 0.0, 1.2]).as_matrix()

    def change(document):  # a body whose bones carry the turn, and a `rotation` that undoes it the wrong way round
        bones = np.moveaxis(np.asarray(document["joints_RT"]), -1, 0)
        full = np.eye(4)
        full[:3, :3] = turn
        document.update(joints_RT=np.moveaxis(full @ bones, 0, -1).tolist(), rotation=turn.T.tolist())

    edit(folder, change)
    numbers, told = found(folder, capsys)
    assert numbers["overlap"] < 0.6 and "when `rotation` is transposed" in told


def test_issue_7_millimetres_and_damaged_pictures(folder, capsys):
    lines = (folder / "canonical.obj").read_text().splitlines()
    scaled = [
        "v " + " ".join(str(1000 * float(x)) for x in line.split()[1:]) if line.startswith("v ") else line
        for line in lines
    ]
    (folder / "canonical.obj").write_text("\n".join(scaled) + "\n")
    assert "lengths are metres" in found(folder, capsys)[1]
    (folder / "canonical.obj").write_text("\n".join(lines) + "\n")
    next((folder / "rgb" / "000000").iterdir()).write_bytes(b"\x89PNG")
    assert "is no whole picture" in found(folder, capsys)[1]
