"""The flags of the originals' train.py, validate.py, render.py and inference.py, and what becomes of each."""

import ast
from collections.abc import Mapping, Sequence

from likeness.errors import UserError
from likeness.methods.neural_actor import compat_rules as rules
from likeness.methods.neural_actor.compat_rules import (
    Dropped,
    Given,
    Rule,
    dropped,
    numbers,
    only,
    refused,
    same,
    size,
    switch,
)

TRAIN: Mapping[str, Rule] = {
    "user-dir": dropped("there are no plug-in packages"),
    "task": only("single_object_rendering", reason="there is one task"),
    "arch": Rule(rules.arch),
    "criterion": only("srn_loss", reason="there is one criterion"),
    "no-sampling-at-reader": Rule(rules.sampling_at_reader, "False", switch=True),
    "sampling-on-mask": Rule(rules.sampling_on_mask),
    "no-preload": dropped("pictures are read when they are needed", switch=True),
    "load-video-dataset": dropped("the folder's layout is recognised", switch=True),
    "num-workers": same("workers"),
    "broadcast-buffers": dropped("each process keeps its own and saves them", switch=True),
    "train-views": same("train-views", "0..50"),
    "valid-views": same("valid-views", "0..50"),
    "view-resolution": size("view-resolution", "64x64"),
    "valid-view-resolution": Rule(rules.valid_size),
    "subsample-train": same("subsample-train", "-1"),
    "subsample-valid": same("subsample-valid", "-1"),
    "start-end": numbers("start-end", count=2),
    "mesh": Rule(rules.body_file("mesh", "canonical.obj")),
    "weights": Rule(rules.body_file("weights", "skinning_weight.txt")),
    "texuv": Rule(rules.body_file("texuv", "uvmapping.obj")),
    "new-tpose": Rule(rules.new_tpose, ""),
    "min-dis-eps": same("render.min-dis-eps", "0.15"),
    "use-local-coordinate": switch("network.use-local-coordinate"),
    "additional-deform": Rule(rules.deformation, ""),
    "texture-layers": same("network.texture-layers", "1"),
    "texture-to-deformation": switch("network.texture-to-deformation"),
    "use-texture-encoder": switch("network.use-texture-encoder"),
    "texture-encoder-layers": same("network.texture-encoder-layers"),
    "fixed-num-samples": Rule(rules.samples, ""),
    "inputs-to-texture": same("network.inputs-to-texture"),
    "inputs-to-density": same("network.inputs-to-density"),
    "transparent-background": numbers("network.background", "1.0", count=3),
    "background-stop-gradient": switch("network.background-stop-gradient"),
    "discrete-regularization": switch("render.discrete-regularization"),
    "color-weight": same("color-weight", "256.0"),
    "alpha-weight": Rule(rules.alpha),
    "fix-alpha-loss": Rule(lambda value, given: (), switch=True),
    "l1": switch("l1"),
    "optimizer": only("adam", reason="Adam is the published optimiser"),
    "adam-betas": numbers("adam-betas", count=2),
    "lr-scheduler": only("exp", reason="exponential decay is the published schedule"),
    "decay-steps": same("decay-steps"),
    "decay-rate": same("decay-rate"),
    "lr": same("lr"),
    "warmup-updates": same("warmup-updates"),
    "clip-norm": same("clip-norm"),
    "save-interval-updates": Rule(rules.save_interval_updates, "0"),
    "max-update": Rule(rules.epochs),
    "virtual-epoch-steps": same("virtual-epoch-steps"),
    "save-interval": Rule(rules.save_interval),
    "keep-interval-updates": Rule(rules.retention("updates"), "-1"),
    "keep-last-epochs": Rule(rules.retention("epochs"), "-1"),
    "no-epoch-checkpoints": dropped("checkpoints are counted in updates or in epochs, not in both", switch=True),
    "batch-size": only("1", reason="a step sees one frame; --view-per-batch says how many of its views"),
    "view-per-batch": same("batch-size", "6"),
    "pixel-per-view": same("pixel-per-view", "2048"),
    "chunk-size": same("render.chunk-size", "64"),
    "valid-chunk-size": dropped("validation uses --chunk-size"),
    "log-interval": same("log-every"),
    "log-format": dropped("log.jsonl in the run's folder is JSON, one object a line"),
    "tensorboard-logdir": dropped("TensorBoard finds the run's folder: tensorboard --logdir RUN"),
    "save-dir": Rule(rules.run_folder),
    "seed": same("seed"),
    "fp16": refused("--precision bf16 is the fast way here", switch=True),
    "black-background": refused("it was a mid grey by mistake; give --transparent-background -1", switch=True),
    "vgg-weight": refused("the published runs do not use it"),
    "ssim-weight": refused("the published runs do not use it"),
    "depth-weight": refused("it never worked"),
}
"""Flags of the renderer's train.py; `--preset`, `--stage` and our own flags may stand between them."""

TEXTURE_TRAIN: Mapping[str, Rule] = {
    "config": dropped("the published settings are the preset `paper`; other values are flags of ours"),
    "single-gpu": dropped("--devices says how many there are", switch=True),
    "local-rank": dropped("processes are started by torchrun or --devices"),
    "traindir": same("data"),
    "logdir": Rule(rules.run_folder),
    "checkpoint": Rule(rules.checkpoint),
    "seed": same("seed", "0"),
}
"""Flags of the texture predictor's train.py."""

TEXTURE_INFER: Mapping[str, Rule] = {
    "config": dropped("sizes are read from the checkpoint"),
    "single-gpu": dropped("inference runs in one process", switch=True),
    "num-workers": dropped("pictures are read when they are needed"),
    "checkpoint": same("run"),
    "testdir": same("data"),
    "output-dir": same("out"),
    "logdir": dropped("nothing is logged"),
    "seed": dropped("inference draws nothing at random"),
}
"""Flags of the texture predictor's inference.py."""

OVERRIDES: Mapping[str, Rule] = {
    **{name: dropped("a run holds its own body") for name in ("mesh", "weights", "texuv", "new-tpose")},
    **{name: dropped("it is recorded in the run") for name in ("min-dis-eps", "fixed-num-samples")},
    "chunk-size": same("chunk-size"),
    "valid-chunk-size": same("chunk-size"),
}
"""What `--model-overrides` names in the original's own examples, and what becomes of it after training."""


def overrides(value: str, given: Given) -> Sequence[str]:
    """`--model-overrides`: a dictionary of flags to change in the checkpoint."""
    try:
        changes = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        changes = None
    if not isinstance(changes, dict):
        raise UserError(f"expected a dictionary such as {{'mesh': 'canonical.obj'}}, found {value!r}")
    words: list[str] = []
    for key, change in changes.items():
        name = str(key).replace("_", "-")
        if name not in OVERRIDES:
            raise UserError(f"{key!r} cannot be changed after training; known are {', '.join(sorted(OVERRIDES))}")
        try:
            words += OVERRIDES[name].translate(str(change), given)
        except Dropped as reason:
            print(f"--model-overrides {key} is dropped: {reason}")
    return words


_RECORDED = (
    "arch", "criterion", "train-views", "subsample-train", "min-dis-eps", "texture-layers", "additional-deform",
    "fixed-num-samples", "inputs-to-texture", "inputs-to-density", "transparent-background", "color-weight",
    "alpha-weight", "batch-size", "view-per-batch", "pixel-per-view", "chunk-size", "valid-chunk-size", "seed",
)  # fmt: skip
_RECORDED_SWITCHES = (
    "no-sampling-at-reader", "use-local-coordinate", "texture-to-deformation", "use-texture-encoder",
    "background-stop-gradient", "discrete-regularization", "broadcast-buffers",
)  # fmt: skip

COMMON: Mapping[str, Rule] = {
    "path": Rule(rules.run_path),
    "model-overrides": Rule(overrides),
    "start-end": numbers("start-end", count=2),
    **{name: TRAIN[name] for name in ("user-dir", "task", "no-preload", "load-video-dataset")},
    **{name: dropped("a run holds its own body") for name in ("mesh", "weights", "texuv", "new-tpose")},
    **{name: dropped("it is recorded in the run") for name in _RECORDED},
    **{name: dropped("it is recorded in the run", switch=True) for name in _RECORDED_SWITCHES},
    "num-workers": dropped("pictures are read when they are needed"),
    "log-format": dropped("results are printed and written to files"),
    "log-interval": dropped("results are printed and written to files"),
}
"""Flags that validate.py and render.py share."""

VALIDATE: Mapping[str, Rule] = {
    **COMMON,
    "valid-views": same("views", "0..50"),
    "valid-view-resolution": size("resolution"),
    "view-resolution": Rule(rules.valid_resolution),
    "subsample-valid": same("subsample", "-1"),
    "output-valid": same("out"),
    "valid-view-per-batch": dropped("views are rendered one by one; the figures are the same"),
}
"""Flags of validate.py."""

RENDER: Mapping[str, Rule] = {
    **COMMON,
    "render-beam": dropped("cameras are rendered one by one"),
    "render-resolution": size("resolution", "512x512"),
    "render-path-style": same("path-style"),
    "render-path-args": same("path-args"),
    "render-angular-speed": same("angular-speed", "1"),
    "render-num-frames": same("num-frames", "500"),
    "render-at-vector": numbers("at-vector", "(0,0,0)", count=3),
    "render-up-vector": numbers("up-vector", "(0,0,-1)", count=3),
    "render-output": same("out"),
    "render-output-types": Rule(rules.words_of("output-types"), many=True),
    "render-save-fps": same("save-fps", "24"),
    "render-combine-output": switch("combine-output"),
    "render-camera-poses": same("camera-poses"),
    "render-camera-intrinsics": same("camera-intrinsics"),
    "render-views": same("views"),
    "render-maximum-frames": same("maximum-frames"),
    "view-resolution": dropped("--render-resolution says the size"),
    "valid-view-resolution": dropped("--render-resolution says the size"),
}
"""Flags of render.py."""

TABLES = {"evaluate": VALIDATE, "animate": RENDER, "infer": TEXTURE_INFER}
ORIGINALS = {
    "evaluate": {"path", "output-valid", "valid-views", "user-dir"},
    "animate": {"path", "user-dir", *(name for name in RENDER if name.startswith("render-"))},
    "infer": {"testdir", "output-dir"},
}
"""Flags that show a line to be the originals'."""
