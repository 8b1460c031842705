"""The original launcher's flags and yaml keys, rewritten to ours; what is dropped is told with its reason."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from likeness.errors import UserError
from likeness.methods.gmpi.compat_yaml import is_original, read_yaml
from likeness.methods.gmpi.config import GMPI_PRESETS

UNIMPLEMENTED = {
    "use_edge_aware_loss": False, "use_cano_reconstruct_loss": False, "only_tune": False, "D_pred_pos": False,
    "load_dir": "", "D_from_stylegan2": True, "D_train": True, "G_iters": 1,
}  # fmt: skip
"""Options that the original declared and never implemented otherwise, with the one value that works."""
LAUNCHER = {"run_dataset", "nproc_per_node", "task_type", "run_type", "master_port", "master_addr"}
DROPPED = {
    "master_port": "processes find each other by themselves",
    "master_addr": "processes find each other by themselves",
    "task_type": "there is one task, gmpi",
    "run_type": "the verb is train",
}
KEYS = {
    "SEED": "seed", "LOG_DIR": "experiment-dir", "TRAIN.total_iters": "max-updates", "TRAIN.n_epochs": "epochs",
    "TRAIN.eval_freq": "validate-every", "TRAIN.sample_interval": "visuals-every",
    "TRAIN.model_save_interval": "save-every",
    "TRAIN.n_dataloader_workers": "workers", "TRAIN.aug_with_lighting": "shading",
    "TRAIN.aug_with_lighting_max_ka": "ambient", "TRAIN.aug_with_lighting_max_kd": "diffuse",
    "TRAIN.aug_with_lighting_start_iter": "shading-start", "TRAIN.aug_with_lighting_grow_n_iters": "shading-ramp",
    "TRAIN.normalized_xyz_range": "depth-range", "TRAIN.D_cond_pose_dim": "pose-dim",
    "TRAIN.n_view_per_z_in_train": "views", "TRAIN.G_select_worse_view": "view-choice",
    "MPI.n_gen_planes": "planes", "MPI.distance_sample_method": "spacing", "MPI.align_corners": "align-corners",
    "MPI.use_confined_volume": "confined", "MPI.depth2alpha_n_z_bins": "depth-bins",
    "MODEL.STYLEGAN2.G_final_img_act": "activation", "MODEL.STYLEGAN2.pos_enc_multires": "frequencies",
    "MODEL.STYLEGAN2.gen_alpha_largest_res": "largest-alpha",
    "MODEL.STYLEGAN2.background_alpha_full": "full-background",
    "MODEL.STYLEGAN2.mapping_kwargs.num_layers": "mapping-layers",
    "MODEL.STYLEGAN2.synthesis_kwargs.channel_max": "channel-max",
    "MODEL.STYLEGAN2.discriminator.cmap_dim": "embedding-dim",
}  # fmt: skip
"""Key of gmpi.yaml (under GMPI) -> our flag."""
MODE = "MODEL.STYLEGAN2.torgba_cond_on_pos_enc"


def refuse_unimplemented(options: Mapping[str, Any]) -> None:
    """Raise when an option (by its last name) asks for what was never implemented.

    Raises:
        UserError: naming it.
    """
    for key, value in options.items():
        name = key.rsplit(".", 1)[-1]
        if name in UNIMPLEMENTED and value != UNIMPLEMENTED[name]:
            hint = "; a run resumes by itself (--resume)" if name == "load_dir" else ""
            raise UserError(
                f"{name}={value!r} was declared by the original and never implemented: leave it at "
                f"{UNIMPLEMENTED[name]!r}{hint}"
            )
        if name.startswith(("G_tune_", "edge_aware_loss", "cano_reconstruct_loss")):
            raise UserError(f"{name} belongs to an option that the original never implemented: leave it out")


def rewrite(verb: str, arguments: Sequence[str]) -> list[str]:
    """Rewrite `--run_dataset ...` with trailing `KEY value` pairs of the yaml, and `--config gmpi.yaml`.

    Lines of ours come back as they are.

    Raises:
        UserError: an unknown key, or an option that was never implemented.
    """
    words = [word for given in arguments for word in (given.split("=", 1) if given.startswith("--") else [given])]
    names = {word[2:].replace("-", "_") for word in words if word.startswith("--")}
    file = words[words.index("--config") + 1] if "--config" in words[:-1] else None
    original = file is not None and is_original(file)
    if verb != "train" or not (original or "run_dataset" in names):
        return list(arguments)
    if original:
        at = words.index("--config")
        words = words[:at] + words[at + 2 :]
        if "run_dataset" not in names:  # the rest of the line is ours
            rewritten = [*read_yaml(str(file)), *words]
            print(f"likeness train gmpi {shlex.join(rewritten)}")
            return rewritten
    values, pairs = _read(words)
    dataset = values["run_dataset"]
    if dataset not in GMPI_PRESETS:
        raise UserError(f"--run_dataset {dataset}: choose one of {', '.join(GMPI_PRESETS)}")
    rewritten = read_yaml(str(file), dataset) if original else ["--preset", dataset]
    processes = int(values.get("nproc_per_node", "1"))
    if processes < 1:
        raise UserError("--nproc_per_node 0 starts nothing: give at least 1")
    if processes > 1:
        batch = GMPI_PRESETS[dataset].batch_size * processes
        rewritten += ["--devices", str(processes), "--batch-size", str(batch)]
    for name in sorted(set(values) & set(DROPPED)):
        print(f"--{name}: dropped, {DROPPED[name]}")
    rewritten += overrides(pairs)
    print(f"likeness train gmpi {shlex.join(rewritten)}")
    return rewritten


def overrides(pairs: Mapping[str, Any]) -> list[str]:
    """Our flags of the original's dotted yaml keys, with or without `GMPI.` in front.

    Raises:
        UserError: an unknown key, or an option that was never implemented.
    """
    plain = {key.removeprefix("GMPI."): value for key, value in pairs.items()}
    refuse_unimplemented(plain)
    flags: list[str] = []
    mode, function = plain.pop(MODE, None), plain.pop(f"{MODE}_embed_func", None)
    if mode is not None or function is not None:
        from likeness.methods.gmpi.published import variant_of

        flags += ["--variant", variant_of(mode or "normalize_add_z", function or "modulated_lrelu")]
    for key, value in plain.items():
        if key.rsplit(".", 1)[-1] in UNIMPLEMENTED:
            continue
        if key not in KEYS:
            raise UserError(f"{key} is no option that does anything in GMPI; known are {', '.join(sorted(KEYS))}")
        flags += [f"--{KEYS[key]}", str(value)]
    return flags


def _read(words: list[str]) -> tuple[dict[str, str], dict[str, Any]]:
    values: dict[str, str] = {}
    pairs: dict[str, Any] = {}
    if len(words) % 2:
        raise UserError(f"every flag needs one value, found {shlex.join(words)}")
    for flag, value in zip(words[::2], words[1::2]):
        name = flag[2:].replace("-", "_")
        if flag.startswith("--") and name in LAUNCHER:
            values[name] = value
        elif flag.startswith("--"):
            raise UserError(f"the original's launcher has no {flag}; known are {', '.join(sorted(LAUNCHER))}")
        else:
            pairs[flag] = yaml.safe_load(value)
    return values, pairs
