"""The originals' command lines: every flag has its place here, or a reason why not."""

import dataclasses
import shlex

import pytest

from likeness.cli.arguments import parse, take_option
from likeness.errors import UserError
from likeness.methods.neural_actor.animate import AnimateConfig
from likeness.methods.neural_actor.compat import rewrite
from likeness.methods.neural_actor.compat_rules import Dropped
from likeness.methods.neural_actor.compat_tables import RENDER, TEXTURE_INFER, TEXTURE_TRAIN, TRAIN, VALIDATE
from likeness.methods.neural_actor.config import PRESETS
from likeness.methods.neural_actor.evaluate import EvaluateConfig
from likeness.methods.neural_actor.vid2vid.config import PRESETS as TEXTURE_PRESETS
from likeness.methods.neural_actor.vid2vid.infer import InferConfig

DATA = "workplace/lan/training_images"
PUBLISHED = f"""{DATA} --arch joint_nerf_coarse --seed 2
--user-dir fairnr --task single_object_rendering --no-sampling-at-reader --no-preload --load-video-dataset
--num-workers 0 --broadcast-buffers
--train-views 0..11 --view-resolution 1024x1024 --valid-views 0,3,7,10 --valid-view-resolution 1024x1024
--subsample-valid 200 --subsample-train 1
--mesh {DATA}/canonical.obj --weights {DATA}/skinning_weight.txt --texuv {DATA}/uvmapping.obj
--new-tpose {DATA}/transform_tpose.json
--min-dis-eps 0.06 --use-local-coordinate --additional-deform pos --texture-layers 3 --texture-to-deformation
--use-texture-encoder
--fixed-num-samples 64 --inputs-to-texture feat:0:256,attnout:0:256,texture:0:512,ray:4:3:b
--transparent-background 1.0,1.0,1.0 --background-stop-gradient --discrete-regularization
--color-weight 1.0 --alpha-weight 0.01 --criterion srn_loss
--optimizer adam --adam-betas '(0.9,0.999)' --lr-scheduler exp --decay-steps 250000 --lr 0.0002 --warmup-updates 1
--clip-norm 0.0
--batch-size 1 --view-per-batch 1 --pixel-per-view 1024 --chunk-size 256
--save-interval-updates 500 --max-update 300000 --virtual-epoch-steps 5000 --save-interval 1 --keep-interval-updates 5
--keep-last-epochs 5 --no-epoch-checkpoints
--log-interval 10 --log-format json --tensorboard-logdir workplace/checkpoints/tensorboard/lan_x
--save-dir workplace/checkpoints/lan_x"""


def configured(line):
    """The configuration that `likeness train neural_actor LINE` trains with."""
    words = rewrite("train", shlex.split(line))
    stage, words = take_option(words, "stage")
    preset, words = take_option(words, "preset")
    presets = {"renderer": PRESETS, "texture": TEXTURE_PRESETS}[stage]
    default = presets[preset or "paper"]
    return parse(type(default), words, "likeness train neural_actor", default=default)


def test_NA15_published_training_line_is_the_preset_paper(capsys):
    config = configured(PUBLISHED)
    differing = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(PRESETS["paper"], field.name)
    }
    assert {name: str(value) for name, value in differing.items()} == {
        "experiment_dir": "workplace/checkpoints",
        "experiment_name": "lan_x",
        "data": DATA,
    }
    told = capsys.readouterr().out
    for name in ("user-dir", "broadcast-buffers", "alpha-weight", "log-format", "keep-last-epochs", "save-interval"):
        assert f"--{name} is dropped: " in told
    assert "never applies it" in told


SECTION_9_TRAIN = """user-dir task arch no-sampling-at-reader no-preload load-video-dataset num-workers
broadcast-buffers train-views valid-views view-resolution valid-view-resolution subsample-valid
subsample-train mesh weights texuv new-tpose min-dis-eps use-local-coordinate additional-deform
texture-layers texture-to-deformation use-texture-encoder fixed-num-samples inputs-to-texture
inputs-to-density transparent-background background-stop-gradient discrete-regularization
color-weight alpha-weight criterion optimizer adam-betas lr-scheduler decay-steps lr
warmup-updates clip-norm decay-rate save-interval-updates max-update virtual-epoch-steps
save-interval keep-interval-updates keep-last-epochs no-epoch-checkpoints batch-size
view-per-batch pixel-per-view chunk-size log-interval log-format tensorboard-logdir save-dir
seed""".split()
SECTION_9_RENDER = """path render-beam render-resolution render-angular-speed render-num-frames render-path-style
render-path-args render-at-vector render-up-vector render-output render-output-types render-save-fps
render-combine-output render-camera-poses render-camera-intrinsics render-views render-maximum-frames start-end
model-overrides""".split()


def test_NA15_every_published_flag_has_a_place():
    assert set(SECTION_9_TRAIN) <= set(TRAIN)
    assert set(SECTION_9_RENDER) <= set(RENDER)
    assert {"output-valid", "valid-view-per-batch", "path"} <= set(VALIDATE)
    assert {"config", "single-gpu", "traindir", "logdir", "checkpoint", "seed"} <= set(TEXTURE_TRAIN)
    assert {"config", "single-gpu", "testdir", "output-dir", "checkpoint", "seed"} <= set(TEXTURE_INFER)


def test_NA15_flags_left_out_take_the_originals_defaults():
    config = configured(
        f"{DATA} --arch joint_nerf_coarse --save-interval 2 --keep-last-epochs 3 --fix-alpha-loss "
        "--alpha-weight=0.01 --view-resolution 32x48 --valid-view-resolution 64 --start-end '(2,9)' "
        "--mesh elsewhere/body.obj --accelerator cpu --max-update 700 --virtual-epoch-steps 300"
    )
    assert config.render.min_dis_eps == 0.15 and config.render.fixed_num_samples == 80
    assert config.network.texture_layers == 1 and config.color_weight == 256 and config.pixel_per_view == 2048
    assert not (config.network.use_local_coordinate or config.network.use_texture_encoder or config.new_tpose)
    assert not (config.network.additional_deform or config.network.background_stop_gradient)
    assert (config.batch_size, config.train_views, config.subsample_valid) == (6, "0..50", -1)
    assert (config.save_every, config.save_unit, config.keep_last) == (2, "epoch", 3)
    assert (config.alpha_weight, config.start_end, config.accelerator) == (0.01, (2, 9), "cpu")
    assert (config.view_resolution, config.valid_view_resolution) == ((32, 48), (64, 64))
    assert str(config.body.mesh) == "elsewhere/body.obj" and (config.epochs, config.max_updates) == (3, 700)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--sample-faster 3", "--sample-faster is no flag"),
        ("--task translation", "--task: found 'translation'"),
        ("--arch joint_nerf_coarse_experts", "joint_nerf_coarse and joint_nerf"),
        ("--additional-deform weight", "only `pos` was ever implemented"),
        ("--optimizer sgd", "--optimizer: found 'sgd'"),
        ("--batch-size 2", "--view-per-batch"),
        ("--fp16", "--precision bf16"),
        ("--view-resolution big", "expected a size HxW"),
        ("--adam-betas (0.9)b", "expected 2 numbers"),
        ("--max-update many", "expected a number"),
        ("--max-update", "needs a value"),
        ("second/folder", "expected one folder"),
    ],
)
def test_NA15_flags_and_values_without_counterpart_fail_by_name(flags, words):
    with pytest.raises(UserError) as error:
        rewrite("train", [DATA, "--arch", "joint_nerf_coarse", *flags.split()])
    assert words in str(error.value)


def test_NA15_checkpoints_of_a_line_that_trained_here_are_found(tmp_path):
    (tmp_path / "runs" / "lan_x").mkdir(parents=True)
    saved = tmp_path / "lan_x"
    for name, which in (("checkpoint_best.pt", "best"), ("checkpoint_2_700.pt", "2-700"), ("checkpoint3.pt", "3")):
        words = rewrite("animate", ["--path", str(saved / name), "--render-output", "o"])
        assert words[:4] == ["--run", str(tmp_path / "runs" / "lan_x"), "--which", which]
    (tmp_path / "nerf_lan.pt").touch()
    with pytest.raises(UserError, match="likeness import neural_actor .*nerf_lan.pt"):
        rewrite("animate", ["--path", str(tmp_path / "nerf_lan.pt"), "--render-output", "o"])


@pytest.mark.parametrize(
    ("table", "config"), [(RENDER, AnimateConfig), (VALIDATE, EvaluateConfig), (TEXTURE_INFER, InferConfig)]
)
def test_NA15_every_flag_leads_to_one_that_the_verb_has(table, config):
    ours = {field.name.replace("_", "-") for field in dataclasses.fields(config)}
    for rule in table.values():
        for value in ("1", "(0,1,0)", "(0,1)", "64x64", "True", "False"):
            try:
                words = rule.translate(value, {})
            except (UserError, Dropped, KeyError):
                continue
            assert {word[2:].removeprefix("no-") for word in words if word.startswith("--")} <= ours


def test_NA15_both_architectures_and_samplers():
    config = configured(f"{DATA} --arch joint_nerf --no-sampling-at-reader --hierarchical-loss --sampling-on-bbox")
    assert config.render == dataclasses.replace(
        PRESETS["joint_nerf"].render, min_dis_eps=0.15, chunk_size=64, discrete_regularization=False
    )
    assert config.hierarchical_loss and config.sampling_on_bbox and not config.sampling_at_reader
    assert configured(f"{DATA} --arch joint_nerf_coarse").sampling_at_reader
    assert configured(f"{DATA} --arch joint_nerf_coarse --sampling-on-mask 0.25").sampling_on_mask == 0.75


def test_NA15_our_own_lines_pass_unchanged():
    ours = ["--preset", "tiny", "--data", "x", "--new-tpose", "--render.chunk-size", "8"]
    assert rewrite("train", ours) == ours
    assert rewrite("capture", ["OUT"]) == ["OUT"]


def test_NA15_texture_predictor_lines(capsys):
    config = configured("--config ../vid2vid.yaml --single_gpu --traindir lan/vid2vid --logdir out/lan --seed 3")
    assert type(config) is type(TEXTURE_PRESETS["paper"]) and str(config.data) == "lan/vid2vid" and config.seed == 3
    assert (str(config.experiment_dir), config.experiment_name) == ("out", "lan")
    assert "--config is dropped: " in capsys.readouterr().out
    with pytest.raises(UserError, match="likeness import neural_actor vid2vid_lan.pt"):
        rewrite("train", "--traindir d --logdir l --checkpoint vid2vid_lan.pt".split())
    with pytest.raises(UserError, match="--local_size is no flag|--local-size is no flag"):
        rewrite("train", "--traindir d --logdir l --local_size 3".split())
    words = rewrite("infer", "--config c.yaml --single_gpu --checkpoint c.pt --testdir d --output_dir o".split())
    assert words == "--run c.pt --data d --out o".split()


def test_NA15_validation_and_rendering_lines(capsys):
    line = f"{DATA} --path c.pt --valid-views 0,3 --valid-view-resolution 64x32 --subsample-valid 10 --output-valid o"
    words = rewrite("evaluate", line.split())
    assert words == f"--data {DATA} --run c.pt --views 0,3 --resolution 64 32 --subsample 10 --out o".split()
    line = f"""{DATA} --user-dir fairnr --path c.pt --render-beam 7 --render-path-style zoomin_circle
    --render-path-args "{{'radius': 3, 'h': 0.5}}" --render-at-vector "(0,1,0)" --render-up-vector "(0,-1,0)"
    --render-output out --render-output-types "color depth normal" --render-resolution 64x64 --render-num-frames 3
    --render-save-fps 12 --model-overrides "{{'mesh': '{DATA}/canonical.obj', 'texuv': 'x/uv.obj'}}" """
    words = rewrite("animate", shlex.split(line))
    assert words[:4] == ["--data", DATA, "--run", "c.pt"] and "--no-combine-output" in words
    assert "--model-overrides texuv is dropped: a run holds its own body" in capsys.readouterr().out
    for part in ("--at-vector 0 1 0", "--up-vector 0 -1 0", "--output-types color depth normal", "--save-fps 12"):
        assert part in " ".join(words)
    with pytest.raises(UserError, match="'arch' cannot be changed"):
        rewrite("animate", ["--path", "c.pt", "--model-overrides", "{'arch': 'x'}"])
    with pytest.raises(UserError, match="expected a dictionary"):
        rewrite("animate", ["--path", "c.pt", "--model-overrides", "__import__('os')"])
