"""The fork's own flag lines -> ours, saying what was left out and why; also its `args.txt`."""

import re
from collections.abc import Sequence
from pathlib import Path

from likeness.errors import UserError
from likeness.files import write_text

RENAMED = {
    "num_epochs": "epochs",
    "random_seed": "seed",
    "num_gpus": "devices",
    "num_workers_per_process": "workers",
    "checkpoint_freq": "save_every",
    "test_freq": "validate_every",
    "metrics_log_rate": "log_every",
    "pix_loss_weights": "pix_loss_weight",
    "seg_loss_weights": "seg_loss_weight",
    "train_load_from_filename": "train_load_from",
    "test_load_from_filename": "test_load_from",
    "augment_with_general_ratio": "general_ratio",
    "root_to_yaws": "yaw_root",
}
"""Flags with the same meaning under another name."""

SAME = frozenset(
    """experiment_dir experiment_name data_root general_data_root batch_size image_size init_experiment_dir
    save_dataset_filenames unfreeze_texture_generator_last_layers unfreeze_inference_generator_last_layers
    calc_stats stats_calc_iters num_visuals num_source_frames num_target_frames
    mask_source_and_target cutoff_shirt stickmen_thickness adam_beta1 bn_momentum adv_pred_type adv_loss_weight
    fem_loss_type fem_loss_weight pix_loss_type seg_loss_type wpr_loss_weight wpr_loss_weight_decay
    wpr_loss_decay_schedule abs_min_yaw abs_max_yaw
    emb_num_channels emb_max_channels emb_output_tensor_size emb_apply_masks emb_no_stickman tex_num_channels
    tex_max_channels tex_input_tensor_size pse_num_channels pse_num_blocks pse_use_harmonic_enc pse_num_harmonics
    inf_num_channels inf_max_channels inf_input_tensor_size inf_apply_masks dis_num_channels dis_max_channels
    dis_num_blocks dis_output_tensor_size dis_no_stickman enh_num_channels enh_max_channels enh_bottleneck_tensor_size
    enh_num_blocks enh_unrolling_depth enh_guiding_rgb_loss_type enh_apply_masks""".split()
)
"""Flags that keep their name."""

BOOLEAN = frozenset(
    """emb_apply_masks emb_no_stickman pse_use_harmonic_enc inf_apply_masks dis_no_stickman enh_apply_masks calc_stats
    save_dataset_filenames mask_source_and_target cutoff_shirt unfreeze_texture_generator_last_layers
    unfreeze_inference_generator_last_layers save_initial_test_before_training frame_num_from_paper skip_test
    same_source_and_target dataset_load_from_txt augment_with_general augmentation_by_general sample_general_dataset
    use_dropout""".split()
)
"""Flags that may stand alone or before True or False."""

FIXED = {
    "pse_in_channels": "it follows from the landmarks (136) and the harmonic encoding",
    "pse_emb_source_pose": "the enhancer stage always embeds the source pose",
    "inf_pred_source_data": "the enhancer stage always predicts the source",
    "inf_calc_grad": "gradients follow from the stage",
    "inf_pred_segmentation": "the mask is always predicted",
    "output_segmentation": "masks are always read and predicted",
    "output_stickmen": "stickmen are always drawn",
    "num_keypoints": "68 landmarks are always used",
    "folder_postfix": "the 68-point layout is always used",
    "networks_train": "the order of the networks follows from the stage",
    "networks_test": "the order of the networks follows from the stage",
    "networks_calc_stats": "statistics are taken of all base networks",
    "losses_train": "a loss is left out by weight 0",
    "losses_test": "see `likeness evaluate bilayer`",
    "metrics": "see `likeness evaluate bilayer`",
    "save_initial_test_before_training": "the first validation follows the first epoch",
    "runner_name": "there is one training loop",
    "images_log_rate": "pictures follow --visuals-every",
    "visual_freq": "pictures follow --visuals-every",
    "project_dir": "results go to --experiment-dir",
    "torch_home": "weights are given by path",
    "optims": "every network has Adam",
    "eps": "1e-7, as published",
    "spn_layers": "convolutions and linear layers",
    "spn_exceptions": "there are none",
    "spn_networks": "all networks; --no-spectral-norm leaves it out",
    "dis_fake_imgs_name": "the stage's own prediction is judged",
    "pix_loss_apply_to": "the low-frequency layer and the target",
    "pix_loss_names": "the term is G_L1",
    "seg_loss_apply_to": "the mask logits and the target's mask",
    "seg_loss_names": "the term is G_BCE",
    "per_loss_apply_to": "the stage's own prediction and the target",
    "wpr_loss_apply_to": "the UV offsets",
    "dataset_name": "never had an effect",
    "debug": "never had an effect here",
    "metrics_root": "give --data-root with phase metrics",
    "use_unet": "that variant is not built",
    "unet_inputs": "that variant is not built",
    "use_source_background": "never had an effect",
    "lps_net": "see `likeness evaluate bilayer`",
    "lps_model": "see `likeness evaluate bilayer`",
    "csm_model": "see `likeness evaluate bilayer`",
    "nme_num_threads": "see `likeness evaluate bilayer`",
    "use_half": "see --precision bf16",
    "use_apex": "see --precision bf16",
    "amp_opt_level": "see --precision bf16",
    "amp_loss_scale": "bfloat16 needs no loss scale",
    "use_closure": "served LBFGS alone",
    "no_disk_write_ops": "results are always written",
    "redirect_print_to_file": "redirect it in the shell",
    "enh_detach_inputs": "inputs are always detached",
    "per_full_net_names": "VGG19 and the VGG16 face network",
    "per_net_layers": "the five published levels",
    "per_loss_names": "VGG19 and the VGG16 face network",
}
"""Flags with no counterpart, and why."""

_LAYER_TYPES = re.compile(
    r"(emb|tex|pse|inf|dis|enh)_(norm_layer|activation|downsampling|upsampling|skip_layer|pixelwise_bias)_type"
)


def rewrite(verb: str, arguments: Sequence[str]) -> list[str]:
    """Rewrite the words after `likeness VERB bilayer`; lines without any of the fork's flags pass unchanged.

    Raises:
        UserError: a flag's value has no counterpart.
    """
    if verb != "train" or not any(re.match(r"--\w*_\w+", word) for word in arguments):
        return list(arguments)
    words, pairs = _pairs(arguments)
    result: dict[str, str] = {}
    notes: list[str] = []
    for name, value in pairs:
        _translate(name, value, result, notes, dict(pairs))
    for note in notes:
        print(note)
    return words + [part for name, value in result.items() for part in _option(name, value)]


def _pairs(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Split into our own words (kept as they are) and the fork's (name, value); names with hyphens are ours."""
    words: list[str] = []
    pairs: list[tuple[str, str]] = []
    index = 0
    while index < len(arguments):
        word, equals, value = arguments[index].partition("=")
        name = word[2:]
        known = name in SAME or name in RENAMED or name in FIXED or "_" in name or name in ("lrs", "metrics")
        index += 1
        if not word.startswith("--") or "-" in name or not known:
            words.append(arguments[index - 1])
            continue
        values = [value] if equals else []
        while not equals and index < len(arguments) and not arguments[index].startswith("--"):
            values.append(arguments[index])
            index += 1
        pairs.append((name, " ".join(values) if values else "True"))
    return words, pairs


def _translate(name: str, value: str, out: dict[str, str], notes: list[str], every: dict[str, str]) -> None:
    def drop(why: str) -> None:
        notes.append(f"--{name} {value}: left out, {why}")

    if name in ("init_networks", "frozen_networks", "networks_to_train"):
        out[name] = " ".join(value.replace(",", " ").split())
    elif name in ("which_epoch", "init_which_epoch"):
        _epoch(name, value, out, notes, every)
    elif name in ("lrs", "wgv_mode", "wgv_momentum"):
        rates = {part.split(":")[-1].strip() for part in value.split(",")}
        if name == "lrs" and len(rates) == 1:
            out["lr"] = rates.pop()
        elif name == "lrs":
            raise UserError(f"--lrs: every network has one learning rate here, found {value!r}: use --lr")
        else:
            drop("weights are not averaged")
    elif name == "frame_num_from_paper":
        out["pairs"] = "paper" if _true(value) else "random"
    elif name == "same_source_and_target":
        if _true(value):
            out["pairs"] = "same"
    elif name in ("dataloader_name", "train_dataloader_name", "test_dataloader_name"):
        if value == "yaw":
            out["pairs" if name != "test_dataloader_name" else "test_pairs"] = "yaw_min_max"
        elif value != "voxceleb2":
            raise UserError(f"--{name}: expected voxceleb2 or yaw, found {value!r}")
    elif name == "skip_test":
        if _true(value):
            out["validate_every"] = "0"
    elif name in ("dataset_load_from_txt", "augment_with_general"):
        if not _true(value):
            keys = ("train_load_from_filename", "test_load_from_filename")
            for key in keys if name == "dataset_load_from_txt" else ("general_data_root",):
                out.pop(RENAMED.get(key, key), None)
                every.pop(key, None)
    elif name == "augmentation_by_general":
        if _true(value):
            out["general_mixing"] = "falling"
    elif name == "sample_general_dataset":
        if _true(value):
            out["general_videos"] = "22"
    elif name == "use_dropout":
        pass
    elif name == "dropout_networks":
        if _true(every.get("use_dropout", "False")):
            for part in value.split(","):
                network, _, share = part.partition(":")
                out[f"{network.strip().removesuffix('_generator')}_dropout"] = share.strip()
    elif name == "pretrained_weights_dir":
        _perceptual(Path(value), out, notes)
    elif name == "per_loss_weights":
        weights = [part.strip() for part in value.split(",")]
        out["per_vgg19_weight"] = weights[0]
        if len(weights) > 1:
            out["per_vggface_weight"] = weights[1]
    elif name in ("test_load_from_filename", "train_load_from_filename", "general_data_root"):
        switch = "augment_with_general" if name == "general_data_root" else "dataset_load_from_txt"
        if value and _true(every.get(switch, "True" if name == "general_data_root" else "False")):
            out[RENAMED.get(name, name)] = value
    elif _LAYER_TYPES.fullmatch(name) or name in FIXED or name.startswith(("replace_", "unet_", "ssm_", "lps_calc")):
        drop(FIXED.get(name, "that variant is not built; the published layer types are used"))
    elif name in SAME or RENAMED.get(name):
        if value:
            out[RENAMED.get(name) or name] = str(_true(value)) if name in BOOLEAN else value
    else:
        raise UserError(f"--{name} is no flag of the bilayer fork nor one of ours")


def _epoch(name: str, value: str, out: dict[str, str], notes: list[str], every: dict[str, str]) -> None:
    if value in ("none", "None", ""):
        if name == "which_epoch":
            out["resume"] = "none"
        return
    if name == "init_which_epoch":
        out[name] = value
        return
    run = Path(every.get("experiment_dir", ".")) / "runs" / every.get("experiment_name", "default")
    if not list((run / "checkpoints").glob(f"{value}_*.pth")):
        notes.append(f"--which_epoch {value}: {run} has no such checkpoint, training starts from scratch")
        out["resume"] = "none"
        return
    notes.append(f"--which_epoch {value}: the run is taken up from its last finished checkpoint")
    out["resume"] = "auto"


def _perceptual(folder: Path, out: dict[str, str], notes: list[str]) -> None:
    base = folder / "pretrained_weights" if (folder / "pretrained_weights").is_dir() else folder
    found = {
        "vggface_weights": sorted(base.glob("perceptual/vgg16_face_caffe.pth")),
        "vgg19_weights": sorted(base.glob("perceptual/vgg19*.pth")),
    }
    for field, paths in found.items():
        if paths:
            out[field] = str(paths[0])
        else:
            notes.append(f"--pretrained_weights_dir: no file for --{field.replace('_', '-')} in {base / 'perceptual'}")


def _true(value: str) -> bool:
    return value.strip().lower() in ("true", "1", "yes")


def _option(name: str, value: str) -> list[str]:
    return [f"--{name.replace('_', '-')}", *value.split()]


def write_args(path: Path, values: dict[str, object]) -> None:
    """Write the fork's `args.txt`: sorted `key: value` lines."""
    write_text(path, "".join(f"{key}: {values[key]}\n" for key in sorted(values)))


def read_args(path: Path) -> dict[str, object]:
    """Read the fork's `args.txt`: digits become int, numbers float, True and False bool, the rest stays text.

    `per_loss_weights` and `pix_loss_weights` stay text, as its own reader leaves them.

    Raises:
        UserError: no such file, or a line without a colon.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError("no such args.txt", path=path) from None
    values: dict[str, object] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        key, colon, text = line.partition(":")
        if not colon:
            raise UserError(f"line {number}: expected `key: value`, found {line[:60]!r}", path=path)
        values[key.strip()] = _typed(key.strip(), text.strip())
    return values


def _typed(key: str, text: str) -> object:
    if key in ("per_loss_weights", "pix_loss_weights"):
        return text
    if text in ("True", "False"):
        return text == "True"
    if text.isdigit():
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
