from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from likeness.capture.bilayer import BilayerCapture, capture_bilayer
from likeness.capture.depthnet import DepthnetCapture, capture_faces
from likeness.capture.gmpi import GmpiCapture, capture_gmpi, eg3d_label, reconstruction_pose
from likeness.capture.multiface import MultifaceCapture, _looked_up, capture_multiface, loss_weights
from likeness.capture.neural_actor import NeuralActorCapture, capture_neural_actor
from likeness.capture.stage import orbit_camera
from likeness.errors import UserError
from likeness.formats import actor, heads, multiface, portraits
from likeness.formats.depthnet3dfaw import read_landmarks, read_split_list
from likeness.media.image import read_image
from likeness.media.synthetic import is_marked_synthetic
from likeness.media.video import count_frames
from likeness.render.rasterise import rasterise


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_depthnet_is_a_tree_with_pictures_independent_of_workers_and_taken_up_again(tmp_path):
    config = DepthnetCapture(out=tmp_path / "one", train=3, valid=1, test=3, people=1, size=64, contact_sheet=True)
    capture_faces(config)
    capture_faces(replace(config, out=tmp_path / "two", workers=2))
    first = files_of(tmp_path / "one")
    assert first == files_of(tmp_path / "two")
    (tmp_path / "one" / "train_img" / "train_000001.jpg").unlink()
    capture_faces(config)
    assert files_of(tmp_path / "one") == first
    rows = read_split_list(tmp_path / "one" / "list_valid_test.txt")
    assert [row.orientation for row in rows] == [None, "left", "center", "right"]
    image = read_image(tmp_path / "one" / "valid_img" / f"{rows[3].id}.jpg")
    points = read_landmarks(tmp_path / "one" / "valid_lm" / f"{rows[3].id}_lm.csv")
    height, width = image.shape[1:]
    assert (points[:, :2] > 0).all()
    assert (points[:, :2] < [width, height]).all()
    assert points[30, 0] > points[[36, 45], 0].mean()
    assert 0.34 < np.ptp(points[:, :2], axis=0).max() / min(width, height) < 0.56
    assert is_marked_synthetic(tmp_path / "one" / "train_img" / "train_000000.jpg")


def test_another_data_set_is_not_overwritten(tmp_path):
    config = DepthnetCapture(out=tmp_path, train=2, valid=0, test=0, pictures=False)
    capture_faces(config)
    with pytest.raises(UserError, match="seed differ"):
        capture_faces(replace(config, seed=1))


def test_bilayers_pictures_and_videos_are_independent_of_workers(tmp_path):
    config = BilayerCapture(out=tmp_path / "one", people=1, videos=1, sequences=2, frames=3, size=128)
    capture_bilayer(config)
    capture_bilayer(replace(config, out=tmp_path / "two", workers=2))
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert any(name.endswith(".mp4") for name in files_of(tmp_path / "one"))


def test_bilayer_is_read_by_its_reader_and_crops_follow_the_extractions_rule(tmp_path):
    config = BilayerCapture(out=tmp_path, people=1, videos=1, sequences=2, frames=3, size=64)
    capture_bilayer(config)
    for phase in ("train", "test"):
        heads.require_tree(tmp_path, phase)
        (video,) = heads.list_videos(tmp_path, phase)
        names = heads.list_frames(tmp_path, phase, video)
        assert len(names) == 3
    frame = heads.read_frame(tmp_path, "test", names[0])
    assert frame.image.shape == (3, 64, 64)
    span = np.ptp(frame.keypoints, axis=0)
    # The square's side is twice the larger side of the box, cut to whole pixels.
    assert 31 < span.max() <= 33
    assert frame.mask[0, 20:50, 24:40].mean() > 0.95
    assert frame.mask[0, 0, 0] < 0.5
    (clip,) = sorted((tmp_path / "videos").rglob("0001.mp4"))
    assert count_frames(clip) == 3
    assert is_marked_synthetic(clip)


@pytest.mark.parametrize("layout", ["ffhq", "afhqcat", "metfaces"])
def test_gmpi_collections_are_read_by_their_reader(tmp_path, layout):
    capture_gmpi(GmpiCapture(out=tmp_path, layout=layout, pictures=2, people=1, resolution=64))
    images, poses = {
        "ffhq": ("ffhq64x64.zip", "ffhq64_deep3dface_coeffs"),
        "afhqcat": ("afhq_v2_train_cat_64", None),
        "metfaces": ("metfaces64x64_xflip", "metfaces_xflip_deep3dface_coeffs"),
    }[layout]
    found = portraits.open_portraits(layout, tmp_path / images, poses and tmp_path / poses)
    assert len(found) == (2 if layout == "ffhq" else 4)
    assert found.image(1, 64).shape == (64, 64, 3)
    if layout == "metfaces":
        plain, mirrored = (found.image(k) for k in (0, 1))
        np.testing.assert_array_equal(plain[:, ::-1], mirrored)


@pytest.mark.parametrize(("yaw", "pitch"), [(0.3, 0.0), (0.0, 0.1)])
def test_poses_of_both_conventions_describe_one_camera(yaw, pitch):
    # Seen from the subject's left the head appears turned to the picture's left, from above turned down.
    camera = orbit_camera(np.zeros(3), (64, 64), yaw, pitch, 1.0, 0.25)
    rotation = np.diag([1.0, -1.0, -1.0]) @ camera.rotation.numpy()
    angle, trans = reconstruction_pose(rotation, np.zeros(2))
    np.testing.assert_allclose(angle, [pitch, -yaw, 0.0], atol=1e-9)
    np.testing.assert_array_equal(trans, 0)
    pose = eg3d_label(rotation)[:16].reshape(4, 4)
    np.testing.assert_allclose(pose[:3, 3], 2.7 * camera.position.numpy(), atol=1e-12)
    np.testing.assert_allclose(pose[:3, :3], camera.rotation.numpy().T, atol=1e-12)


def test_multiface_looks_up_more_places_than_opencv_takes_at_once():
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    where = np.tile(np.array([[1, 2], [3, 0], [-5, 1]], np.float32), (20000, 1))
    found = _looked_up(picture, where, cv2.INTER_NEAREST)
    assert found.shape == (60000, 1)
    assert found[:3, 0].tolist() == found[-3:, 0].tolist() == [9, 3, 0]


def test_multiface_loss_weights_mark_eyes_and_mouth():
    mask = loss_weights(256)
    assert mask.shape == (256, 256, 3)
    assert (mask.min(), mask.max()) == (64, 254)
    assert 0.002 < (mask[..., 0] > 200).mean() < 0.05


def test_multiface_meshes_project_onto_its_photographs(tmp_path):
    config = MultifaceCapture(out=tmp_path, cameras=3, segments=1, frames=2, height=96, texture=64)
    capture_multiface(config)
    (folder,) = tmp_path.glob("m--*--GHS")
    entity = multiface.open_entity(folder)
    records = multiface.read_krt(entity.krt)
    assert len(records) == 3
    pairs = multiface.read_frame_list(entity.frame_list)
    segment, frame = pairs[1]
    verts = multiface.read_mesh(entity.mesh(segment, frame))
    topology = multiface.read_topology(entity.topology(segment, frame))
    assert topology.vert_ids.max() == len(verts) - 1
    transform = multiface.read_transform(entity.transform(segment, frame))
    world = verts @ transform[:, :3].T + transform[:, 3]
    photo = multiface.read_picture(entity.photo(segment, list(records)[1], frame))
    pixels, depth = records[list(records)[1]].camera(photo.shape[:2]).project(torch.from_numpy(world).double())
    assert 900 < float(depth.mean()) < 1300
    inside = (pixels > 0).all(1) & (pixels < torch.tensor([photo.shape[1], photo.shape[0]])).all(1)
    assert inside.float().mean() > 0.9
    # Where the mesh is drawn, less a pixel at its outline, the photograph differs from the even wall by eight times the
    # sensor's noise. It need not be brighter, for skin can be dark.
    places = torch.column_stack([pixels, depth]).float()[None]
    drawn = rasterise(places, torch.from_numpy(topology.vert_ids.astype(np.int64)), photo.shape[:2]).mask.float()
    well_inside = (torch.nn.functional.max_pool2d(1 - drawn, 3, 1, 1) == 0)[0, 0].numpy()
    shown = np.abs(photo - photo[:5, :5].mean((0, 1))).max(2) > 12
    assert shown[well_inside].mean() > 0.99
    assert np.roll(shown, 10, axis=1)[well_inside].mean() < 0.9
    statistics = multiface.read_statistics(entity)
    assert statistics.vert_mean.shape == verts.shape
    assert statistics.tex_mean.shape == (64, 64, 3)


def test_neural_actor_bodies_posed_from_the_files_cover_the_pictures(tmp_path):
    config = NeuralActorCapture(out=tmp_path, frames=2, test_frames=1, cameras=2, size=192, texture=64, form="both")
    capture_neural_actor(config)
    folder = tmp_path / "training"
    body, (camera, _), frames = actor.read_body(folder), actor.read_cameras(folder), actor.read_frames(folder)
    pose = actor.read_transform(frames[1].transform)
    rest = torch.cat([body.vertices, torch.ones(len(body.vertices), 1)], 1)
    world = pose.to_world(torch.einsum("vj,jab,vb->va", body.weights, pose.bones, rest)[:, :3])
    local = (world - camera.camera_to_world[:3, 3]) @ camera.camera_to_world[:3, :3]
    pixels = local[:, :2] / local[:, 2:] @ camera.intrinsics[:2, :2].T + camera.intrinsics[:2, 2]
    # The format's column i lies at x = i.
    columns, rows = (pixels + 0.5).long().unbind(1)
    picture = read_image(frames[1].pictures[0])
    # At 192 pixels a finger is wider than the distance between a pixel's samples.
    drawn = picture.amin(0) < 0.999
    assert drawn[rows, columns].float().mean() > 0.98
    assert drawn.float().mean() < 0.2
    assert (picture[:, :3, :3] == 1).all()
    assert len(frames) == 2
    assert count_frames(tmp_path / "testing" / "rgb_video" / "001.avi") == 1
    normals = read_image(frames[0].normal)
    assert (normals[:, 0, 0] == 1).all()
