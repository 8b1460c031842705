"""The original's whole configuration file as `likeness train gmpi --config` takes it."""

import pytest
import torch
import yaml

from likeness.errors import UserError
from likeness.methods.gmpi.compat import rewrite


@pytest.fixture
def document(gmpi_dir):
    """The configuration that the original saved, as it stood in its files."""
    return torch.load(gmpi_dir / "config_example.pth", weights_only=True)["config"]


@pytest.fixture
def line(document, tmp_path):
    """Write the configuration with some keys changed; returns the rewritten command line."""

    def write(words=(), **changes):
        for key, value in changes.items():
            place, *rest = (document["GMPI"], *key.split("__"))
            for name in rest[:-1]:
                place = place[name]
            place[rest[-1]] = value
        (tmp_path / "gmpi.yaml").write_text(yaml.safe_dump(document))
        return rewrite("train", ["--config", str(tmp_path / "gmpi.yaml"), *words])

    return write


PLAIN = ["--preset", "FFHQ256", "--workers", "8", "--experiment-dir", "./experiments/"]


def test_C01_the_whole_file_is_the_preset(line):
    assert line() == PLAIN
    assert line(["--max-updates", "7"]) == [*PLAIN, "--max-updates", "7"]


def test_C01_the_launchers_data_set_and_pairs_go_over_the_file(line):
    found = line(["--run_dataset", "MetFaces", "--nproc_per_node", "2", "MPI.n_gen_planes", "96"])
    assert found[:2] == ["--preset", "MetFaces"]
    assert found[-6:] == ["--devices", "2", "--batch-size", "8", "--planes", "96"]


@pytest.mark.parametrize(
    ("key", "value", "flags"),
    [("TRAIN__total_iters", 9, ["--max-updates", "9"]),
     ("TRAIN__D_cond_on_pose", False, ["--pose-dim", "0"]),
     ("MODEL__use_pretrained_ckpt", False, ["--pretrained", "None"]),
     ("MODEL__STYLEGAN2__synthesis_kwargs__channel_base", 16384, ["--channel-base", "8192"]),
     ("MODEL__STYLEGAN2__discriminator__use_mbstd_in_D", False, ["--deviation-group", "0"]),
     ("MODEL__STYLEGAN2__torgba_cond_on_pos_enc", "depth2alpha", ["--variant", "depth2alpha"])],
)  # fmt: skip
def test_C01_what_differs_becomes_a_flag(line, key, value, flags):
    found = line(**{key: value})
    assert sorted(set(found) - set(PLAIN)) == sorted(flags)


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [("TRAIN__only_tune", True, "only_tune"), ("TRAIN__unheard_of", 1, "unheard_of"),
     ("TRAIN__dataset", "LSUN", "LSUN"),
     ("MPI__cam_ray_from_pix_center", False, "cam_ray_from_pix_center"),
     ("MPI__FOR_FFHQ__cam_sphere_r", 2.0, "cam_sphere_r")],
)  # fmt: skip
def test_C02_what_never_worked_is_refused_by_name(line, key, value, name):
    with pytest.raises(UserError, match=name):
        line(**{key: value})


def test_C01_data_elsewhere(document, line):
    document["DATASET"]["FFHQ"]["TRAIN_DATAROOT"] = "elsewhere/ffhq{}x{}.zip"
    assert line()[2:4] == ["--data", "elsewhere"]
    document["DATASET"]["FFHQ"]["TRAIN_DATAROOT"] = "elsewhere/faces.zip"
    with pytest.raises(UserError, match="rename it ffhq256x256.zip"):
        line()
