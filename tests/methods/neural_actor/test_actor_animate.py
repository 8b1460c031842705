"""Rendering a trained actor: paths, given cameras, output types, files."""

import math

import numpy as np
import pytest
import torch

from likeness.cli.main import run as command
from likeness.errors import UserError
from likeness.media.image import read_image, write_image
from likeness.media.video import count_frames, probe
from likeness.methods.neural_actor import pictures
from likeness.methods.neural_actor.animate import AnimateConfig, plan_shots
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.viewpoints import CameraPath, look_at, parse_path_arguments
from tests.methods.neural_actor.stand_in import body, write_actor, write_run
from tests.parity.neural_actor.test_actor_networks import filled, load


@pytest.fixture(scope="module")
def actor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("actor")
    return write_run(folder / "run", write_actor(folder / "data")), folder / "data"


def shots(actor, **options):
    run, data = actor
    return plan_shots(Avatar.from_run(run), AnimateConfig(run=run, out=data / "out", **options))


def test_NA22_circle_as_published():
    path = CameraPath(radius=2.0, h=0.5, at=(1.0, 1.0, 1.0), t0=0.3, r=-1.0)
    matrix = path.camera_to_world(90)
    angle = -math.pi / 2 + 0.3
    expected = torch.tensor([2 * math.cos(angle) + 1, 1.5, 2 * math.sin(angle) + 1])
    torch.testing.assert_close(matrix[:3, 3], expected)
    forward = torch.ones(3) - expected
    torch.testing.assert_close(matrix[:3, 2], forward / forward.norm())
    assert matrix[1, 1] < 0  # y of the picture points to the ground
    torch.testing.assert_close(matrix[:3, :3] @ matrix[:3, :3].T, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.det(matrix[:3, :3]) > 0
    turned = CameraPath(radius=2.0, axis="z", h=0.5).position(0)
    torch.testing.assert_close(turned, torch.tensor([2.0, 0.0, 0.5]))


def test_NA22_zooming_paths_come_nearer_and_return():
    line = CameraPath("zoomin_line", radius=3, nearest=1, approach=0.1)
    distances = [float(line.position(t).norm()) for t in (0, 10, 20, 30, 40)]
    assert distances == pytest.approx([3, 2, 1, 2, 3], abs=1e-5)
    circle = CameraPath("zoomin_circle", radius=3, nearest=1, approach=0.1).position(90)
    assert float(circle.norm()) == pytest.approx(2, abs=1e-5) and abs(float(circle[0])) < 1e-5


def test_NA22_path_arguments_in_both_spellings():
    expected = {"radius": 3.0, "axis": "z", "offset": (0.0, 1.0, 0.0)}
    assert parse_path_arguments("radius: 3, axis: z, offset: (0,1,0)") == expected
    assert parse_path_arguments("{'radius': 3.0, 'axis': 'z', 'offset': (0,1,0)}") == expected
    assert parse_path_arguments("") == {}
    for text, words in (
        ("size: 3", "expected `name: value`"),
        ("radius: far", "radius: far"),
        ("axis: w", "x, y or z"),
    ):
        with pytest.raises(UserError, match=words):
            parse_path_arguments(text)
    with pytest.raises(UserError, match="no horizon"):
        look_at(torch.tensor([0.0, 3.0, 0.0]), torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]))


def test_NA22_render_circle_writes_every_type_poses_and_a_video(actor, tmp_path):
    run, _ = actor
    types = "color,depth,normal,voxel,jcolors,skel".split(",")
    command(
        f"animate neural_actor --run {run} --out {tmp_path} --resolution 24 20 --num-frames 2 --angular-speed 30 "
        f"--output-types {' '.join(types)} --save-fps 12".split()
    )
    for name in types:
        files = sorted((tmp_path / name).glob("*.png"))
        assert [file.name for file in files] == [f"{index:06d}.png" for index in range(6)]
        assert read_image(files[0]).shape == (3, 24, 20)
        middle = read_image(files[0])[:, 12, 10]
        assert not torch.allclose(middle, read_image(files[0])[:, 0, 0], atol=1e-2), name
    poses = [np.loadtxt(file) for file in sorted((tmp_path / "pose").glob("*.txt"))]
    assert len(poses) == 6 and poses[0].shape == (4, 4)
    assert np.arctan2(poses[1][2, 3], poses[1][0, 3]) - np.arctan2(poses[0][2, 3], poses[0][0, 3]) == pytest.approx(
        math.pi / 6, abs=1e-2
    )
    (video,) = tmp_path.glob("full_*.mp4")
    assert count_frames(video) == 6 and probe(video).size == (24, 20 * 6)
    assert float(probe(video).rate) == pytest.approx(12)


def test_NA22_given_poses_meet_their_own_picture(actor, tmp_path):
    path = CameraPath(radius=2.5, at=(0.0, 0.8, 0.0))
    matrices = [path.camera_to_world(40 * index) for index in range(3)]
    lines = "\n".join(" ".join(str(value) for value in matrix.flatten().tolist()) for matrix in matrices)
    (tmp_path / "poses.txt").write_text(lines)
    planned = shots(actor, camera_poses=tmp_path / "poses.txt")
    assert len(planned) == 3
    for shot, matrix in zip(planned, matrices):
        torch.testing.assert_close(shot.viewpoint.camera.camera_to_world, matrix)
    folder, inverse = tmp_path / "pose", tmp_path / "extrinsic"
    for index, matrix in enumerate(matrices):
        for place, content in ((folder, matrix), (inverse, torch.linalg.inv(matrix))):
            place.mkdir(exist_ok=True)
            np.savetxt(place / f"{index:04d}.txt", content.numpy())
    for place in (folder, inverse):
        for shot, matrix in zip(shots(actor, camera_poses=place), matrices):
            torch.testing.assert_close(shot.viewpoint.camera.camera_to_world, matrix, atol=1e-5, rtol=0)
    still = shots(actor, camera_poses=folder, start_end=(1, 2))
    assert len(still) == 3 and all(shot.pose.joints.equal(still[0].pose.joints) for shot in still)


def test_NA22_given_intrinsics_are_used(actor, tmp_path):
    (tmp_path / "k.txt").write_text("50 20 10 0")
    planned = shots(actor, camera_intrinsics=tmp_path / "k.txt")
    expected = torch.tensor([[50.0, 0, 20], [0, 50, 10], [0, 0, 1]])
    assert all(shot.viewpoint.camera.intrinsics.equal(expected) for shot in planned)
    assert planned[0].viewpoint.size == (20, 40)
    folder = tmp_path / "intrinsic"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index}.txt").write_text(f"{50 + index} 20 10 0")
    focal = [float(shot.viewpoint.camera.intrinsics[0, 0]) for shot in shots(actor, camera_intrinsics=folder)]
    assert focal == [50, 51, 52]


def test_NA22_studio_views_ranges_and_limits(actor):
    assert len(shots(actor, views="0..2")) == 6
    assert len(shots(actor, views="0..2", maximum_frames=5)) == 5
    first = shots(actor, start_end=(1, 3), subsample=2)
    assert len(first) == 1 and first[0].texture.name == "000001.png"
    with pytest.raises(UserError, match="view 4 is asked for, there are 2 cameras"):
        shots(actor, views="4")
    with pytest.raises(UserError, match="none of the 3"):
        shots(actor, start_end=(3, 9))


def test_NA22_textures_by_position_or_one_for_all(actor, tmp_path):
    write_image(tmp_path / "one.png", torch.zeros(3, 8, 8), synthetic=True)
    assert {shot.texture for shot in shots(actor, textures=tmp_path / "one.png")} == {tmp_path / "one.png"}
    with pytest.raises(UserError, match="1 texture maps for 3 poses"):
        shots(actor, textures=tmp_path)


def test_NA22_chunks_change_nothing(actor):
    run, _ = actor
    avatar = Avatar.from_run(run)
    shot = shots(actor)[0]
    drawn = []
    for chunk in (1, 64):
        settings = avatar.config.render.__class__(fixed_num_samples=31, chunk_size=chunk)
        texture_map = avatar.texture_map(read_image(shot.texture))
        drawn.append(avatar.view(avatar.pose(shot.pose), texture_map, shot.viewpoint, (48, 48), settings).seen.color)
    torch.testing.assert_close(drawn[0], drawn[1], atol=1e-5, rtol=0)


def test_NA22_reshaped_body_stays_in_the_trained_canonical_space(actor):
    run, _ = actor
    avatar = Avatar.from_run(run)
    taller = body(height=1.8)[0].vertices
    shot = shots(actor)[1]
    network = avatar.network
    own, other = avatar.pose(shot.pose), avatar.reshaped(taller).pose(shot.pose)
    faces = torch.arange(len(network.encoder.faces))
    for posed in (own, other):
        centres = posed.pose.to_world(posed.vertices[network.encoder.faces].mean(1))
        canonical = network.locate(posed, centres, faces).canonical
        rest = network.encoder.vertices[network.encoder.faces].mean(1)
        torch.testing.assert_close(canonical, rest, atol=2e-2, rtol=0)
    with pytest.raises(UserError, match="3 vertices does not fit"):
        avatar.reshaped(taller[:3])


def test_NA22_normals_of_depth_as_recorded(parity_dir):
    recorded = load(parity_dir, "render")
    size = int(recorded["H"]), int(recorded["W"])
    local = recorded["ray_dirs"] @ recorded["c2w"][:3, :3]
    ours = pictures.normals_from_depth(recorded["depths"].view(size), local.view(*size, 3))
    torch.testing.assert_close(ours.flatten(0, 1), recorded["normal_map"], atol=1e-4, rtol=0)


def test_NA22_mesh_overlay_with_its_corners_in_order(parity_dir):
    recorded = load(parity_dir, "render")
    network, pose = filled(parity_dir)
    body = network.pose_body(pose)
    from likeness.methods.neural_actor.avatar import View
    from likeness.methods.neural_actor.renderer import Rendered

    origin = recorded["c2w"][:3, 3]
    nothing = Rendered(recorded["colors"], recorded["depths"], recorded["missed"])
    view = View((24, 24), origin, recorded["ray_dirs"], nothing, 1)
    hit = pictures.first_hits(network, body, view)
    torch.testing.assert_close(pictures.mesh_depth(hit), recorded["mesh_depth"], atol=1e-4, rtol=0)
    texture = recorded["tex"].permute(2, 0, 1).float() / 255
    # The recorded overlay gives the corners' texture coordinates to the wrong corners; with its mistake it agrees.
    rotated = hit.barycentric.roll(-1, dims=-1)
    wrong = torch.einsum("nk,nkc->nc", rotated[0], network.encoder.face_uv[hit.triangle[0].clamp(min=0).long()])
    found = hit.triangle[0] >= 0
    agree = (pictures.sample_uv(texture, wrong) - recorded["mesh_color"]).abs().amax(-1)[found] < 0.02
    assert agree.float().mean() > 0.95
    right = pictures.mesh_picture(network, body, view, texture).flatten(1).T
    assert not torch.allclose(right[found], recorded["mesh_color"][found], atol=0.1)


def test_NA22_the_originals_render_line(actor, tmp_path, capsys):
    run, data = actor
    command(
        [
            *f"animate neural_actor {data} --path {run} --render-beam 1 --render-output {tmp_path}".split(),
            *"--render-resolution 16x20 --render-num-frames 2 --render-angular-speed 3 --render-save-fps 24".split(),
            "--render-path-style", "circle", "--render-path-args", "{'radius': 3.0, 'h': 0.0, 'axis': 'y'}",
            "--render-at-vector", "(0,0.8,0)", "--render-up-vector", "(0,-1,0)",
            "--render-output-types", "color", "depth", "--render-combine-output", "--render-maximum-frames", "3",
        ]
    )  # fmt: skip
    assert len(list((tmp_path / "color").iterdir())) == 3
    assert read_image(tmp_path / "depth" / "000002.png").shape == (3, 16, 20)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "pose" / "000000.txt")[:3, 3], [3, 0.8, 0], atol=1e-5)


def test_NA22_views_that_miss_the_actor_are_counted(actor, tmp_path, capsys):
    run, _ = actor
    command(
        f"animate neural_actor --run {run} --out {tmp_path} --resolution 8 8 --maximum-frames 2 "
        "--at-vector 50 0 0 --output-types color".split()
    )
    assert "2 of 2 pictures show nothing of the actor" in capsys.readouterr().out


@pytest.mark.gpu
def test_NA22_a_picture_on_a_gpu_is_that_of_the_cpu(actor):
    run, _ = actor
    shot = shots(actor)[1]
    seen = []
    for device in ("cpu", "cuda"):
        avatar = Avatar.from_run(run, device=device)
        texture_map = avatar.texture_map(read_image(shot.texture))
        seen.append(avatar.view(avatar.pose(shot.pose), texture_map, shot.viewpoint, (32, 32)).seen.color.cpu())
    assert ((seen[0] - seen[1]).abs().amax(-1) < 3e-3).float().mean() > 0.95
