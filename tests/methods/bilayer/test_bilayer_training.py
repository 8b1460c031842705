"""Short trainings on a drawn data set: results folder, resume, freezing, initialising, and that it learns."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from likeness.cli.arguments import parse
from likeness.engine import Run, train
from likeness.engine.config import read_config
from likeness.engine.logs import read_log
from likeness.errors import UserError
from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.compat import read_args, rewrite
from likeness.methods.bilayer.compat_flags import BOOLEAN, KNOWN, ONLY
from likeness.methods.bilayer.config import PRESETS, BilayerConfig, EnhancerConfig
from likeness.methods.bilayer.data import make_batches
from likeness.methods.bilayer.method import BaseStage, EnhancerStage
from likeness.methods.bilayer.networks import ALL, BASE, build_network, network_options
from likeness.methods.bilayer.networks.inference_generator import Layers, compose
from likeness.methods.bilayer.networks.texture_enhancer import TextureEnhancer
from likeness.methods.bilayer.networks.warp import identity_grid
from likeness.methods.bilayer.pairs import read_samples
from likeness.methods.bilayer.published import ImportConfig, compact, import_published, load_network_weights, spread


def _train(kind, config, stage="base"):
    return train(kind, config, method="bilayer", stage=stage, argv=["test"])


def _weights(run, name, tag):
    return torch.load(run.folder / "checkpoints" / f"{tag}_{name}.pth", weights_only=True)


def test_row_20_results_folder_and_resume(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data", people=3)

    def config(name, epochs):
        return small_config(
            data_root=root, experiment_dir=tmp_path, experiment_name=name, epochs=epochs, save_dataset_filenames=True
        )

    run = _train(BaseStage, config("whole", 2))
    names = {p.name for p in (run.folder / "checkpoints").glob("*.pth")}
    assert names == {f"{e}_{n}.pth" for e in (1, 2) for n in (*BASE, "discriminator", "state")}
    assert (run.folder / "args.txt").is_file()
    assert read_config(run.config_file, BilayerConfig).image_size == 32
    losses = pickle.loads((run.folder / "losses.pkl").read_bytes())
    assert len(losses["G_L1_train"]) == 2
    assert len(losses["L1_test"]) == 2
    for folder, tag in (("metrics", "losses/G_L1"), ("tensorboard_paper", "G_L1_train")):
        events = EventAccumulator(str(run.folder / folder))
        events.Reload()
        assert tag in events.Tags()["scalars"]
    assert list((run.folder / "images" / "train").iterdir())
    _, listed = read_samples(run.folder / "train_filenames.txt")
    assert len(listed) == 6
    _train(BaseStage, config("broken", 1))
    resumed = _train(BaseStage, config("broken", 2))
    for name in (*BASE, "discriminator"):
        for key, value in _weights(run, name, 2).items():
            assert torch.equal(value, _weights(resumed, name, 2)[key]), (name, key)
    assert (run.folder / "train_filenames.txt").read_text() == (resumed.folder / "train_filenames.txt").read_text()


def test_row_20_initialised_and_frozen_networks(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data")
    first = _train(BaseStage, small_config(data_root=root, experiment_dir=tmp_path, experiment_name="a", epochs=1))
    config = small_config(
        data_root=root,
        experiment_dir=tmp_path,
        experiment_name="b",
        epochs=1,
        seed=5,
        init_experiment_dir=first.folder,
        init_networks=("identity_embedder", "texture_generator", "inference_generator"),
        init_which_epoch="1",
        frozen_networks=("identity_embedder", "texture_generator", "inference_generator", "keypoints_embedder"),
    )
    second = _train(BaseStage, config)

    def moved(name):
        old, new = (_weights(run, name, 1) for run in (first, second))
        return {
            k for k in old if (k.endswith(("weight_orig", ".bias")) or "pixel" in k) and not torch.equal(old[k], new[k])
        }

    assert moved("identity_embedder") == set()
    assert moved("inference_generator") == set()
    tex = moved("texture_generator")
    assert any(k.startswith("prj_tex") for k in tex)
    assert any(k.startswith("gen_tex.heads") for k in tex)
    assert not any(k.startswith("gen_tex.blocks.0.") for k in tex)
    assert moved("keypoints_embedder"), "freezing needs the network to be initialised too"
    with pytest.raises(UserError, match="no checkpoint"):
        _train(BaseStage, small_config(
            data_root=root, experiment_dir=tmp_path, experiment_name="c", init_experiment_dir=first.folder,
            init_networks=("identity_embedder",), init_which_epoch="77",
        ))  # fmt: skip


def test_row_24_training_lowers_l1_and_the_discriminator_learns(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data", people=2, frames=4)
    config = small_config(
        data_root=root, experiment_dir=tmp_path, experiment_name="learn", epochs=60, save_every=60, lr=2e-3,
        validate_every=0, visuals_every=0,
    )  # fmt: skip
    torch.manual_seed(config.seed)
    start = {k: v.clone() for k, v in BaseStage(config).networks["discriminator"].state_dict().items()}
    run = _train(BaseStage, config)
    losses = pickle.loads((run.folder / "losses.pkl").read_bytes())
    assert sum(losses["G_L1_train"][-5:]) < 0.6 * sum(losses["G_L1_train"][:5])
    end = _weights(run, "discriminator", 60)
    assert all(not torch.equal(start[k], end[k]) for k in start if k.endswith("weight_orig"))


def test_row_08_enhancer_stage_sse_and_l1(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data")
    base = _train(BaseStage, small_config(data_root=root, experiment_dir=tmp_path, experiment_name="base", epochs=1))
    for kind in ("sse", "l1"):
        config = small_config(
            EnhancerConfig, data_root=root, experiment_dir=tmp_path, experiment_name=f"enh_{kind}", epochs=1,
            enh_guiding_rgb_loss_type=kind, base_run=base.folder,
        )  # fmt: skip
        run = _train(EnhancerStage, config, "enhancer")
        for name in BASE:
            for key, value in _weights(base, name, 1).items():
                assert torch.equal(value, _weights(run, name, 1)[key]), (name, key)
        assert "texture_enhancer" in Avatar.from_run(run.folder).networks


def test_row_08_every_depth_of_unrolling(small_config):
    torch.manual_seed(0)
    texture, truth = torch.rand(2, 3, 32, 32), torch.rand(4, 3, 32, 32)
    layers = Layers(torch.zeros(4, 2, 32, 32), torch.zeros(4, 3, 32, 32), torch.zeros(4, 1, 32, 32))
    source = compose(layers, texture.repeat_interleave(2, 0), identity_grid(32), False)
    seen = []
    for depth in (1, 2, 3, 4):
        torch.manual_seed(1)
        enhancer = TextureEnhancer(network_options(small_config(enh_unrolling_depth=depth)))
        with torch.no_grad():
            seen.append(enhancer(texture, source, truth))
        assert seen[-1].shape == texture.shape
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(seen[:-1], seen[1:], strict=True))


def test_row_01_import_with_and_without_v(tmp_path, small_config):
    config = small_config()
    network = build_network("keypoints_embedder", config)
    with torch.no_grad():
        network(torch.randn(2, 136))
    state = {k: v.clone() for k, v in network.eval().state_dict().items()}
    expected = network(torch.ones(1, 136))
    old = {k: v for k, v in state.items() if not k.endswith("weight_v")}
    for number in range(4):
        layer = network.net.mlp[2 * number]
        sigma = layer.weight_u @ (layer.weight_orig @ layer.weight_v)
        old[f"net.mlp.{2 * number}.weight"] = (layer.weight_orig / sigma).detach()
    fresh = build_network("keypoints_embedder", config).eval()
    load_network_weights(fresh, old, "old.pth")
    assert torch.allclose(fresh(torch.ones(1, 136)), expected, atol=1e-4)
    load_network_weights(fresh, state, "new.pth")
    assert torch.equal(fresh(torch.ones(1, 136)), expected)
    with pytest.raises(UserError, match="another architecture"):
        load_network_weights(build_network("keypoints_embedder", PRESETS["paper"]), state, "new.pth")


@pytest.mark.slow
def test_row_01_import_makes_a_run(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ALL:
        torch.save(build_network(name, PRESETS["paper"]).state_dict(), folder / f"2225_{name}.pth")
    import_published(ImportConfig(files=(folder,), out=tmp_path / "runs" / "published"))
    assert Run.open(tmp_path / "runs" / "published").checkpoints.whole()
    assert set(Avatar.from_run(tmp_path / "runs" / "published").networks) == {*BASE, "texture_enhancer"}


def test_row_19_args_round_trip_with_types(tmp_path):
    values = {
        "b": 3,
        "a": "text",
        "rate": 2e-4,
        "flag": True,
        "off": False,
        "per_loss_weights": "10, 0.01",
        "minus": -1,
    }
    (tmp_path / "args.txt").write_text("".join(f"{key}: {values[key]}\n" for key in sorted(values)))
    assert read_args(tmp_path / "args.txt") == {**values, "minus": -1.0}


def test_row_19_an_original_run_is_imported_with_the_sizes_of_its_args(tmp_path):
    sizes = network_options(PRESETS["tiny"])
    theirs = tmp_path / "theirs"
    (theirs / "checkpoints").mkdir(parents=True)
    for name in BASE:
        network = build_network(name, sizes, spectral_norm=name == "inference_generator")
        torch.save(network.state_dict(), theirs / "checkpoints" / f"7_{name}.pth")
    lines = dataclasses.asdict(sizes) | {"spn_networks": "inference_generator", "num_epochs": 7, "use_unet": False}
    lines |= {"emb_norm_layer_type": "none"}
    (theirs / "args.txt").write_text("".join(f"{key}: {lines[key]}\n" for key in sorted(lines)))
    for number, source in enumerate((theirs, theirs / "checkpoints")):
        out = tmp_path / "runs" / f"ours{number}"
        import_published(ImportConfig(files=(source,), out=out))
        assert network_options(Run.open(out).config(BilayerConfig)) == sizes
        assert Avatar.from_run(out).options == sizes
    with pytest.raises(UserError, match="needs no import"):
        import_published(ImportConfig(files=(tmp_path / "runs" / "ours0",), out=tmp_path / "again"))
    with pytest.raises(UserError, match="another architecture"):
        import_published(ImportConfig(files=(theirs,), out=tmp_path / "other", image_size=128))
    lines["use_unet"] = True
    (theirs / "args.txt").write_text("".join(f"{key}: {lines[key]}\n" for key in sorted(lines)))
    with pytest.raises(UserError, match="use_unet is True"):
        import_published(ImportConfig(files=(theirs,), out=tmp_path / "other"))


def test_row_19_flag_lines_of_the_fork(tmp_path, capsys):
    words = rewrite(
        "train",
        "--experiment_name mine --num_epochs 7 --checkpoint_freq 2 --frame_num_from_paper True --which_epoch 1 "
        "--pse_use_harmonic_enc False --init_networks identity_embedder, texture_generator --emb_norm_layer_type none "
        "--lrs identity_embedder: 2e-4, texture_generator: 1e-4 --calc_stats --losses_test lpips, csim --metrics "
        "PSNR, lpips, pose_matching_metric --images_log_rate 100 --visual_freq -1 --runner_name default "
        "--save_initial_test_before_training True --losses_train pixelwise, segmentation, perceptual, adversarial, "
        "feature_matching --wpr_loss_weight 0.1 --optims identity_embedder: adam --skip_test True "
        "--test_freq 5".split(),
    )
    text = " ".join(words)
    for part in (
        "--experiment-name mine", "--epochs 7", "--save-every 2", "--pairs paper", "--resume none",
        "--lrs identity_embedder 2e-4 texture_generator 1e-4", "--pse-use-harmonic-enc False",
        "--init-networks identity_embedder texture_generator", "--calc-stats True",
        "--measures L1 lpips csim PSNR pose_matching", "--images-every 100", "--visuals-every 1 --visuals-unit epoch",
        "--validate-first True", "--validate-every 0",
    ):  # fmt: skip
        assert part in text
    told = capsys.readouterr().out
    assert "starts from scratch" in told
    assert "--runner_name default: left out" in told
    assert "--emb_norm_layer_type" not in told, "what is always so was not left out"
    config = parse(BilayerConfig, words, "test")
    assert config.lrs == {"identity_embedder": 2e-4, "texture_generator": 1e-4}
    assert config.wpr_loss_weight == 0.1
    for line, why in (
        ("--no_such_flag 1", "no flag"), ("--use_unet True", "only False is built"),
        ("--optims texture_generator: sgd", "found sgd"), ("--losses_train magic", "no loss magic"),
        ("--metrics beauty", "no measure 'beauty'"), ("--lrs 2e-4", "expected `network: value"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=why):
            rewrite("train", line.split())


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_row_19_every_flag_is_understood_and_every_result_is_an_option(name, tmp_path):
    value = {
        **ONLY, "frame_num_from_paper": "True", "dataloader_name": "yaw", "train_dataloader_name": "yaw",
        "test_dataloader_name": "yaw", "lrs": "discriminator: 1e-4", "optims": "discriminator: adam",
        "losses_train": "pixelwise", "losses_test": "lpips, csim", "metrics": "PSNR", "folder_postfix": "2d_crop",
        "dropout_networks": "texture_generator: 0.5", "adv_pred_type": "rgan", "fem_loss_type": "mse",
        "pix_loss_type": "mse", "seg_loss_type": "dice", "per_pooling": "maxpool", "enh_guiding_rgb_loss_type": "l1",
        "init_networks": "discriminator", "frozen_networks": "discriminator", "networks_to_train": "discriminator",
        "spn_networks": "discriminator", "image_size": "512", "enh_bottleneck_tensor_size": "32",
    }.get(name, "True" if name in BOOLEAN else "4")  # fmt: skip
    words = rewrite("train", [f"--{name}", value])
    parse(EnhancerConfig if name.startswith("enh_") else BilayerConfig, words, "test")


def test_row_20_which_epoch_goes_on_from_that_checkpoint(tmp_path, make_tree, small_config, capsys):
    root = make_tree(tmp_path / "data")
    run = _train(BaseStage, small_config(data_root=root, experiment_dir=tmp_path, experiment_name="a", epochs=2))
    line = f"--experiment_dir {tmp_path} --experiment_name a --which_epoch"
    state = run.folder / "checkpoints" / "1_state.pth"
    assert ["--resume", str(state)] == rewrite("train", f"{line} 1".split())[-2:]
    (run.folder / "checkpoints" / "2_state.pth").unlink()
    assert "--init-which-epoch 2" in " ".join(rewrite("train", f"{line} 2".split()))
    assert "no optimisers" in capsys.readouterr().out


def test_row_20_first_validation_measures_and_pictures_between(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data", people=2)
    config = small_config(
        data_root=root, experiment_dir=tmp_path, epochs=2, samples_per_video=2, validate_first=True, images_every=1,
        measures=("L1", "SSIM", "lpips"), visuals_unit="update", visuals_every=3, validate_every=0,
    )  # fmt: skip
    run = _train(BaseStage, config)
    lines = read_log(run.folder / "log.jsonl")
    assert [line["update"] for line in lines if line["kind"] == "valid"] == [0]
    assert {"L1", "SSIM", "ST_LPIPS"} <= lines[0].keys()
    assert all(np.isfinite(value) for key, value in lines[0].items() if key != "kind")
    events = EventAccumulator(str(run.folder / "metrics"), size_guidance={"images": 0})
    events.Reload()
    assert [image.step for image in events.Images("images/grid")] == [1, 2, 3, 4]
    assert [path.name for path in run.images("train").iterdir()] == ["2-3_grid.png"]


@pytest.mark.parametrize(("people", "clips"), [(4, 2), (1, 3), (1, 1)])
def test_row_23_general_person_and_video_sets_train_alike(tmp_path, make_tree, small_config, people, clips):
    root = make_tree(tmp_path / "data", people=people, clips=clips, frames=3)
    config = small_config(data_root=root, experiment_dir=tmp_path, epochs=1, validate_every=0, visuals_every=0)
    assert len(make_batches(config, "train")) == -(-people // 2)
    assert _train(BaseStage, config).checkpoints.whole()


def test_row_20_late_discriminator_falling_rate_and_both_layers_in_pixels(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data", people=2)
    config = small_config(
        data_root=root, experiment_dir=tmp_path, epochs=4, adv_from_epoch=3, lr_decay_from=0.5, validate_every=0,
        visuals_every=0, pix_full_loss_weight=1.0, samples_per_video=3,
    )  # fmt: skip
    run = _train(BaseStage, config)
    lines = [line for line in read_log(run.folder / "log.jsonl") if line["kind"] == "epoch"]
    assert ["G_ADV" in line["train"] for line in lines] == [False, False, True, True]
    assert all("G_L1_full" in line["train"] for line in lines)
    rates = [line["lr"]["inference_generator"] for line in lines]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4])
    assert [line["update"] for line in lines] == [3, 6, 9, 12]


@pytest.mark.parametrize("inputs", [16 * 16, 24 * 24])
def test_row_01_summed_projector_weights_compute_the_same(inputs):
    weight, pixels = torch.randn(5, inputs), torch.randn(8, 8)
    side = int(inputs**0.5)
    repeated = pixels.repeat_interleave(side // 8, 0).repeat_interleave(side // 8, 1).flatten()
    small = compact(weight, 8)
    assert small.shape == (5, 64)
    assert torch.allclose(small @ pixels.flatten(), weight @ repeated, atol=1e-3)
    assert torch.allclose(spread(small, inputs) @ repeated, weight @ repeated, atol=1e-3)
