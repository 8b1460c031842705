"""Rows F1-F4: the loader against the recorded items of a small capture."""

import shutil

import numpy as np
import pytest

from likeness.formats import multiface as mf
from likeness.methods.multiface.data import Normaliser, ViewSet, entity_topology, select_samples

CAMERAS = ("400002", "400013", "400041")
HELD_OUT = ("EXP_ROM", "E061")


@pytest.fixture(scope="session")
def entity(mf_dir, tmp_path_factory):
    """A copy, since the loader keeps its index beside the data."""
    root = tmp_path_factory.mktemp("capture") / "m--20000101--0000--0000001--GHS"
    shutil.copytree(next((mf_dir / "capture").iterdir()), root)
    return mf.open_entity(root)


@pytest.fixture
def items(load_npz):
    return load_npz("dataset_items")


def selection(entity, which, cameras=CAMERAS):
    frames = mf.read_frame_list(entity.frame_list)
    return select_samples(
        entity,
        frames,
        cameras,
        only=HELD_OUT if which == "test" else (),
        exclude=HELD_OUT if which == "train" else (),
    )


def view_set(entity, which):
    records = mf.read_krt(entity.krt)
    rows = {name: row for row, name in enumerate(records)}
    samples = selection(entity, which)
    return ViewSet(entity, samples, records, rows, mf.read_statistics(entity), 512, photo_size=(96, 72))


def test_F1_files_are_read(entity, items):
    records = mf.read_krt(entity.krt)
    statistics = mf.read_statistics(entity)
    assert np.sqrt(statistics.tex_var) == pytest.approx(float(items["texstd"]), rel=1e-6)
    assert np.sqrt(statistics.vert_var) == pytest.approx(float(items["vertstd"]), rel=1e-6)
    for camera in CAMERAS:
        position = records[camera].camera((96, 72)).position.numpy()
        np.testing.assert_allclose(position, items[f"campos.{camera}"], rtol=1e-6, atol=1e-9)
    samples = selection(entity, "train")
    topology = entity_topology(entity, samples, 168)
    np.testing.assert_allclose(topology.uvs, items["uvs"], rtol=1e-6)
    np.testing.assert_array_equal(topology.vert_ids, items["vert_ids"])
    np.testing.assert_array_equal(topology.uv_ids, items["uv_ids"])
    for index, view in enumerate(samples):
        transform = mf.read_transform(entity.transform(view.segment, view.frame))
        np.testing.assert_allclose(transform, items[f"train.{index}.transf"], rtol=1e-6)


@pytest.mark.parametrize("which", ["train", "test", "everything"])
def test_F2_sample_selection(entity, items, which):
    if which != "everything":
        found = selection(entity, which)
        assert len(found) == len(items[f"{which}.index"])
        for index, view in enumerate(found):
            camera, segment, frame = items[f"{which}.{index}.labels"]
            assert view == (segment, frame, camera)
    records = mf.read_krt(entity.krt)
    found = selection(entity, which, tuple(records))
    expected = [str(text) for text in items[f"all_cameras.{which}.index"]]
    assert [" ".join(view) for view in found] == [text.replace("/", " ") for text in expected]


def test_F2_the_index_is_cached_and_notices_changes(entity):
    before = selection(entity, "train")
    assert (entity.root / ".likeness_index.json").is_file()
    assert selection(entity, "train") == before
    picture = entity.texture(before[0].segment, before[0].camera, before[0].frame)
    aside = entity.root / "aside.png"
    picture.rename(aside)
    try:
        assert selection(entity, "train") == before[1:]
    finally:
        aside.rename(picture)
    assert selection(entity, "train") == before


@pytest.mark.parametrize("which", ["train", "test"])
def test_F3_textures_masks_and_verts(entity, items, which):
    views = view_set(entity, which)
    batch = views.batch(range(len(views)))
    for index in range(len(views)):
        for name, field in (("avg_tex", batch.average), ("tex", batch.texture), ("mask", batch.mask)):
            found = field[index].double()
            key = f"{which}.{index}.{name}"
            np.testing.assert_allclose(found.mean((1, 2)), items[f"{key}.mean"], atol=1e-5)
            np.testing.assert_allclose(found.square().mean((1, 2)).sqrt(), items[f"{key}.rms"], atol=1e-5)
            if f"{key}.sub" in items:
                np.testing.assert_allclose(found[:, 5::32, 2::32], items[f"{key}.sub"], atol=2e-5)
        np.testing.assert_allclose(batch.verts[index, :20], items[f"{which}.{index}.verts.head"], rtol=1e-5, atol=1e-5)
        photo = batch.photo[index].double()
        np.testing.assert_allclose(photo.mean((1, 2)), items[f"{which}.{index}.photo.mean"], atol=1e-5)
    np.testing.assert_allclose(batch.photo[0].permute(1, 2, 0), items[f"{which}.0.photo"].astype(float), atol=1e-3)


@pytest.mark.parametrize("which", ["train", "test"])
def test_F4_projection_and_view(entity, items, which):
    views = view_set(entity, which)
    batch = views.batch(range(len(views)))
    for index in range(len(views)):
        scale = np.abs(items[f"{which}.{index}.M"]).max()
        np.testing.assert_allclose(
            batch.projection[index], items[f"{which}.{index}.M"], rtol=1e-5, atol=1e-5 * scale * 1e-2
        )
        np.testing.assert_allclose(batch.view[index], items[f"{which}.{index}.view"], rtol=1e-5, atol=1e-6)
        assert int(batch.row[index]) == int(items[f"{which}.{index}.cam"])


def test_no_photo_is_read_when_none_is_asked_for(entity):
    samples = selection(entity, "train")
    views = ViewSet(entity, samples, mf.read_krt(entity.krt), {}, mf.read_statistics(entity), 256)
    batch = views.batch([0])
    assert batch.photo is None
    assert batch.row.tolist() == [-1]


def test_denormalising_undoes_normalising(entity):
    views = view_set(entity, "train")
    batch = views.batch([0])
    normaliser = Normaliser.of(mf.read_statistics(entity), 512)
    view = views.samples[0]
    np.testing.assert_allclose(
        normaliser.verts(batch.verts[0]), mf.read_mesh(entity.mesh(view.segment, view.frame)), atol=1e-4
    )
