"""Rows W1, V1, V2, V3: import, pictures, videos with sound, meshes, and the look at a data set."""

import dataclasses
import json
import shutil
import wave

import av
import numpy as np
import pytest
import torch
import trimesh

from likeness.engine import train
from likeness.errors import UserError
from likeness.formats import multiface as mf
from likeness.methods.multiface.animate import AnimateConfig, animate
from likeness.methods.multiface.check import check
from likeness.methods.multiface.export import ExportConfig, export
from likeness.methods.multiface.method import AvatarStage
from likeness.methods.multiface.model import MultifaceAvatar
from likeness.methods.multiface.networks import Avatar
from likeness.methods.multiface.pictures import warped_lines
from likeness.methods.multiface.published import (
    export_original,
    import_weights,
    load_weights_into,
    parse_published,
    read_published,
)


def frames_of(path):
    with av.open(str(path)) as container:
        return [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("architecture", ["base", "res", "warp", "non", "bilinear"])
@pytest.mark.parametrize("layout", ["diagonal", "matrix"])
def test_W1_architecture_and_sizes_are_read_from_the_keys(architecture, layout, mf_keys):
    shapes = mf_keys[architecture]
    state = {key: torch.empty(shape, device="meta") for key, (shape, _) in shapes.items()}
    cameras = 38
    if layout == "matrix":
        matrix = mf_keys["base_with_matrix_colour_correction"]
        state = {key: value for key, value in state.items() if ".cc." not in key}
        state |= {key: torch.empty(shape, device="meta") for key, (shape, _) in matrix.items() if ".cc." in key}
        cameras = 40
    found = parse_published(state)
    assert (found.architecture, found.layout, found.cameras) == (architecture, layout, cameras)
    assert (found.tex_size, found.latent, found.vertices) == (1024, 256, 7306)
    plain = parse_published({key.removeprefix("module."): value for key, value in state.items()})
    assert plain.architecture == architecture


@pytest.fixture(scope="session")
def mf_keys(parity_dir):
    return json.loads((parity_dir / "multiface" / "keys.json").read_text())


def test_W1_a_file_goes_round_through_import(small_run, small_capture, tmp_path):
    export_original(small_run, tmp_path / "best_model.pth")
    state = torch.load(tmp_path / "best_model.pth", weights_only=True)
    assert all(key.startswith("module.") for key in state)
    import_weights(tmp_path / "best_model.pth", tmp_path / "runs" / "back", small_capture.root)
    first, second = MultifaceAvatar.from_run(small_run), MultifaceAvatar.from_run(tmp_path / "runs" / "back")
    for key, value in first.avatar.state_dict().items():
        assert torch.equal(value, second.avatar.state_dict()[key])
    assert second.template.trained == first.template.trained


def test_W1_matrix_colours_go_round_through_import(small_config, small_capture, tmp_path):
    config = dataclasses.replace(small_config, experiment_dir=tmp_path / "m", colour_layout="matrix", max_updates=3)
    run = train(AvatarStage, config, method="multiface", stage="avatar", argv=["likeness"]).folder
    export_original(run, tmp_path / "mini.pth")
    state = torch.load(tmp_path / "mini.pth", weights_only=True)
    assert state["module.cc.weights"].shape == (3, 3, 3, 1, 1)
    assert all(value.is_contiguous() for value in state.values())
    import_weights(tmp_path / "mini.pth", tmp_path / "runs" / "back", small_capture.root)
    first, second = MultifaceAvatar.from_run(run), MultifaceAvatar.from_run(tmp_path / "runs" / "back")
    z, view, row = torch.randn(1, 16), torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([2])
    assert torch.equal(first.decode(z, view, row)[0], second.decode(z, view, row)[0])


def test_W1_a_file_of_other_cameras_is_explained(small_run, small_capture, tmp_path):
    export_original(small_run, tmp_path / "best_model.pth")
    mf.write_camera_split(tmp_path / "split.json", {"train": ["400002"], "test": ["400002"], "visual": []})
    with pytest.raises(UserError, match="names 1 cameras to train with, the weights have 3 colour rows"):
        import_weights(tmp_path / "best_model.pth", tmp_path / "r", small_capture.root, tmp_path / "split.json")


def test_W1_colour_rows_of_other_cameras_start_anew(small_run, small_config, tmp_path, capsys):
    mf.write_camera_split(tmp_path / "split.json", {"train": ["400013", "400041"], "test": ["400002"], "visual": []})
    config = dataclasses.replace(small_config, experiment_dir=tmp_path, camera_split=tmp_path / "split.json")
    stage = AvatarStage(config)
    load_weights_into(small_run, stage.avatar, stage.colour, stage.template.trained)
    printed = capsys.readouterr().out
    assert "belong to the cameras 400002, 400013, 400041, the data now gives 400013, 400041" in printed
    assert torch.equal(stage.colour.weight, torch.ones_like(stage.colour.weight))
    code = MultifaceAvatar.from_run(small_run).avatar.state_dict()["enc.fc.weight"]
    assert torch.equal(stage.avatar.state_dict()["enc.fc.weight"], code)


def test_W1_foreign_and_hostile_files_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="no deep appearance model"):
        read_published(tmp_path / "other.pth")
    torch.save({"a": print}, tmp_path / "code.pth")
    with pytest.raises(UserError):
        read_published(tmp_path / "code.pth")


def test_V1_sequence_views_and_sizes(small_run, tmp_path):
    for view, size in (("rendered", (48, 36)), ("wireframe", (48, 36)), ("texture", (256, 256)), ("error", (48, 108))):
        out = animate(AnimateConfig(run=small_run, out=tmp_path / f"{view}.mp4", view=view, scale=1.0))
        frames = frames_of(out)
        assert len(frames) == 4
        assert frames[0][1].shape[:2] == size
        assert frames[0][1].max() > 60, view
        assert frames[1][0] == pytest.approx(0.1, abs=2e-3)


def test_V1_interpolation_transfer_orbit_and_camera_path(small_run, small_capture, tmp_path):
    between = ("E001_Neutral/000100", "E061_Lips_Puffed/000103")
    walked = animate(
        AnimateConfig(run=small_run, out=tmp_path / "w.mp4", between=between, steps=5, scale=1.0, orbit=20)
    )
    assert len(frames_of(walked)) == 5
    path = tmp_path / "path.krt"
    records = mf.read_krt(small_capture.krt)
    mf.write_krt(path, {str(index): record for index, record in enumerate(records.values())})
    moved = frames_of(
        animate(AnimateConfig(run=small_run, out=tmp_path / "p.mp4", camera_path=path, scale=1.0, max_frames=3))
    )
    assert np.abs(moved[0][1].astype(int) - moved[2][1]).max() > 30
    other = tmp_path / "m--1--1--9--GHS"
    shutil.copytree(small_capture.root, other)
    transferred = animate(AnimateConfig(run=small_run, out=tmp_path / "t.mp4", source=other, max_frames=2))
    assert len(frames_of(transferred)) == 2


def test_V1_a_still_orbit_equals_the_camera(small_run, tmp_path):
    model = MultifaceAvatar.from_run(small_run)
    record = next(iter(model.template.records.values()))
    from likeness.methods.multiface.animate import turned

    np.testing.assert_allclose(turned(record, np.eye(3, 4), 0.0), np.eye(4), atol=1e-12)
    half = turned(record, np.eye(3, 4), np.pi)
    np.testing.assert_allclose(half @ half, np.eye(4), atol=1e-9)


def test_V1_warp_grid_picture():
    torch.manual_seed(0)
    avatar = Avatar("warp", 256, 8, 5)
    with torch.no_grad():
        grid = avatar.warp(torch.randn(1, 8))[0]
    picture = warped_lines(grid)
    assert picture.shape == (3, 256, 256)
    assert 0.05 < float((picture < 0.5).float().mean()) < 0.9


def test_V3_video_carries_the_wav_aligned_by_frame_numbers(small_run, small_capture, small_config, tmp_path):
    segment = "SEN_one"
    path = small_capture.audio(segment)
    path.parent.mkdir(exist_ok=True)
    rate = 16000
    samples = np.zeros(rate, np.int16)
    samples[int(0.1 * rate) : int(0.12 * rate)] = 20000  # a click at the second listed frame, 3 / 30 s after the first
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    try:
        out = animate(AnimateConfig(run=small_run, out=tmp_path / "s.mp4", segment=segment, scale=1.0))
    finally:
        path.unlink()
    with av.open(str(out)) as container:
        assert container.streams.audio
        decoded = [(float(f.time), f.to_ndarray(), f.sample_rate) for f in container.decode(audio=0)]
    times = np.concatenate([t + np.arange(a.shape[1]) / r for t, a, r in decoded])
    loud = np.concatenate([np.abs(a).mean(0) for _, a, _ in decoded])
    assert times[loud > 0.5 * loud.max()].mean() == pytest.approx(0.11, abs=0.02)
    assert [time for time, _ in frames_of(out)] == pytest.approx([0.0, 0.1, 0.2], abs=2e-3)


def test_export_glb_obj_ply(small_run, small_capture, tmp_path):
    model = MultifaceAvatar.from_run(small_run)
    for kind in ("glb", "obj", "ply"):
        files = export(ExportConfig(run=small_run, out=tmp_path / kind, to=kind, segment="E061_Lips_Puffed"))
        assert len(files) == 2
        mesh = trimesh.load(files[0], force="mesh")
        assert len(mesh.faces) == len(model.template.topology.vert_ids)
        extent = float(np.ptp(mesh.vertices, axis=0).max())
        assert extent == pytest.approx(0.22 if kind == "glb" else 220, rel=0.3)
        if kind != "ply":
            assert mesh.visual.uv is not None
            assert mesh.visual.uv.max() <= 1.001
    glb = trimesh.load(tmp_path / "glb" / files[0].with_suffix(".glb").name, force="mesh")
    assert glb.visual.material.baseColorTexture.size == (256, 256)


def test_V2_check_prints_units_and_counts_and_draws_the_mesh(small_capture, tmp_path, capsys):
    numbers = check(small_capture.root, out=tmp_path, every=1)
    printed = capsys.readouterr().out
    assert "3 cameras, 9 listed frames, 27 usable views" in printed
    assert "mm" in printed
    assert numbers["findings"] == 0
    assert numbers["inside"] == 1.0
    assert numbers["distance_mm"] == pytest.approx(1000, abs=60)
    assert mf.read_picture(tmp_path / "overlay.png").shape == (48, 36, 3)


def test_V2_check_names_what_is_wrong(small_capture, tmp_path, capsys):
    root = tmp_path / small_capture.root.name
    shutil.copytree(small_capture.root, root)
    entity = mf.open_entity(root)
    pairs = mf.read_frame_list(entity.frame_list)
    mf.write_frame_list(entity.frame_list, [*pairs, ("E001_Neutral", "009999")])
    (root / "images" / "E001_Neutral" / "400077").mkdir()
    entity.texture("SEN_one", mf.AVERAGE, "000103").unlink()
    entity.texture("SEN_one", "400013", "000100").unlink()
    entity.mesh("E001_Neutral", "000103").write_bytes(b"1234")
    obj = entity.topology("E001_Neutral", "000106")
    lines = obj.read_text().splitlines()
    obj.write_text("\n".join(lines[:-1]) + "\n")
    check(root, out=tmp_path / "o", every=1)
    printed = capsys.readouterr().out
    assert "1 listed frames were never exported" in printed
    assert "1 frames have views but no mean texture" in printed
    assert "1 views of usable frames have no texture" in printed
    assert "cameras 400077 have pictures but no record in KRT" in printed
    assert "4 bytes, expected 1152" in printed
    assert "the topology differs from the first frame's" in printed
