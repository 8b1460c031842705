"""Exports, warper, server, photographs and repair as their users meet them."""

import io
import shutil
import subprocess
import sys

import cv2
import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as pictures

from likeness.cli.main import main
from likeness.errors import UserError
from likeness.geometry.face_landmarks import to_68
from likeness.geometry.mean_face import mean_face
from likeness.media.synthetic import is_marked_synthetic
from likeness.media.video import count_frames
from likeness.methods.depthnet import animate, export, photo, turning
from likeness.methods.depthnet.facewarper import WarpInput, read_landmark_file, read_warp_input, write_warp_input
from likeness.methods.depthnet.networks import FixedAffineGenerator, Prediction
from likeness.methods.depthnet.overlay import composite
from likeness.methods.depthnet.repair import archives, build, selection
from likeness.methods.depthnet.repair.apply import load_repair_generator, repair
from likeness.methods.depthnet.repair.networks import build_networks
from likeness.methods.depthnet.server import serve
from likeness.methods.depthnet.warp_dataset import WarpConfig, warp_dataset
from likeness.render.face_warp import warp_face


@pytest.fixture
def example(data_dir, tmp_path):
    folder = tmp_path / "faces"
    shutil.copytree(data_dir / "depthnet" / "facewarper_example", folder, copy_function=shutil.copyfile)
    return folder


@pytest.fixture
def generator(monkeypatch):
    torch.manual_seed(0)
    network = FixedAffineGenerator().eval()
    for module in (export, animate, build):
        monkeypatch.setattr(module, "load_generator", lambda path: network)
    return network


def test_row_20_export_multi_and_its_skipped_targets(data_dir, tmp_path, generator, capsys):
    folder = data_dir / "depthnet" / "warp_example"
    targets = tmp_path / "targets"
    targets.mkdir()
    for name in ("a", "b", "without"):
        shutil.copyfile(folder / "obama.png", targets / f"{name}.png")
    for name in ("a", "b"):
        shutil.copyfile(folder / "obama_keypoints.txt", targets / f"{name}.txt")
    words = f"export depthnet multi --src-kpts-file {folder}/src_keypoints.txt --src-img-file {folder}/src.png"
    words += f" --tgt-kpts-dir {targets} --tgt-img-dir {targets} --output-dir {tmp_path}/out --no-save-plots"
    main([*words.split(), "--kpt_file_separator", " "])
    assert sorted(path.name for path in (tmp_path / "out" / "depth").iterdir()) == ["a.png.txt", "b.png.txt"]
    assert sorted(path.name for path in (tmp_path / "out" / "source").iterdir()) == ["a.png.png", "b.png.png"]
    assert "skipped" in capsys.readouterr().out


def test_row_21_scale_depth_and_a_missing_third_column(data_dir, tmp_path, generator):
    depth = np.array([1.0, 2.0, 4.0])
    assert np.allclose(turning.scale_depth(depth, 2.0), depth / 2)
    assert np.allclose(turning.scale_depth(depth, 0.0), [0, 1 / 3, 1])
    assert np.array_equal(turning.scale_depth(np.ones(3), 0.0), np.zeros(3))
    folder = data_dir / "depthnet"
    common = {
        "src_kpts_file": folder / "rotation_example" / "keypoints.txt",
        "src_img_file": folder / "rotation_example" / "src.png",
        "tgt_img_file": folder / "warp_example" / "obama.png",
        "output_dir": tmp_path / "out",
        "kpt_file_separator": " ",
    }
    flat = export.AnimationConfig(tgt_kpts_file=folder / "warp_example" / "obama_keypoints.txt", **common)
    with pytest.raises(UserError, match="The depths of the target kpts must be known!"):
        export.export_animation(flat)
    solid = folder / "rotation_example" / "keypoints.txt"
    with pytest.raises(UserError, match="scale_depth must be >= 0"):
        export.export_animation(export.AnimationConfig(tgt_kpts_file=solid, scale_depth=-1.0, **common))
    assert not (tmp_path / "out").exists()
    assert len(turning.sweep((0.785, -0.785))) == 235 and turning.sweep((0.785, -0.785))[77] == 0.785


def test_row_24_warp_dataset_options(example, tmp_path, capsys):
    (example / "depth" / "000014_crop.txt").unlink()
    main(["warp", str(example), "--results", str(tmp_path / "all")])
    assert len(list((tmp_path / "all").glob("*.png"))) == 4
    assert "skipped 000014_crop" in capsys.readouterr().out
    main(["warp", str(example), "--results", str(tmp_path / "late"), "--start_index", "3"])
    assert [path.name for path in (tmp_path / "late").iterdir()] == ["000027_crop.png"]
    main(["warp", str(example), "--results", str(tmp_path / "cut"), "--identity"])
    cut = np.asarray(Image.open(tmp_path / "cut" / "000001_crop.png").convert("RGB")).astype(int)
    source = np.asarray(Image.open(example / "source" / "000001_crop.png").convert("RGB")).astype(int)
    inside = cut.any(-1)
    assert np.abs(cut - source)[inside].max() <= 1
    one = example / "source" / "000001_crop.png"
    main(["warp", str(example), "--results", str(tmp_path / "one"), "--use-dir", "affine", "--img-override", str(one)])
    shown = np.asarray(Image.open(tmp_path / "one" / "000002_crop.png"))
    other = np.asarray(Image.open(tmp_path / "all" / "000002_crop.png"))
    assert not np.array_equal(shown, other)
    assert is_marked_synthetic(tmp_path / "all" / "000002_crop.png")
    with pytest.raises(UserError, match="--use-dir"):
        warp_dataset(WarpConfig(example, tmp_path / "x", use_dir="nothing"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("depth", "0.1\n" * 67, "67 rows"),
        ("depth", "0.1\n" * 67 + "nan\n", "NaN"),
        ("keypoints", "1 2\n" * 67 + "1 x\n", "no number"),
        ("affine", "1 0 0\n0 1 0\n", "2 lines of four"),
    ],
)
def test_bad_warp_files_are_named(example, tmp_path, name, text, words):
    path = example / name / "000001_crop.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        warp_dataset(WarpConfig(example, tmp_path / "out"))
    assert str(path) in str(caught.value)
    assert not list((tmp_path / "out").glob("*") if (tmp_path / "out").exists() else [])


def test_missing_last_newline_is_read(example):
    files = [example / part / "000002_crop.txt" for part in ("keypoints", "depth", "affine")]
    before = read_warp_input(*files)
    for path in files:
        path.write_text(path.read_text().rstrip("\n"))
    after = read_warp_input(*files)
    assert np.array_equal(before.depth, after.depth) and np.array_equal(before.affine, after.affine)


def test_row_25_server_protocol(example, tmp_path):
    good = [example / part / f"000005_crop.{kind}" for part, kind in (("source", "png"), ("keypoints", "txt"))]
    good += [example / part / "000005_crop.txt" for part in ("depth", "affine")]
    line = " ".join(map(str, [*good, tmp_path / "o.png"]))
    answers = io.StringIO()
    serve(iter([f"{line}\n", "a b\n", f"{line} \n".replace("000005_crop.png", "absent.png")]), answers)
    said = answers.getvalue().splitlines()
    assert [words.split(":")[0] for words in said] == ["ready", "ready", "error", "ready", "error", "ready"]
    assert (tmp_path / "o.png").is_file() and "expected image keypoints depth affine output" in said[2]
    process = subprocess.run(
        [sys.executable, "-c", "from likeness.methods.depthnet.server import main; main()"],
        input=f"{line}\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.stdout.split() == ["ready", "ready"]


def test_overlay_mask_keeps_black_pixels_and_feather_fades():
    warp, target = np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 200, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    assert (composite(warp, target) == 200).all()
    assert (composite(warp, target, mask)[mask] == 0).all()
    soft = composite(warp, target, mask, feather=6)
    assert soft[20, 20, 0] == 0 and 0 < soft[20, 12, 0] < 200 and soft[5, 5, 0] == 200


def straight(depth: np.ndarray):
    """A generator that knows the depth."""

    def generator(source, target):
        return Prediction(torch.from_numpy(depth).float().expand(len(target), -1), None)

    return generator


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(pictures.astronaut()).save(path)
    return path


def test_row_27_rotation_video_of_a_photograph(astronaut, tmp_path, generator):
    out = tmp_path / "turn.mp4"
    words = [
        "animate",
        "depthnet",
        "--source",
        str(astronaut),
        "--axis",
        "y",
        "--angles",
        "0.3",
        "-0.2",
        "--out",
        str(out),
    ]
    main(words)
    assert count_frames(out) == 30 + 50
    assert is_marked_synthetic(out)


def test_photograph_turns_about_the_face_and_keeps_its_surroundings(astronaut):
    shot = photo.open_photo(astronaut)
    low, high = shot.points.min(0), shot.points.max(0)
    assert (high - low).max() == pytest.approx(1 / photo.SIDE, rel=0.02)
    assert np.allclose((low + high) / 2, 0.5, atol=0.01)
    knowing = straight(shot.depth)
    still, turned = animate.turn_frames(shot, knowing, np.array([0.0, 0.5]))
    assert np.abs(still.astype(int) - shot.picture).mean() < 0.2
    left, top = shot.corner
    inside = np.zeros(still.shape[:2], bool)
    inside[top : top + shot.side, left : left + shot.side] = True
    assert np.array_equal(turned[~inside], shot.picture[~inside])
    assert np.abs(turned.astype(int) - shot.picture)[inside].mean() > 5
    black = next(animate.turn_frames(shot, knowing, np.array([0.0]), background="black"))
    assert not black[~inside].any()
    # A landmark of depth above the pivot's moves with the turn's sine: the nose (nearer) goes the other way.
    matrix = turning.turn_about("y", 0.3, np.array([0.5, 0.5, 0.0]))
    assert (matrix @ [0.5, 0.5, -0.1, 1])[0] < 0.5 < (matrix @ [0.5, 0.5, 0.1, 1])[0]


def test_row_33_pictures_that_are_not_square(data_dir, generator, tmp_path):
    """A picture stretched to another shape gives the stretched warp, and the published affine does not."""
    folder = data_dir / "depthnet" / "warp_example"
    source = read_landmark_file(folder / "src_keypoints.txt", " ")[:, :2] / 500
    target = read_landmark_file(folder / "obama_keypoints.txt", " ")[:, :2] / 252
    depth, affine = turning.predict(generator, source, target[None])
    width, height = 400, 200
    solid = np.concatenate([to_68(source) * (width, height), to_68(depth[0][:, None]), np.ones((68, 1))], axis=1)
    normalised = np.concatenate([to_68(source), to_68(depth[0][:, None]), np.ones((68, 1))], axis=1)
    expected = (normalised @ affine[0].T) * (width, height)
    assert np.allclose(solid @ turning.pixel_affine(affine[0], width, height).T, expected, atol=1e-6)
    assert not np.allclose(solid @ turning.pixel_affine(affine[0], width, height, legacy=True).T, expected, atol=1)
    stretched = tmp_path / "wide.png"
    wide = cv2.resize(np.asarray(Image.open(folder / "src.png").convert("RGB")), (width, height))
    Image.fromarray(wide).save(stretched)
    shot = photo.cut_square(wide, source * (width, height))
    assert shot.crop.shape[0] == shot.crop.shape[1]
    assert photo.warp_photo(shot, depth[0], affine[0]).shape == wide.shape


def test_a_reposed_face_goes_into_either_photograph(data_dir, tmp_path, generator):
    folder = data_dir / "depthnet" / "warp_example"
    words = ["animate", "depthnet", "--source", str(folder / "src.png"), "--target", str(folder / "obama.png")]
    for paste, size in (("source", (500, 500)), ("target", (252, 252))):
        main([*words, "--out", str(tmp_path / f"{paste}.png"), "--paste", paste])
        assert Image.open(tmp_path / f"{paste}.png").size == size


def test_folder_of_photographs(astronaut, tmp_path, generator, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copyfile(astronaut, folder / "a.png")
    Image.fromarray(pictures.coffee()).save(folder / "cup.png")
    main(["animate", "depthnet", "--source", str(folder), "--out", str(tmp_path / "out"), "--angles", "0.05", "0.0"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mp4"]
    out = capsys.readouterr().out
    assert "1 of 2 photographs" in out and "cup.png" in out


def test_depth_buffer_shows_the_nearer_triangle(data_dir):
    folder = data_dir / "depthnet" / "facewarper_example"
    face = read_warp_input(*(folder / part / "000001_crop.txt" for part in ("keypoints", "depth", "affine")))
    source = np.asarray(Image.open(folder / "source" / "000001_crop.png").convert("RGB"))
    depth = np.zeros(68)
    depth[27:36] = -20.0
    turn = turning.turn_about("y", 1.2, np.array([40.0, 40.0, 0.0]))
    painted = warp_face(source, face.keypoints, depth, turn)
    solid = np.concatenate([face.keypoints, depth[:, None], np.ones((68, 1))], axis=1)
    away = solid[:, :3] @ turning.rotation("y", 1.2)[2]
    sorted_ = warp_face(source, face.keypoints, depth, turn, view_depth=away)
    assert (painted.triangle != sorted_.triangle).any()
    assert np.array_equal(painted.coverage, sorted_.coverage)


def profile_landmarks(shift: float) -> np.ndarray:
    """68 made-up landmarks of an 80 x 80 crop whose midline lies `shift` pixels right of the middle."""
    points = np.zeros((68, 2))
    points[:17, 0], points[:17, 1] = np.linspace(4, 76, 17), 40 + 34 * np.sin(np.linspace(0, np.pi, 17))
    points[17:68] = 40, 40
    points[[28, 30, 33, 62], 0] = 40 + shift
    points[[28, 30, 33, 62], 1] = (30, 40, 45, 55)
    points[27] = 40 + shift, 35
    return points


@pytest.mark.parametrize("rules", ["celeba", "vgg"])
def test_an_average_face_is_a_target_from_the_front_and_a_source_from_the_side(rules):
    for degrees, expected in ((0, "target"), (20, "source")):
        turned = mean_face().numpy() @ turning.rotation("y", np.radians(degrees)).T
        points = 1.5 * turned[:, :2] + 200
        crop, landmarks = selection.crop_face(np.zeros((400, 400, 3), np.uint8), points, rules)
        assert crop.shape == (80, 80, 3)
        assert selection.role(landmarks, rules) == expected


def test_row_29_selection_zoom_and_masks():
    frontal, side = profile_landmarks(0), profile_landmarks(24)
    assert selection.profile_score(frontal) < 0.05 and selection.profile_score(side) > 0.5
    assert selection.role(frontal, "celeba") == selection.role(frontal, "vgg") == "target"
    assert selection.role(side, "celeba") == selection.role(side, "vgg") == "source"
    assert selection.role(profile_landmarks(8), "vgg") is None
    warp = np.full((80, 80, 3), 255, np.uint8)
    zoomed = selection.zoom_out(warp)
    assert (zoomed[17:77, 10:70] == 255).all() and zoomed.sum() == 60 * 60 * 3 * 255
    picture = np.full((80, 80, 3), 9, np.uint8)
    masked = selection.mask_face(picture, frontal)
    assert not masked[60, 40].any() and (masked[2, 2] == 9).all()
    cut = np.zeros_like(picture)
    cut[20:30] = 1
    assert not selection.mask_warp(picture, cut)[20:30].any() and (selection.mask_warp(picture, cut)[40] == 9).all()


def test_row_29_archives_from_a_folder(data_dir, tmp_path, generator, monkeypatch, capsys):
    folder = data_dir / "depthnet" / "facewarper_example"
    images, texts = tmp_path / "images", tmp_path / "texts"
    images.mkdir()
    texts.mkdir()
    for path in sorted((folder / "source").glob("*.png")):
        shutil.copyfile(path, images / path.name)
        shutil.copyfile(folder / "keypoints" / f"{path.stem}.txt", texts / f"{path.stem}.txt")
    roles = iter(["source", "target", "source", "target", None])
    monkeypatch.setattr(build, "role", lambda landmarks, rules: next(roles))
    words = ["repair", "data", "--images", str(images), "--landmarks", str(texts), "--separator", " "]
    main([*words, "--out", str(tmp_path / "celebA.h5")])
    with h5py.File(tmp_path / "celebA.h5") as archive:
        assert archive["src_depthNet_and_mask"].shape == (2, 80, 80, 6) and archive["tg_GT"].shape == (2, 80, 80, 3)
        assert archive["src_id"].dtype == "S6" and archive["src_GT_mask_face"][0].any()
        assert np.array_equal(archive["src_depthNet_and_mask"][..., :3], archive["src_depthNet"])
        assert not archive["src_depthNet"][:, :17].any()
    assert "neither seen from the side nor frontal" in capsys.readouterr().out
    main([*words, "--out", str(tmp_path / "swap.h5"), "--task", "faceswap"])
    with h5py.File(tmp_path / "swap.h5") as archive:
        assert archive["imgs"].shape == (5, 80, 80, 3)


def made_up_archive(path, count=40):
    random = np.random.default_rng(0)
    base = random.integers(0, 256, (count, 80, 80, 3), dtype=np.uint8)
    members = {"src_depthNet_and_mask": np.concatenate([base, base], -1), "tg_GT": base, "src_GT": base}
    archives.write_archive(path, members | {"imgs": base})


def test_row_30_train_test_and_repair_one_picture(tmp_path, capsys):
    made_up_archive(tmp_path / "a.h5")
    common = ["--data", str(tmp_path / "a.h5"), "--width", "8", "--blocks", "1", "--epochs", "1", "--batch-size", "8"]
    where = ["--experiment-dir", str(tmp_path), "--accelerator", "cpu", "--experiment-name"]
    face = tmp_path / "face.png"
    Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(face)
    for task, extra in (("background", ["--background", str(face)]), ("faceswap", [])):
        main(["repair", "train", "--task", task, *common, *where, task])
        run = tmp_path / "runs" / task
        main(["repair", "test", "--run", str(run), "--out", str(tmp_path / f"{task}_shown")])
        assert (tmp_path / f"{task}_shown" / "0000.png").is_file() and "cycle_aba" in capsys.readouterr().out
        out = tmp_path / f"{task}.png"
        main(["repair", "apply", "--run", str(run), "--warp", str(face), "--out", str(out), *extra])
        assert Image.open(out).size == (80, 80)
    with pytest.raises(SystemExit):
        main(
            ["repair", "apply", "--run", str(tmp_path / "runs" / "background"), "--warp", str(face), "--out", str(out)]
        )
    assert "needs --background" in capsys.readouterr().err


def test_row_30_published_tuple_of_four(tmp_path):
    networks = build_networks(3, 3, width=8, blocks=2)
    torch.save(tuple(network.state_dict() for network in networks.values()), tmp_path / "48.pkl.bak2")
    generator, task = load_repair_generator(tmp_path / "48.pkl.bak2")
    picture = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    networks["g_atob"].eval()
    with torch.no_grad():
        expected = (networks["g_atob"](archives.as_network_input(picture[None]))[0] + 1) / 2
    assert task == "faceswap"
    torch.testing.assert_close(repair(generator, picture), expected.clamp(0, 1))


def test_identity_loss_needs_equal_channels():
    from likeness.methods.depthnet.repair.config import RepairConfig

    with pytest.raises(UserError, match="no identity loss"):
        RepairConfig(task="background", beta=5.0)


def test_archives_that_do_not_fit_are_named(tmp_path):
    made_up_archive(tmp_path / "a.h5")
    (tmp_path / "half.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:2000])
    with pytest.raises(UserError, match="half.h5.*no whole h5"):
        archives.read_domains([tmp_path / "half.h5"], "background", (6, 3))
    with h5py.File(tmp_path / "small.h5", "w") as archive:
        archive["tg_GT"] = np.zeros((2, 64, 64, 3), np.uint8)
    with pytest.raises(UserError, match=r"small.h5.*\(2, 64, 64, 3\)"):
        archives.read_domains([tmp_path / "small.h5"], "background", (6, 3))
    with pytest.raises(UserError, match="domain A of background"):
        archives.read_domains([], "background", (6, 3))


def test_text_files_round_trip(tmp_path):
    random = np.random.default_rng(0)
    face = WarpInput(random.uniform(0, 200, (68, 2)), random.normal(size=68), random.normal(size=(2, 4)))
    write_warp_input(tmp_path, "f", face)
    again = read_warp_input(*(tmp_path / part / "f.txt" for part in ("keypoints", "depth", "affine")))
    assert np.array_equal(again.keypoints, face.keypoints.astype(int))
    assert np.allclose(again.depth, face.depth, atol=1e-6) and np.allclose(again.affine, face.affine, atol=1e-6)
