"""The evaluation runner: names of files, resuming, measures from given backbones."""

import json

import numpy as np
import pytest
import torch

from likeness.engine import train
from likeness.errors import UserError
from likeness.media.image import read_image
from likeness.methods.gmpi import evaluate as e
from likeness.methods.gmpi.config import GMPIConfig
from likeness.methods.gmpi.method import GMPIStage


@pytest.fixture(scope="module")
def run(collection, tmp_path_factory):
    config = GMPIConfig(
        resolution=16, z_dim=16, w_dim=16, mapping_layers=2, channel_base=256, channel_max=16, data=collection,
        experiment_dir=tmp_path_factory.mktemp("evaluated"), planes=4, batch_size=4, max_updates=1, visuals_every=0,
    )  # fmt: skip
    return train(GMPIStage, config, method="gmpi", stage="gmpi", argv=[]).folder


class Means(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(image, 4).flatten(1) - 0.3


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    path = tmp_path_factory.mktemp("backbone") / "means.pt"
    torch.jit.script(Means()).save(str(path))
    return path


def test_E04_names_and_resuming(run, tmp_path):
    config = e.EvaluateConfig(run=run, out=tmp_path, n_imgs=3, nplanes=5, task="geometry")
    e.evaluate(config)
    folder = tmp_path / "planes_5_n_3/psi_1.0/geometry"
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.*"))
    assert names == sorted(
        f"{kind}/00000{k}.{suffix}"
        for k in range(3)
        for kind, suffix in (("rgb", "png"), ("angle", "npy"), ("depth", "npy"))
    )
    assert np.load(folder / "depth/000001.npy").shape == (224, 224, 1)
    before = {n: (folder / n).read_bytes() for n in names}
    kept = (folder / "rgb/000000.png").stat().st_mtime_ns
    for name in ("rgb/000001.png", "angle/000001.npy"):
        (folder / name).unlink()
    e.evaluate(config)
    assert {n: (folder / n).read_bytes() for n in names} == before
    assert (folder / "rgb/000000.png").stat().st_mtime_ns == kept
    faces = tmp_path / "faces"
    faces.mkdir()
    for k in range(2):
        depth = np.load(folder / f"depth/00000{k}.npy")[..., 0]
        pitch, yaw = np.load(folder / f"angle/00000{k}.npy")
        np.savez(faces / f"00000{k}.npz", depth=3 * depth + 1, mask=np.ones_like(depth), angle=[pitch, -yaw, 0.3])
    found = e.measure_geometry(folder, faces)
    assert float(found["depth"]) == pytest.approx(0, abs=1e-4)
    assert float(found["angle"]) == pytest.approx(0.03, abs=1e-6)
    assert json.loads((folder / "aggregated.json").read_text()) == found
    with pytest.raises(UserError, match="run the face model"):
        e.measure_geometry(folder, tmp_path / "none")


def test_E01_fid_and_kid_of_a_run(run, backbone, tmp_path):
    e.evaluate(e.EvaluateConfig(run=run, out=tmp_path, n_imgs=20, nplanes=4, backbone=backbone))
    folder = tmp_path / "planes_4_n_20/psi_1.0/fid_kid"
    values = json.loads((folder / "fid_kid.json").read_text())
    assert float(values["frechet_inception_distance"]) > 0
    real = tmp_path / "real_data/FFHQ/FFHQ_real_res_16_n_16"  # fewer pictures than asked for are all taken
    assert len(list(real.glob("*.png"))) == 16
    assert np.load(folder / "fid_kid.npz")["fake"] == 20


def test_E03_identity_from_any_embedding(run, backbone, tmp_path):
    e.evaluate(e.EvaluateConfig(run=run, out=tmp_path, n_imgs=2, nplanes=4, task="consistency", backbone=backbone))
    folder = tmp_path / "planes_4_n_2/psi_1.0/consistency"
    one, two = (Means()(read_image(folder / f"rgb/000001_{k}.png")[None]) for k in range(2))
    expected = torch.nn.functional.cosine_similarity(one, two).item()
    found = json.loads((folder / "all_res.json").read_text())
    assert found["000001"] == pytest.approx(expected, abs=1e-6)
    mean, std = map(float, (folder / "aggregated.txt").read_text().split(","))
    assert mean == pytest.approx(np.mean(list(found.values())))
    assert std >= 0


def test_inversion_recovers_a_sample_of_the_run_with_its_depth(run, tmp_path):
    from likeness.media.image import write_image
    from likeness.methods.gmpi.avatar import Avatar
    from likeness.methods.gmpi.invert import InvertConfig, fit, invert

    avatar = Avatar.from_run(run)
    planes = avatar.planes()
    truth = avatar.mpi(avatar.z(3), planes)
    yaw, pitch, other = torch.tensor([0.2]), torch.tensor([0.1]), torch.tensor([-0.2])
    target = avatar.view(truth, planes, yaw, pitch)
    config = InvertConfig(
        photo=tmp_path / "photo.png", run=run, out=tmp_path / "out", yaw=0.2, pitch=0.1, style_steps=60, tuning_steps=20
    )
    before = {k: v.clone() for k, v in avatar.generator.state_dict().items()}
    found = fit(avatar, target.image, config)
    assert found.psnr > found.psnr_style - 0.5
    assert found.psnr > 25
    mean = avatar.generator.from_styles(
        avatar.generator.mapping(torch.randn(500, 16)).mean(0).repeat(1, 6, 1), avatar.scene.normalised(planes[:, 0])
    )
    novel = avatar.view(truth, planes, other, pitch)
    errors = [(avatar.view(mpi, planes, other, pitch).image - novel.image).square().mean() for mpi in (found.mpi, mean)]
    assert errors[0] < 0.5 * errors[1]  # an unseen view is nearer the truth than the mean face is
    assert all(torch.equal(v, before[k]) for k, v in avatar.generator.state_dict().items())
    write_image(config.photo, target.image[0], synthetic=True)
    invert(e_replace(config, style_steps=2, tuning_steps=1))
    assert {p.name for p in config.out.iterdir()} == {
        "fitted.png", "parallax.html", "mesh.ply", "mesh.glb",
        "video_rgb_horizontal.mp4", "video_depth_horizontal.mp4",
        "video_rgb_vertical.mp4", "video_depth_vertical.mp4",
    }  # fmt: skip


def test_inversion_cuts_out_a_photograph_and_measures_its_pose(run, mediapipe_installed, tmp_path):
    import skimage.data

    from likeness.media.image import from_uint8, write_image
    from likeness.methods.gmpi.avatar import Avatar
    from likeness.methods.gmpi.invert import InvertConfig, prepare

    photo = from_uint8(skimage.data.astronaut())[:, :400]
    write_image(tmp_path / "photo.png", photo, synthetic=False)
    avatar = Avatar.from_run(run)
    config = InvertConfig(photo=tmp_path / "photo.png", run=run, out=tmp_path)
    target, posed = prepare(avatar, e_replace(config, align=True))
    assert target.shape == (1, 3, 16, 16)
    assert max(abs(posed.yaw), abs(posed.pitch)) < 0.3
    assert posed.pitch != 0
    write_image(tmp_path / "photo.png", photo.flip(-1), synthetic=False)
    _, mirrored = prepare(avatar, e_replace(config, align=True))
    assert mirrored.yaw == pytest.approx(-posed.yaw, abs=0.05)
    assert mirrored.pitch == pytest.approx(posed.pitch, abs=0.05)
    with pytest.raises(UserError, match="--align"):
        prepare(avatar, config)


def e_replace(config, **changes):
    from dataclasses import replace

    return replace(config, **changes)
