"""Both stages on the engine."""

from dataclasses import replace

import pytest
import torch

from likeness.engine import train
from likeness.errors import UserError
from likeness.methods.gmpi import losses
from likeness.methods.gmpi.config import GMPI_PRESETS, STYLEGAN2_PRESETS, GMPIConfig, StyleGAN2Config
from likeness.methods.gmpi.initialise import start_from
from likeness.methods.gmpi.method import GMPIStage, build_discriminator, build_generator
from likeness.methods.gmpi.stylegan2 import StyleGAN2Stage

SMALL = dict(resolution=16, z_dim=16, w_dim=16, mapping_layers=2, channel_base=256, channel_max=16)


def gmpi(collection, folder, **changes):
    options = dict(data=collection, experiment_dir=folder, planes=4, batch_size=4, max_updates=3, epochs=9,
                   shading_start=0, shading_ramp=2, save_every=1, visuals_every=0, views=2)  # fmt: skip
    return GMPIConfig(**{**SMALL, **options, **changes})


def flat(collection, folder, **changes):
    options = dict(data=collection, experiment_dir=folder, batch_size=4, max_updates=6, epochs=9, save_every=1,
                   visuals_every=0, r1_every=4, path_every=2)  # fmt: skip
    return StyleGAN2Config(**{**SMALL, **options, **changes})


def weights(run, names):
    tag = run.checkpoints.find("last")
    return {n: torch.load(run.checkpoints.path(tag, n), weights_only=True) for n in names}


def equal(a, b):
    return all(torch.equal(a[n][k], b[n][k]) for n in a for k in a[n])


def fit(kind, config):
    stage = "gmpi" if kind is GMPIStage else "stylegan2"
    return train(kind, config, method="gmpi", stage=stage, argv=[])


def test_T06_a_run_cut_in_two_ends_on_the_same_bits(collection, tmp_path):
    names = ("generator", "discriminator", "ema", "ema2")
    whole = fit(GMPIStage, gmpi(collection, tmp_path / "a"))
    fit(GMPIStage, gmpi(collection, tmp_path / "b", max_updates=1))
    resumed = fit(GMPIStage, gmpi(collection, tmp_path / "b"))
    assert equal(weights(whole, names), weights(resumed, names))


def test_T05_split_batches_equal_the_whole_batch(collection, tmp_path):
    # The mean style is averaged once a forward, as published: it is the one thing that splits change.
    names = ("generator", "discriminator", "ema")
    options = dict(noise="const", max_updates=2, shading=False)
    whole = weights(fit(GMPIStage, gmpi(collection, tmp_path / "a", **options)), names)
    parts = weights(fit(GMPIStage, gmpi(collection, tmp_path / "b", splits=2, **options)), names)
    for name in names:
        for key in whole[name]:
            if not key.endswith("w_avg"):
                torch.testing.assert_close(parts[name][key], whole[name][key], atol=2e-4, rtol=1e-3)


def test_T02_the_view_with_the_lowest_score_is_kept(collection, tmp_path):
    stage = GMPIStage(gmpi(collection, tmp_path, views=4, noise="const"))
    batch = stage.batches("train", 0, 1)[0]
    draw = stage.draw(batch)
    chosen = stage.choose(draw)
    with torch.no_grad():
        image, pose = stage.show(stage.generate(draw.z), draw.angles.flatten(0, 1), 4)
        scores = stage.networks["discriminator"](image, pose).view(4, 4)
    expected = draw.angles[torch.arange(4), losses.worst_view(scores)]
    assert torch.equal(chosen[:, 0], expected)
    every = GMPIStage(gmpi(collection, tmp_path, views=4, view_choice="none")).choose(draw)
    assert torch.equal(every, draw.angles)


@pytest.mark.parametrize("options", [{"variant": v} for v in ("vanilla", "tokens", "depth2alpha")]
                         + [{"pose_dim": 9}, {"pose_dim": 0}, {"precision": "bf16"}])  # fmt: skip
def test_T03_every_variant_trains(collection, tmp_path, options):
    planes = 32 if options.get("variant") == "tokens" else 4
    run = fit(GMPIStage, gmpi(collection, tmp_path, max_updates=1, planes=planes, **options))
    assert all(torch.isfinite(v).all() for v in weights(run, ("generator",))["generator"].values())


def test_L01_shading_starts_after_its_step_and_is_counted(collection, tmp_path):
    run = fit(GMPIStage, gmpi(collection, tmp_path, max_updates=4, shading_start=1))
    state = run.checkpoints.load_state(run.checkpoints.find("last"))
    assert state["stage"]["shadings"] == 4  # steps 2 and 3, once in either half


def test_S01_lazy_terms_fire_on_their_steps_and_are_scaled(collection, tmp_path):
    stage = StyleGAN2Stage(flat(collection, tmp_path))
    updates = stage.updates()
    assert updates["r1"].weights["r1"] == pytest.approx(0.0002 * 16**2 / 4 / 2 * 4)
    assert updates["path"].weights["path"] == pytest.approx(2.0 * 2)
    specs = stage.optimizers()
    adam = specs["discriminator"].factory(stage.networks["discriminator"].parameters())
    assert adam.defaults["lr"] == pytest.approx(0.0025 * 4 / 5)
    assert adam.defaults["betas"][1] == pytest.approx(0.99 ** (4 / 5))

    class Recorder:
        device, rank, world = torch.device("cpu"), 0, 1

        def __init__(self):
            self.fired, self.update_count = [], 0

        def update(self, name, terms):
            self.fired.append((self.update_count, name))

        def mean(self, value):
            return value

    recorder = Recorder()
    batch = stage.batches("train", 0, 1)[0]
    for step in range(9):
        recorder.update_count = step
        stage.step(batch, recorder)
    assert [k for k, name in recorder.fired if name == "r1"] == [0, 4, 8]
    assert [k for k, name in recorder.fired if name == "path"] == [0, 2, 4, 6, 8]
    assert sum(name == "generator" for _, name in recorder.fired) == 9


def test_S02_resume_is_bit_exact(collection, tmp_path):
    names = ("generator", "discriminator", "ema")
    whole = fit(StyleGAN2Stage, flat(collection, tmp_path / "a"))
    fit(StyleGAN2Stage, flat(collection, tmp_path / "b", max_updates=3))
    resumed = fit(StyleGAN2Stage, flat(collection, tmp_path / "b"))
    assert equal(weights(whole, names), weights(resumed, names))


def test_S03_its_run_starts_gmpi_by_the_rules_of_a_published_pickle(collection, tmp_path):
    run = fit(StyleGAN2Stage, flat(collection, tmp_path, max_updates=1))
    config = gmpi(collection, tmp_path, pretrained=run.folder, experiment_name="gmpi")
    generator, discriminator = build_generator(config), build_discriminator(config)
    left = start_from(run.folder, generator, discriminator)
    source = weights(run, ("ema", "discriminator"))
    assert all(torch.equal(generator.state_dict()[k], v) for k, v in source["ema"].items())
    assert torch.equal(discriminator.b4.out.weight, source["discriminator"]["b4.out.weight"].expand(16, -1))
    assert all("toalpha" in n or "pos_enc" in n or n.startswith("mapping.") for n in left)
    trained = fit(GMPIStage, replace(config, max_updates=1))
    assert trained.header()["parents"] == [str(run.folder)]


def test_C01_five_presets_and_their_published_settings():
    assert {"FFHQ256", "FFHQ512", "FFHQ1024", "AFHQCat", "MetFaces"} < set(GMPI_PRESETS)
    for name in ("FFHQ256", "FFHQ512", "FFHQ1024", "AFHQCat", "MetFaces"):
        c = GMPI_PRESETS[name]
        assert (c.lr, c.r1, c.clip, c.views, c.planes, c.max_updates) == (0.002, 10.0, 10.0, 4, 32, 5001)
    assert (GMPI_PRESETS["FFHQ256"].batch_size, GMPI_PRESETS["FFHQ1024"].splits) == (8, 2)
    assert "stylegan2-tiny" in STYLEGAN2_PRESETS
    roots = {name: GMPI_PRESETS[name].image_root().as_posix() for name in GMPI_PRESETS if name != "tiny"}
    assert roots == {
        "FFHQ256": "runtime_dataset/ffhq256x256.zip",
        "FFHQ512": "runtime_dataset/ffhq512x512.zip",
        "FFHQ1024": "runtime_dataset/ffhq1024x1024.zip",
        "AFHQCat": "runtime_dataset/afhq_v2_train_cat_512",
        "MetFaces": "runtime_dataset/metfaces1024x1024_xflip",
    }


def test_fid_of_the_average_is_measured_in_training(collection, tmp_path, monkeypatch):
    from likeness.methods.gmpi import method

    def features(network, batches, rule):
        assert rule == "pytorch-fid"
        pictures = torch.cat(list(batches))
        assert pictures.dtype == torch.uint8
        return torch.nn.functional.avg_pool2d(pictures.float() / 255, 8).flatten(1).double().numpy()

    monkeypatch.setattr(method, "load_inception", lambda path: None)
    monkeypatch.setattr(method, "features", features)
    options = dict(inception=tmp_path / "inception.pth", validate_every=2, fid_pictures=6, fid_real=8)
    run = fit(GMPIStage, gmpi(collection, tmp_path, max_updates=4, **options))
    lines = (run.folder / "fid.txt").read_text().split("\n")
    assert [line.split(":")[0] for line in lines] == ["", "2", "4"]
    assert all(float(line.split(":")[1]) > 0 for line in lines[1:])


def test_snapshots_show_the_live_and_the_average_network(collection, tmp_path):
    from PIL import Image

    run = fit(GMPIStage, gmpi(collection, tmp_path, max_updates=2, visuals_every=2))
    found = {path.stem: Image.open(path) for path in (run.folder / "images").rglob("*.png")}
    for name in ("fixed", "tilted", "fixed_ema", "tilted_ema", "random", "random_mpi_rgb", "random_mpi_alpha"):
        assert any(name in stem for stem in found), (name, sorted(found))
    grid = next(picture for stem, picture in found.items() if stem.endswith("fixed_ema"))
    assert grid.size == (5 * 16 + 4 * 2, 5 * 16 + 4 * 2)


def test_tokens_are_trained_with_as_many_planes():
    with pytest.raises(UserError, match="--planes 32"):
        GMPIConfig(experiment_name="t", variant="tokens", planes=8)
