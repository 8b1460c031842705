import json
import shutil

import pytest
import torch

from likeness.errors import UserError
from likeness.formats import actor as fmt
from likeness.geometry.body import posed_vertices


@pytest.fixture
def folder(data_dir, tmp_path):
    copy = tmp_path / "actor"
    shutil.copytree(data_dir / "neural_actor" / "anny_actor", copy)
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def test_NA1_every_file_of_the_free_actor(folder):
    model = fmt.read_body(folder)
    assert model.vertices.shape == (13718, 3) and model.face_uv.shape == (27420, 3, 2)
    assert model.weights.shape == (13718, 53) and model.canonical_bones.shape == (53, 4, 4)
    cameras, frames = fmt.read_cameras(folder), fmt.read_frames(folder)
    assert len(cameras) == 4 and len(frames) == 6 and frames[0].texture is None
    for frame in frames:
        points = posed_vertices(model, fmt.read_transform(frame.transform))
        for camera in cameras:
            world_to_camera = torch.linalg.inv(camera.camera_to_world)
            local = points @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
            pixels = local @ camera.intrinsics.T
            pixels = pixels[:, :2] / pixels[:, 2:]
            assert (local[:, 2] > 0).all() and (pixels > 0).all() and (pixels < 256).all()


def test_NA1_round_trip(folder, tmp_path):
    model, pose = fmt.read_body(folder), fmt.read_transform(folder / "transform" / "000003.json")
    uv, uv_faces = fmt.read_uv(folder / "uvmapping.obj")
    fmt.write_body(tmp_path / "out", model, uv, uv_faces)
    fmt.write_transform(tmp_path / "out" / "transform" / "000000.json", pose)
    fmt.write_cameras(tmp_path / "out", fmt.read_cameras(folder))
    again = fmt.read_body(tmp_path / "out")
    for name in ("vertices", "faces", "face_uv", "weights", "canonical_bones"):
        torch.testing.assert_close(getattr(again, name), getattr(model, name), atol=2e-6, rtol=1e-5)
    repeated = fmt.read_transform(tmp_path / "out" / "transform" / "000000.json")
    torch.testing.assert_close(repeated.bones, pose.bones)
    assert torch.equal(repeated.rotation, pose.rotation)
    first, second = fmt.read_cameras(folder)[2], fmt.read_cameras(tmp_path / "out")[2]
    torch.testing.assert_close(first.camera_to_world, second.camera_to_world)
    assert torch.equal(first.intrinsics, second.intrinsics)


@pytest.mark.parametrize(
    "text",
    ["300 0 128\n0 300 128\n0 0 1\n", "300 128 128 0\n", "300 0 128 0 0 300 128 0 0 0 1 0 0 0 0 1\n"],
)
def test_NA1_intrinsics_in_every_shape(tmp_path, text):
    (tmp_path / "k.txt").write_text(text)
    expected = torch.tensor([[300.0, 0, 128], [0, 300, 128], [0, 0, 1]])
    assert torch.equal(fmt.read_intrinsics(tmp_path / "k.txt"), expected)


@pytest.mark.parametrize("name", ["intrinsic", "intrinsics", "intrinisc"])
def test_NA1_tolerated_spellings_and_extrinsics(folder, name):
    expected = fmt.read_cameras(folder)
    (folder / "intrinisc").rename(folder / "kept")
    (folder / "kept").rename(folder / name)
    for path in (folder / "pose").glob("*.txt"):
        matrix = torch.linalg.inv(expected[int(path.stem)].camera_to_world)
        lines = [" ".join(f"{value:.9f}" for value in row) for row in matrix.tolist()]
        (folder / "extrinsic").mkdir(exist_ok=True)
        (folder / "extrinsic" / path.name).write_text("256 256\n" + "\n".join(lines) + "\n")
    for ours, theirs in zip(fmt.read_cameras(folder), expected):
        torch.testing.assert_close(ours.camera_to_world, theirs.camera_to_world, atol=1e-4, rtol=0)


def _edit(folder, name, change):
    path = folder / "transform" / name
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_NA1_broken_folders_are_named(folder):
    lines = (folder / "uvmapping.obj").read_text().splitlines()
    (folder / "uvmapping.obj").write_text("\n".join(lines[:-3]) + "\n")
    with pytest.raises(UserError, match=r"uvmapping.obj.*27417 faces.*27420"):
        fmt.read_body(folder)
    (folder / "uvmapping.obj").write_text("\n".join(lines) + "\n")
    weights = (folder / "skinning_weight.txt").read_text().splitlines()
    (folder / "skinning_weight.txt").write_text("\n".join(weights[:100]) + "\n")
    with pytest.raises(UserError, match=r"skinning_weight.txt.*100 rows.*13718"):
        fmt.read_body(folder)
    _edit(folder, "000000.json", lambda document: document.update(rotation=[[1, 0, 0], [0, 2, 0], [0, 0, 1]]))
    with pytest.raises(UserError, match=r"000000.json.*rigid"):
        fmt.read_transform(folder / "transform" / "000000.json")
    _edit(folder, "000001.json", lambda document: document.pop("joints_RT"))
    with pytest.raises(UserError, match=r"000001.json.*lacks `joints_RT`"):
        fmt.read_transform(folder / "transform" / "000001.json")
    (folder / "pose" / "0003.txt").unlink()
    with pytest.raises(UserError, match="one a camera"):
        fmt.read_cameras(folder)
    shutil.rmtree(folder / "intrinisc")
    (folder / "intrinsic.txt").unlink()
    with pytest.raises(UserError, match="holds no intrinsics"):
        fmt.read_cameras(folder)
