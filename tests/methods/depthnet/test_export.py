"""Exports without the fixtures: refusals, depth scales, pictures that are not square, and the original flag lines."""

import numpy as np
import pytest
import torch

from likeness.cli.main import run
from likeness.errors import UserError
from likeness.formats.facewarper import read_affine, read_depth, read_keypoints
from likeness.media.image import write_image
from likeness.methods.depthnet.affine import fit_affine
from likeness.methods.depthnet.export import AnimConfig, SingleConfig, export_anim, export_single, scaled_depth
from likeness.methods.depthnet.networks import LearnedAffineGenerator
from likeness.methods.depthnet.turning import affine_to_pixels, rotated_targets, rotation, rotation_affine


def true_depth(source, target):
    """A model that knows: the depth of the test's solid face."""
    return solid()[:, 2].expand(len(source), -1).float(), None


def solid():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(66, 3, generator=generator, dtype=torch.float64) * 0.4 + torch.tensor([0.3, 0.3, -0.2])


@pytest.fixture
def pair(tmp_path):
    """A solid face photographed twice by affine cameras, in pictures of 120x60 and 90x150 (width x height)."""
    points = solid().numpy()
    camera = np.array([[0.8, 0.1, 0.3, 0.1], [-0.2, 0.9, 0.2, 0.15]])
    target = np.column_stack([points, np.ones(66)]) @ camera.T
    for name, xy, size in (("src", points[:, :2], (120, 60)), ("tgt", target, (90, 150))):
        image = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        write_image(tmp_path / f"{name}.png", image, synthetic=True)
        rows = np.column_stack([xy * size, points[:, 2]])
        (tmp_path / f"{name}.txt").write_text("\n".join(" ".join(map(repr, map(float, row))) for row in rows))
    return tmp_path


def files(folder, **changes):
    return (
        dict(
            src_kpts_file=folder / "src.txt",
            src_img_file=folder / "src.png",
            tgt_kpts_file=folder / "tgt.txt",
            tgt_img_file=folder / "tgt.png",
            output_dir=folder / "out",
            kpt_file_separator=" ",
        )
        | changes
    )


@pytest.mark.parametrize("size", ["src", "tgt", "77"])
def test_row_33_non_square_pictures_land_on_the_target(pair, size):
    config = SingleConfig(**files(pair, output_size=size))
    export_single(config, true_depth)
    width, height = {"src": (120, 60), "tgt": (90, 150), "77": (77, 77)}[size]
    source = np.loadtxt(pair / "src.txt")[:, :2] / (120, 60) * (width, height)
    expected = np.loadtxt(pair / "tgt.txt")[:, :2] / (90, 150) * (width, height)
    rows = np.column_stack([source, solid()[:, 2], np.ones(66)])
    affine = read_affine(pair / "out/affine/tgt.png.txt")
    np.testing.assert_allclose(rows @ affine.T, expected, atol=1e-3)
    export_single(SingleConfig(**files(pair, output_size=size, legacy_affine=True)), true_depth)
    legacy = read_affine(pair / "out/affine/tgt.png.txt")
    assert np.allclose(legacy, affine, atol=1e-4) == (width == height)


def test_row_33_turns_are_rigid_in_pictures_that_are_not_square():
    points = solid().numpy()
    size = (60, 120)
    turn = rotation("z", 0.7)[None]
    pixels = points[:, :2] * (120, 60)
    turned = rotated_targets(points, turn, size)[0] * (120, 60)
    lengths = [np.linalg.norm(xy[1:] - xy[:-1], axis=1) for xy in (pixels, turned)]
    np.testing.assert_allclose(*lengths, rtol=1e-5)
    affine = rotation_affine(turn[0], size)
    np.testing.assert_allclose(affine[:, :2] @ affine[:, :2].T, np.eye(2), atol=1e-6)


def test_row_22_the_face_pivot_stays():
    pivot = np.array([40.0, 30.0, 0.1])
    for axis in "xyz":
        affine = rotation_affine(rotation(axis, 0.6), (100, 100), pivot=pivot)
        np.testing.assert_allclose(affine @ np.append(pivot, 1), pivot[:2], atol=1e-9)


def test_row_32_learned_affines_are_exported_as_predicted(pair):
    torch.manual_seed(0)
    model = LearnedAffineGenerator().eval()
    export_single(SingleConfig(**files(pair)), model)
    xy = [
        torch.tensor(np.loadtxt(pair / f"{n}.txt")[None, :, :2] / s, dtype=torch.float32)
        for n, s in (("src", (120, 60)), ("tgt", (90, 150)))
    ]
    with torch.inference_mode():
        depth, affine = model(*xy)
    np.testing.assert_allclose(
        read_affine(pair / "out/affine/tgt.png.txt"), affine_to_pixels(affine[0].numpy(), (150, 90)), atol=1e-5
    )
    np.testing.assert_allclose(read_depth(pair / "out/depth/tgt.png.txt")[:60], depth[0, :60], atol=1e-5)
    assert read_keypoints(pair / "out/keypoints/tgt.png.txt").shape == (68, 2)
    assert not np.allclose(affine[0], fit_affine(xy[0], depth, xy[1])[0], atol=1e-3)


def test_row_21_scale_depth(pair):
    depth = np.array([1.0, 3.0, 2.0])
    np.testing.assert_array_equal(scaled_depth(depth, 100.0), depth / 100)
    np.testing.assert_array_equal(scaled_depth(depth, 0.0), [0, 1, 0.5])
    np.testing.assert_array_equal(scaled_depth(np.ones(3), 0.0), np.zeros(3))
    with pytest.raises(UserError, match="scale_depth must be >= 0"):
        export_anim(AnimConfig(**files(pair, scale_depth=-1.0)), true_depth)


@pytest.mark.parametrize("turn", [False, True])
def test_row_21_missing_depths_are_refused(pair, turn):
    rows = np.loadtxt(pair / "tgt.txt")
    (pair / "flat.txt").write_text("\n".join(f"{x} {y}" for x, y, _ in rows))
    with pytest.raises(UserError, match="The depths of the target kpts must be known!"):
        export_anim(AnimConfig(**files(pair, tgt_kpts_file=pair / "flat.txt", rotate_source=turn)), true_depth)


def test_row_19_original_flag_line(pair, tmp_path, capsys):
    torch.manual_seed(0)
    torch.save(
        (
            LearnedAffineGenerator().state_dict(),
            __import__("likeness.methods.depthnet.networks", fromlist=["Critic"]).Critic().state_dict(),
        ),
        pair / "100.pkl",
    )
    words = ["export", "depthnet", "single", "--network=architectures/depthnet_sd5_learnm.py", "--learn_m", "--cpu"]
    words += [f"--checkpoint={pair}/100.pkl", f"--src_kpts_file={pair}/src.txt", f"--tgt_kpts_file={pair}/tgt.txt"]
    words += [f"--src_img_file={pair}/src.png", f"--tgt_img_file={pair}/tgt.png", f"--output_dir={pair}/cli"]
    run([*words, "--kpt_file_separator= ", "--legacy_affine", "False"])
    said = capsys.readouterr().out
    assert said.count("dropped") == 3
    assert (pair / "cli/affine/tgt.png.txt").is_file()
