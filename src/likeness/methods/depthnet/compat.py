"""The flag lines of the original launchers, rewritten to ours; what is dropped is told with its reason.

`task_launcher_depthnet.py` and `task_launcher_aigns.py` trained, or computed statistics or dumped depths, by the same
flags. A line counts as theirs when it has one of their own flags (`ORIGINAL_ONLY`); any other passes unchanged.
"""

import dataclasses
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from likeness.errors import UserError
from likeness.methods.depthnet.compat_tools import rewrite_tools
from likeness.methods.depthnet.config import AignConfig, DepthConfig, original_name

ORIGINAL_ONLY = {
    "name", "iterator", "network", "save_path", "no_gan", "cpu", "compute_stats", "interactive", "save_images_every",
    "batch_size", "learn_m", "use_l1", "l2_decay", "update_g_every", "save_every",
}  # fmt: skip
SWITCHES = {"no_gan", "cpu", "compute_stats", "interactive", "learn_m", "use_l1", "detach"}
DROPPED = {
    "iterator": "there is one way to pair faces",
    "interactive": "it opened a Python prompt; import likeness.methods.depthnet instead",
    "save_images_every": "the original read it nowhere; --visuals-every sets how often strips are drawn",
    "verbose": "the log says everything",
}
DEFAULTS = {"name": "deleteme", "batch_size": "2", "epochs": "100", "save_every": "10", "resume": "None"}
FIELDS = {field.name for kind in (DepthConfig, AignConfig) for field in dataclasses.fields(kind)}


def rewrite(verb: str, arguments: Sequence[str]) -> list[str]:
    """Rewrite the words after `likeness VERB depthnet`; lines of ours come back as they are.

    Raises:
        UserError: a flag of the original that asks for something another verb does, or that nobody knew.
    """
    words = list(arguments)
    if verb in ("export", "warp", "repair train"):
        return rewrite_tools(verb, words)
    if verb not in ("train", "evaluate"):
        return words
    if verb == "train" and words and not words[0].startswith("-"):
        return ["--preset", original_name(words[0]), *_data([]), *rewrite(verb, words[1:])]
    flags = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    if not flags & ORIGINAL_ONLY:
        return words
    given = _read(words)
    told = [f"--{name}: dropped, {DROPPED[name]}" for name in given if name in DROPPED]
    values = {**DEFAULTS, **{name: value for name, value in given.items() if name not in DROPPED}}
    rewritten = _evaluate(values) if verb == "evaluate" else _train(values, words, told)
    for line in told:
        print(line)
    print(f"likeness {verb} depthnet {shlex.join(rewritten)}")
    return rewritten


def _read(words: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise UserError(f"{word!r} belongs to no flag: the original launchers took flags only")
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if name in SWITCHES:
            if rest and rest[0] in ("True", "False"):
                value = rest.pop(0)
            values[name] = value or "True"
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                if name in DROPPED:
                    continue
                raise UserError(f"--{name} needs a value")
            value = rest.pop(0)
        values[name] = value
    return {name: value for name, value in values.items() if not (name in SWITCHES and value == "False")}


def _train(values: dict[str, str], words: list[str], told: list[str]) -> list[str]:
    if "compute_stats" in values or "dump_depths" in values:
        raise UserError(
            "--compute_stats and --dump_depths evaluate, and do not train: give the same flags to `likeness evaluate "
            "depthnet`"
        )
    network = Path(values.pop("network", "")).stem
    aign = network.startswith("aign")
    learn_m = "learn_m" in values or "learnm" in network
    if "learn_m" in values and network and "learnm" not in network:
        raise UserError(f"--learn_m does not go with the network {network}: use depthnet_sd5_learnm, or drop it")
    rewritten = ["--stage", "aign"] if aign else []
    if network == "aign_sn":
        rewritten.append("--spectral")
    for name, value in values.items():
        if name == "name":
            rewritten += ["--experiment-name", value]
        elif name == "save_path":
            rewritten += ["--experiment-dir", value]
            told.append(f"--save_path: the run is {value}/runs/{values['name']}")
        elif name == "resume":
            rewritten += ["--resume", _resume(value)]
        elif name == "cpu":
            rewritten += ["--accelerator", "cpu"]
        elif name in FIELDS and name not in SWITCHES:
            rewritten += [f"--{name.replace('_', '-')}", value]
        elif name not in SWITCHES:
            raise UserError(f"--{name} is no flag of the original launchers, see docs/coming-from-depthnets.md")
    if "save_path" not in values:
        rewritten += ["--experiment-dir", "results_aigns" if aign else "results"]
    if aign:
        for name in ("no_gan", "learn_m", "use_l1", "detach"):
            if name in values:
                raise UserError(f"--{name} is no flag of AIGN's launcher")
    else:
        rewritten += ["--no-gan"] if "no_gan" in values else []
        rewritten += ["--learn-m"] if learn_m else []
        rewritten += [f"--{name.replace('_', '-')}" for name in ("use_l1", "detach") if name in values]
    return rewritten + ([] if "data" in values else _data(words))


def _evaluate(values: dict[str, str]) -> list[str]:
    network = Path(values.get("network", "")).stem
    folder = values.get("save_path", "results_aigns" if network.startswith("aign") else "results")
    run = str(Path(folder) / "runs" / values["name"])
    if values["resume"] not in ("None", "auto"):
        run = values["resume"]
    rewritten = ["--run", run]
    if "dump_depths" in values:
        if "compute_stats" in values:
            raise UserError("--compute_stats and --dump_depths exclude each other: give one")
        rewritten += ["--dump-depths", values["dump_depths"]]
    if network.startswith("aign"):
        rewritten += ["--aign-text", "original"]
    return rewritten + (["--data", values["data"]] if "data" in values else _data([]))


def _resume(value: str) -> str:
    if value.endswith((".pkl", ".pkl.bak2")):
        raise UserError(
            f"{value} is a published checkpoint: bring it into a run first, `likeness import depthnet {value} --out "
            "RUN`, then train with --resume RUN"
        )
    return "none" if value == "None" else value


def _data(words: list[str]) -> list[str]:
    folder = os.environ.get("DIR_3DFAW")
    return ["--data", folder] if folder and "--data" not in words else []
