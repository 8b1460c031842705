"""Published weight files, meshes and measures against the recorded ones."""

import numpy as np
import pytest
import torch

from likeness.errors import UserError
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.mesh import surface
from likeness.methods.gmpi.published import ImportConfig, import_published
from likeness.metrics.depth import depth_error
from likeness.metrics.fid import frechet_distance, kernel_distance
from likeness.metrics.pose import angle_error


def test_I03_generator_average_and_config(gmpi_dir, tmp_path, fill):
    files = tuple(gmpi_dir / name for name in ("generator_tiny.pth", "ema_tiny.pth", "config_example.pth"))
    import_published(ImportConfig(files=files, out=tmp_path / "run"))
    avatar = Avatar.from_run(tmp_path / "run")
    assert (avatar.config.resolution, avatar.config.variant, avatar.config.planes) == (16, "depth", 32)
    generator = avatar.generator
    recorded = torch.load(files[0], weights_only=True)
    full = torch.load(files[1], weights_only=True)["shadow_params"]
    for (name, parameter), expected in zip(generator.named_parameters(), full, strict=True):
        assert torch.equal(parameter, expected), name
        assert torch.equal(recorded[name] * 2, expected), name
    for name, buffer in generator.named_buffers():
        assert torch.equal(buffer, recorded[name]), name  # the truncation's centre is not lost


def test_I03_a_variant_that_does_not_match_is_refused(gmpi_dir, tmp_path):
    config = torch.load(gmpi_dir / "config_example.pth", weights_only=True)
    config["config"]["GMPI"]["MODEL"]["STYLEGAN2"]["torgba_cond_on_pos_enc_embed_func"] = "learnable_param"
    torch.save(config, tmp_path / "config.pth")
    files = (gmpi_dir / "generator_tiny.pth", gmpi_dir / "ema_tiny.pth", tmp_path / "config.pth")
    with pytest.raises(UserError):
        import_published(ImportConfig(files=files, out=tmp_path / "run"))


@pytest.mark.parametrize(("mode", "label"), [("auto", "smooth_auto"), ("gaussian", "gaussian")])
def test_V03_mesh_counts_and_box(recorded, mode, label):
    r = recorded("mesh")
    lower, upper = np.array(r.meta["volume_min"][0]), np.array(r.meta["volume_max"][0])
    vertices, faces = surface(r.alpha.numpy(), lower, upper, mode)
    expected = r.meta["results"][label]
    assert (len(vertices), len(faces)) == (expected["vertices"], expected["faces"])
    assert np.allclose(vertices.min(0), expected["min"], atol=1e-6)
    assert np.allclose(vertices.max(0), expected["max"], atol=1e-6)


def test_E01_fid_and_kid(recorded):
    r = recorded("metrics")
    one, two = r.features_1.numpy(), r.features_2.numpy()
    assert frechet_distance(one, two) == pytest.approx(float(r.fid), rel=1e-3)
    found = kernel_distance(one, two, subsets=100, subset_size=100)
    assert found.mean == pytest.approx(float(r.kid_mean), rel=1e-3)
    assert found.deviation == pytest.approx(float(r.kid_std), rel=1e-3)


def test_E02_depth_and_pose_errors(recorded):
    r = recorded("metrics")
    assert depth_error(r.depth, r.face_depth, r.face_mask).item() == pytest.approx(float(r.depth_error), abs=1e-5)
    assert angle_error(r.face_angle[None], r.render_pitch_yaw[None]).item() == pytest.approx(
        float(r.angle_error), abs=1e-5
    )
