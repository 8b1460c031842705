"""The fork's own flag lines -> ours, saying what was left out and why; also its `args.txt`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from likeness.errors import UserError
from likeness.methods.bilayer.compat_flags import (
    BOOLEAN,
    DROPPED,
    KNOWN,
    LISTS,
    LOSSES,
    MEASURES,
    ONLY,
    PREFIXES,
    RENAMED,
    SAME,
    SPECIAL,
    VARIANTS,
)
from likeness.methods.bilayer.networks.options import NetworkOptions

Options = dict[str, list[str]]


def rewrite(verb: str, arguments: Sequence[str]) -> list[str]:
    """Rewrite the words after `likeness VERB bilayer`; lines without any of the fork's flags pass unchanged.

    Raises:
        UserError: a flag is not known, or its value asks for something that is not built.
    """
    if verb != "train" or not any(_theirs(word) for word in arguments):
        return list(arguments)
    words, pairs = _pairs(arguments)
    every = dict(pairs)
    result: Options = {}
    notes: list[str] = []
    for name, value in pairs:
        _translate(name, value.strip(), result, notes, every)
    if _true(every.get("skip_test", "False")):
        result["validate_every"] = ["0"]
    for note in notes:
        print(note)
    return words + [part for name, values in result.items() for part in (f"--{name.replace('_', '-')}", *values)]


def _theirs(word: str) -> bool:
    """Whether a word is a flag as the fork writes it; names with hyphens are ours."""
    name = word.partition("=")[0].removeprefix("--")
    return word.startswith("--") and "-" not in name and ("_" in name or name in KNOWN)


def _pairs(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Split into our own words (kept as they are) and the fork's (name, value)."""
    words: list[str] = []
    pairs: list[tuple[str, str]] = []
    index = 0
    while index < len(arguments):
        word, equals, value = arguments[index].partition("=")
        index += 1
        if not _theirs(word):
            words.append(arguments[index - 1])
            continue
        values = [value] if equals else []
        while not equals and index < len(arguments) and not arguments[index].startswith("--"):
            values.append(arguments[index])
            index += 1
        pairs.append((word[2:], " ".join(values) if values else "True"))
    return words, pairs


def _translate(name: str, value: str, out: Options, notes: list[str], every: dict[str, str]) -> None:
    if name in SPECIAL:
        _special(name, value, out, notes, every)
    elif name in LISTS:
        # An empty list is the default of all but `spn_networks`.
        if value or name == "spn_networks":
            out[name] = _names(value)
    elif name in ONLY:
        if "".join(value.split()) != ONLY[name]:
            raise UserError(f"--{name} {value}: only {ONLY[name] or 'an empty value'} is built here")
    elif name in DROPPED:
        notes.append(f"--{name} {value}: left out, {DROPPED[name]}")
    elif name in SAME or name in RENAMED:
        if value:
            out[RENAMED.get(name, name)] = [str(_true(value))] if name in BOOLEAN else [value]
    else:
        raise UserError(f"--{name} is no flag of the bilayer fork nor one of ours")


def _special(name: str, value: str, out: Options, notes: list[str], every: dict[str, str]) -> None:
    if name == "which_epoch":
        _epoch(value, out, notes, every)
    elif name == "init_which_epoch":
        if value.lower() not in ("none", ""):
            out[name] = [value]
    elif name == "lrs":
        out[name] = [part for network, rate in _map(name, value).items() for part in (network, rate)]
    elif name == "optims":
        if others := sorted(set(_map(name, value).values()) - {"adam", "fusedadam"}):
            raise UserError(f"--optims: every network has Adam here, found {', '.join(others)}")
    elif name in ("frame_num_from_paper", "same_source_and_target"):
        _pair_mode(name, _true(value), out)
    elif name in ("dataloader_name", "train_dataloader_name", "test_dataloader_name"):
        if value == "yaw":
            out["pairs" if name != "test_dataloader_name" else "test_pairs"] = ["yaw_min_max"]
        elif value != "voxceleb2":
            raise UserError(f"--{name}: expected voxceleb2 or yaw, found {value!r}")
    elif name == "visual_freq":
        # In steps; -1 stands for the end of each epoch.
        out["visuals_every"] = ["1" if value == "-1" else value]
        out["visuals_unit"] = ["epoch" if value == "-1" else "update"]
    elif name in ("train_load_from_filename", "test_load_from_filename"):
        if value and _true(every.get("dataset_load_from_txt", "False")):
            out[name.removesuffix("_filename")] = [value]
    elif name == "general_data_root":
        if value and any(_true(every.get(key, "False")) for key in ("augment_with_general", "augmentation_by_general")):
            out[name] = [value]
        elif value:
            notes.append(f"--{name} {value}: left out, --augment_with_general True mixes general data in")
    elif name == "augmentation_by_general":
        if _true(value):
            out["general_mixing"] = ["falling"]
    elif name == "sample_general_dataset":
        if _true(value):
            out["general_videos"] = ["22"]
    elif name == "dropout_networks":
        if _true(every.get("use_dropout", "False")):
            for network, share in _map(name, value).items():
                out[f"{network.removesuffix('_generator')}_dropout"] = [share]
    elif name == "pretrained_weights_dir":
        _weights(Path(value), out, notes)
    elif name == "per_loss_weights":
        for field, weight in zip(("per_vgg19_weight", "per_vggface_weight"), value.split(","), strict=False):
            out[field] = [weight.strip()]
    elif name == "losses_train":
        _losses(value, out)
    elif name in ("losses_test", "metrics"):
        _measures(name, value, out)
    elif name == "folder_postfix":
        if "2d" not in value and "3d" not in value:
            raise UserError(f"--folder_postfix {value}: only the layout of 68 landmarks (2d_crop) is built here")
    elif (name in ("use_half", "use_apex") and _true(value)) or (name == "amp_opt_level" and value in ("O1", "O2")):
        out["precision"] = ["bf16"]


def _pair_mode(name: str, on: bool, out: Options) -> None:
    if name == "same_source_and_target":
        if on:
            out["pairs"] = ["same"]
    elif out.get("pairs") not in (["same"], ["yaw_min_max"]):
        out["pairs"] = ["paper" if on else "random"]


def _losses(value: str, out: Options) -> None:
    wanted = _names(value)
    if unknown := sorted(set(wanted) - LOSSES.keys()):
        raise UserError(f"--losses_train: there is no loss {', '.join(unknown)}; there are {', '.join(LOSSES)}")
    for loss, weights in LOSSES.items():
        if loss not in wanted:
            out.update({weight: ["0"] for weight in weights})


def _measures(name: str, value: str, out: Options) -> None:
    for measure in _names(value):
        if measure.lower() not in MEASURES:
            raise UserError(f"--{name}: there is no measure {measure!r}; there are {', '.join(MEASURES)}")
        chosen = out.setdefault("measures", ["L1"])
        if MEASURES[measure.lower()] not in chosen:
            chosen.append(MEASURES[measure.lower()])


def _epoch(value: str, out: Options, notes: list[str], every: dict[str, str]) -> None:
    if value in ("none", "None", ""):
        out["resume"] = ["none"]
        return
    run = Path(every.get("experiment_dir", ".")) / "runs" / every.get("experiment_name", "default")
    state = run / "checkpoints" / f"{value}_state.pth"
    if state.is_file():
        notes.append(f"--which_epoch {value}: the run goes on after that epoch")
        out["resume"] = [str(state)]
    elif list((run / "checkpoints").glob(f"{value}_*.pth")):
        notes.append(f"--which_epoch {value}: networks are taken from there; it holds no optimisers, epochs start at 1")
        out.update(init_experiment_dir=[str(run)], init_which_epoch=[value], resume=["none"])
    else:
        notes.append(f"--which_epoch {value}: {run} has no such checkpoint, training starts from scratch")
        out["resume"] = ["none"]


def _weights(folder: Path, out: Options, notes: list[str]) -> None:
    base = folder / "pretrained_weights" if (folder / "pretrained_weights").is_dir() else folder
    wanted = {
        "vggface_weights": "perceptual/vgg16_face_caffe.pth",
        "vgg19_weights": "perceptual/vgg19*.pth",
        "arcface_weights": "csim/insight_face.pth",
        "lpips_backbone": "lpips/vgg16*.pth",
    }
    for field, pattern in wanted.items():
        paths = sorted(base.glob(pattern))
        if paths:
            out[field] = [str(paths[0])]
        else:
            notes.append(f"--pretrained_weights_dir: no {pattern} in {base}; see --{field.replace('_', '-')}")


def _map(name: str, value: str) -> dict[str, str]:
    """`net: value, net: value` as a dictionary."""
    pairs = [part.partition(":") for part in value.split(",") if part.strip()]
    if not all(colon for _, colon, _ in pairs):
        raise UserError(f"--{name}: expected `network: value, network: value`, found {value!r}")
    return {network.strip(): text.strip() for network, _, text in pairs}


def _names(value: str) -> list[str]:
    return value.replace(",", " ").split()


def _true(value: str) -> bool:
    return value.strip().lower() in ("true", "1", "yes")


def read_sizes(path: Path) -> dict[str, Any]:
    """What the fork's `args.txt` says of the networks: fields of `NetworkOptions`, and `spn_networks`.

    Raises:
        UserError: a layer type or a variant that is not built.
    """
    values = read_args(path)
    fields = {field.name for field in dataclasses.fields(NetworkOptions)}
    sizes: dict[str, Any] = {}
    for name, value in values.items():
        if name in fields:
            sizes[name] = value
        elif name == "spn_networks":
            sizes[name] = tuple(_names(str(value)))
        elif name in ONLY and (name in VARIANTS or name[:4] in PREFIXES) and str(value) != ONLY[name]:
            raise UserError(f"{name} is {value}: only {ONLY[name]} is built here", path=path)
    return sizes


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
