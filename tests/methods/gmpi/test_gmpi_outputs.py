"""What a run shows: pictures, videos, meshes, pages, weights in the published layout."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from likeness.engine import train
from likeness.errors import UserError
from likeness.media.image import read_image
from likeness.media.video import probe
from likeness.methods.gmpi import animate as a
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.compat import overrides, rewrite
from likeness.methods.gmpi.config import GMPIConfig
from likeness.methods.gmpi.mesh import mesh_of, surface, write_mesh
from likeness.methods.gmpi.method import GMPIStage
from likeness.methods.gmpi.page import layered, write_page
from likeness.methods.gmpi.published import ImportConfig, export_published, import_published


@pytest.fixture(scope="module")
def run(collection, tmp_path_factory):
    config = GMPIConfig(
        resolution=16, z_dim=16, w_dim=16, mapping_layers=2, channel_base=256, channel_max=16, data=collection,
        experiment_dir=tmp_path_factory.mktemp("outputs"), planes=4, batch_size=4, max_updates=1, visuals_every=0,
    )  # fmt: skip
    return train(GMPIStage, config, method="gmpi", stage="gmpi", argv=[]).folder


def test_V01_V02_pictures_layers_and_videos(run, tmp_path):
    config = a.AnimateConfig(run=run, output_dir=tmp_path, nplanes=6, what=("image", "horizontal", "vertical", "page"))
    a.animate(config)
    names = {p.name for p in tmp_path.iterdir()}
    videos = {f"video_{k}_{d}.mp4" for k in ("rgb", "depth") for d in ("horizontal", "vertical")}
    assert names == {"rendered.png", "mpi_alpha.png", "mpi_rgb.png", "mpi_rgba.png", "parallax.html"} | videos
    info = probe(tmp_path / "video_rgb_horizontal.mp4")
    from likeness.media.video import count_frames

    assert count_frames(tmp_path / "video_rgb_horizontal.mp4") == 100
    assert float(info.rate) == 8
    assert read_image(tmp_path / "mpi_rgb.png").shape == (3, 16, 8 * 18 - 2)
    first = (tmp_path / "rendered.png").read_bytes()
    a.animate(replace(config, what=("image",)))
    assert (tmp_path / "rendered.png").read_bytes() == first  # the pose is drawn from the seed
    yaw, _ = a.sweep("horizontal")
    assert yaw[0] == 0.5
    assert yaw[-1] == -0.5


def test_V01_several_seeds_do_not_overwrite_each_other(run, tmp_path):
    a.animate(a.AnimateConfig(run=run, output_dir=tmp_path, seeds=(1, 2), nplanes=4, what=("image",)))
    one, two = ((tmp_path / f"seed_000{k}" / "rendered.png").read_bytes() for k in (1, 2))
    assert one != two


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_V04_chunks_change_nothing(run, chunk):
    avatar = Avatar.from_run(run)
    planes = avatar.planes(11)
    whole, parts = (avatar.mpi(avatar.z(0), planes, chunk=c) for c in (None, chunk))
    assert torch.equal(whole.alpha, parts.alpha)
    assert torch.equal(whole.foreground, parts.foreground)
    assert (parts.alpha[:, :-1] < 1).any()


def test_V03_mesh_of_a_run_as_ply_and_glb(run, tmp_path):
    avatar = Avatar.from_run(run)
    mesh = mesh_of(avatar, 0)
    width = float(avatar.scene.planes(2)[0, 2])
    lower, upper = mesh.bounds
    assert (lower >= [-width / 2, -width / 2, 1.12 - width - 1e-6]).all()
    assert (upper <= [width / 2, width / 2, 1.12 + 1e-6]).all()
    for suffix in ("ply", "glb"):
        write_mesh(tmp_path / f"m.{suffix}", mesh)
        again = trimesh.load(tmp_path / f"m.{suffix}", force="mesh")
        assert len(again.faces) == len(mesh.faces)
        assert again.visual.kind == "vertex"


def test_page_holds_every_layer_and_the_exact_geometry(run, tmp_path):
    avatar = Avatar.from_run(run)
    planes = avatar.planes(5)
    mpi = avatar.mpi(avatar.z(0), planes)
    write_page(tmp_path / "p.html", mpi, planes, avatar.scene, side=64)
    text = (tmp_path / "p.html").read_text()
    scene = json.loads(re.search(r"const scene = (.*);", text)[1])
    layers = json.loads(re.search(r"const layers = (.*);", text)[1])
    assert len(layers) == len(layered(mpi, planes)) == 5
    assert np.allclose(scene["planes"], planes.numpy())
    assert scene["reach"] == pytest.approx(16 / 15)  # corner texels' centres lie on the planes' corners
    assert scene["focal"] == pytest.approx(32 / np.tan(np.radians(6.3)), rel=1e-6)
    assert "http" not in text.replace("http-equiv", "")


def test_I04_export_and_import_round_trip(run, tmp_path):
    export_published(run, tmp_path / "published")
    import_published(ImportConfig(files=(tmp_path / "published",), out=tmp_path / "back"))
    one, two = Avatar.from_run(run), Avatar.from_run(tmp_path / "back")
    for (name, x), y in zip(one.generator.state_dict().items(), two.generator.state_dict().values(), strict=True):
        if not name.endswith("w_avg"):
            assert torch.equal(x, y), name
    assert two.config.planes == 4
    with pytest.raises(UserError, match="ema.pth"):
        import_published(ImportConfig(files=(tmp_path / "published/generator.pth",), out=tmp_path / "other"))


def test_V03_smoothing_modes_follow_the_size():
    alpha = np.zeros((24, 24, 24), np.float32)
    alpha[6:18, 6:18, 6:18] = 1
    low, high = np.zeros(3), np.ones(3)
    automatic, constrained, gaussian = (surface(alpha, low, high, m)[0] for m in ("auto", "constrained", "gaussian"))
    assert np.array_equal(automatic, constrained)
    assert gaussian.shape != constrained.shape


def test_C01_the_launchers_line_and_unknown_keys(capsys):
    line = "--run_dataset FFHQ1024 --nproc_per_node 2 --task-type gmpi --run-type train --master_port 8370".split()
    expected = ["--preset", "FFHQ1024", "--devices", "2", "--batch-size", "8"]
    assert rewrite("train", line) == expected
    assert "master_port: dropped" in capsys.readouterr().out
    assert rewrite("train", [*line, "TRAIN.total_iters", "7"])[-2:] == ["--max-updates", "7"]
    assert rewrite("train", ["--preset", "tiny"]) == ["--preset", "tiny"]
    with pytest.raises(UserError, match="no option that does anything"):
        overrides({"MPI.unheard_of": 1})
    with pytest.raises(UserError, match="starts nothing"):
        rewrite("train", ["--run_dataset", "FFHQ256", "--nproc_per_node", "0"])
    with pytest.raises(UserError, match="choose one of"):
        rewrite("train", ["--run_dataset", "LSUN"])


@pytest.mark.parametrize(
    ("key", "value"),
    [("use_edge_aware_loss", True), ("use_cano_reconstruct_loss", True), ("only_tune", True), ("D_pred_pos", True),
     ("load_dir", "x"), ("G_tune_alpha", True), ("D_train", False)],
)  # fmt: skip
def test_C02_unimplemented_options_are_refused_by_name(key, value):
    with pytest.raises(UserError, match=key):
        overrides({f"TRAIN.{key}": value})
