"""The proof: an actor trained on the synthetic stage against its own mesh, where the truth is known."""

import dataclasses

import pytest
import torch

from likeness.capture.neural_actor import NeuralActorCapture, capture_neural_actor
from likeness.formats.actor import read_body, read_cameras, read_frames, read_transform
from likeness.media.image import read_image
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.config import PRESETS
from likeness.methods.neural_actor.data import ActorFolder
from likeness.methods.neural_actor.method import RendererStage
from likeness.methods.neural_actor.proof import HELD_OUT, SEED, ProveConfig, compare, mean_scores, prove
from likeness.methods.neural_actor.shipped import pack, unpack
from likeness.methods.neural_actor.yardstick import body_box, box_psnr, mesh_picture, surface_scores


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """One frame of a motion that the shipped actor was not trained on, from the proof's own cameras."""
    out = tmp_path_factory.mktemp("filmed")
    capture_neural_actor(
        NeuralActorCapture(out=out, preset="tiny", seed=SEED, frames=1, test_frames=2, cameras=HELD_OUT + 1)
    )
    return out


def test_proof_the_mesh_with_its_true_texture_is_drawn_where_the_actor_stands(filmed):
    folder = filmed / "testing"
    body, cameras, frame = read_body(folder), read_cameras(folder), read_frames(folder)[0]
    pose, texture = read_transform(frame.transform), read_image(frame.texture)
    for camera, path in zip(cameras, frame.pictures):
        truth = read_image(path)
        drawn = mesh_picture(body, pose, texture, camera, (128, 128), (128, 128))
        shifted = torch.roll(drawn, 1, -1)
        assert box_psnr(drawn, truth) > 22 > box_psnr(torch.ones_like(truth), truth) + 8
        assert box_psnr(drawn, truth) > box_psnr(shifted, truth) + 1


def test_proof_the_box_holds_the_body_and_little_else():
    picture = torch.ones(3, 40, 30)
    picture[:, 10:20, 5:9] = 0.3
    rows, columns = body_box(picture)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (8, 22, 3, 11)


def test_proof_a_packed_actor_is_small_and_renders_the_same(tmp_path):
    avatar = Avatar.from_run(None)
    pack(avatar.network, tmp_path / "actor.safetensors")
    assert (tmp_path / "actor.safetensors").stat().st_size <= 4_000_000
    state = unpack(tmp_path / "actor.safetensors")
    for key, value in avatar.network.state_dict().items():
        assert state[key].dtype == value.dtype
        torch.testing.assert_close(state[key], value, atol=1e-3, rtol=0)


def test_proof_the_shipped_actor_beats_its_mesh_from_a_new_camera_in_a_new_pose(filmed):
    """Quick guard of the shipped weights; `test_proof_NA21_...` trains them anew."""
    stage = RendererStage(dataclasses.replace(PRESETS["tiny"], data=filmed / "training"))
    stage.renderer.load_state_dict(Avatar.from_run(None).network.state_dict())
    stage.renderer.eval()
    testing = ActorFolder(filmed / "testing", (128, 128), (1.0, 1.0, 1.0))
    row = mean_scores(list(compare(stage, testing, [0, 1], [HELD_OUT])))
    assert row.ours >= row.mesh + 1 and row.ours >= row.white + 8


def test_proof_NA24_the_shipped_actors_surface_lies_on_the_true_one(filmed):
    row, _ = surface_scores(Avatar.from_run(None), filmed / "testing", 1, resolution=96)
    assert row.closed and row.mean < 0.02 and row.near > 0.9, row


def test_proof_NA24_a_squat_in_which_limbs_touch_has_a_closed_surface_too(filmed):
    row, mesh = surface_scores(Avatar.from_run(None), filmed / "testing", 0, resolution=96)
    assert row.closed and row.mean < 0.008 and row.near > 0.93, row
    assert max(len(part.faces) for part in mesh.split()) > 0.97 * len(mesh.faces)


@pytest.fixture(scope="module")
def proven(tmp_path_factory):
    return prove(ProveConfig(out=tmp_path_factory.mktemp("proof")))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["new_camera", "new_pose"])
def test_proof_NA21_a_trained_actor_beats_its_mesh(proven, what):
    row = getattr(proven, what)
    assert row.ours >= row.mesh + 1.0, row
    assert row.ours >= row.white + 8.0, row


@pytest.mark.slow
def test_proof_NA23_another_persons_motion_is_the_actors(proven):
    assert proven.transfer.ours >= proven.transfer.white + 8.0, proven.transfer


@pytest.mark.slow
def test_proof_NA24_the_surface_lies_within_two_centimetres_of_the_true_one(proven):
    surface = proven.surface
    assert surface.closed and surface.mean < 0.02 and surface.worst_of_95 < 0.02, surface
    bent = proven.surface_bent
    assert bent.closed and bent.mean < 0.01 and bent.worst_of_95 < 0.02, bent
