"""What may become of one flag of the originals' command lines: handed on, rewritten, dropped with a reason, refused."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from likeness.errors import UserError
from likeness.methods.neural_actor.config import PRESETS

Given = Mapping[str, str]
"""The line's flags, with hyphens, and their values; a switch has the value "True"."""


@dataclass(frozen=True)
class Rule:
    """What becomes of one flag of the original."""

    translate: Callable[[str, Given], Sequence[str]]
    """Its value and the whole line -> our words."""
    default: str | None = None
    """The original's value where the line does not give the flag; None says nothing then."""
    switch: bool = False
    """Whether it stands without a value."""
    many: bool = False
    """Whether it takes several words."""


def same(ours: str, default: str | None = None) -> Rule:
    """A value handed on under our name."""
    return Rule(lambda value, given: (f"--{ours}", value), default)


def switch(ours: str) -> Rule:
    """A switch of ours; off where the line does not have it."""
    group, dot, name = ours.rpartition(".")
    words = {"True": f"--{ours}", "False": f"--{group}{dot}no-{name}"}
    return Rule(lambda value, given: (words[value],), "False", switch=True)


def numbers(ours: str, default: str | None = None, count: int | None = None) -> Rule:
    """`1.0,2.0` or `(1.0,2.0)` as separate words; a single number is repeated to `count`."""

    def translate(value: str, given: Given) -> Sequence[str]:
        words = [word for word in re.split(r"[,\s]+", value.strip().strip("()[]")) if word]
        words = words * count if count is not None and len(words) == 1 else words
        if not all(_is_number(word) for word in words) or count not in (None, len(words)):
            raise UserError(f"--{ours}: expected {count or 'some'} numbers, as in (0,1), found {value!r}")
        return (f"--{ours}", *words)

    return Rule(translate, default)


def size(ours: str, default: str | None = None) -> Rule:
    """`HxW`, or one number for both."""

    def translate(value: str, given: Given) -> Sequence[str]:
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", value)
        if match is None:
            raise UserError(f"--{ours}: expected a size HxW, found {value!r}")
        return (f"--{ours}", match[1], match[2] or match[1])

    return Rule(translate, default)


def dropped(reason: str, switch: bool = False) -> Rule:
    """A flag that has nothing to say here."""

    def translate(value: str, given: Given) -> Sequence[str]:
        raise Dropped(reason)

    return Rule(translate, switch=switch)


def only(*values: str, reason: str) -> Rule:
    """A flag with one working value, which needs no word of ours."""

    def translate(value: str, given: Given) -> Sequence[str]:
        if value not in values:
            raise UserError(f"found {value!r}, but here it can only be {' or '.join(map(repr, values))}: {reason}")
        raise Dropped(reason)

    return Rule(translate)


def refused(reason: str, switch: bool = False) -> Rule:
    """A flag whose effect is not to be had."""

    def translate(value: str, given: Given) -> Sequence[str]:
        raise UserError(f"is not built here: {reason}")

    return Rule(translate, switch=switch)


class Dropped(Exception):
    """The flag goes without a word of ours; the text says why."""


def arch(value: str, given: Given) -> Sequence[str]:
    """`--arch`: a preset."""
    preset = "paper" if value == "joint_nerf_coarse" else value
    if preset not in PRESETS or not preset.startswith(("paper", "joint_nerf")):
        raise UserError(f"found {value!r}, but joint_nerf_coarse and joint_nerf are the architectures that work")
    return "--preset", preset


def sampling_at_reader(value: str, given: Given) -> Sequence[str]:
    """`--no-sampling-at-reader`: without it rays are chosen by the pictures' alpha."""
    return ("--no-sampling-at-reader",) if value == "True" else ("--sampling-at-reader",)


def sampling_on_mask(value: str, given: Given) -> Sequence[str]:
    """`--sampling-on-mask`: the original gives the share drawn anywhere, we the share drawn near the body."""
    return "--sampling-on-mask", str(1 - float(value))


def samples(value: str, given: Given) -> Sequence[str]:
    """`--fixed-num-samples`, whose default belongs to the architecture."""
    if not value and given.get("arch") == "joint_nerf":
        return ()
    return "--render.fixed-num-samples", value or "80"


def deformation(value: str, given: Given) -> Sequence[str]:
    """`--additional-deform`."""
    if value not in ("pos", ""):
        raise UserError(f"found {value!r}, but only `pos` was ever implemented")
    return (f"--network.{'' if value else 'no-'}additional-deform",)


def alpha(value: str, given: Given) -> Sequence[str]:
    """`--alpha-weight`, which counts only beside `--fix-alpha-loss`."""
    if float(value) and given.get("fix-alpha-loss") != "True":
        raise Dropped("the original names this loss but never applies it; --fix-alpha-loss makes it real")
    return "--alpha-weight", value


def new_tpose(value: str, given: Given) -> Sequence[str]:
    """`--new-tpose FILE`; without it the rest pose is canonical."""
    return ("--new-tpose", *body_file("tpose", "transform_tpose.json")(value, given)) if value else ("--no-new-tpose",)


def body_file(ours: str, usual: str) -> Callable[[str, Given], Sequence[str]]:
    """A body's file, which needs no word under its `usual` name in the data folder."""

    def translate(value: str, given: Given) -> Sequence[str]:
        # Under its usual name in the data folder nothing need be said, and the run can be taken to other data.
        if "data" in given and Path(value) == Path(given["data"]) / usual:
            return ()
        return f"--body.{ours}", value

    return translate


def save_interval_updates(value: str, given: Given) -> Sequence[str]:
    """What checkpoints, validations and pictures are counted in, and how often they come."""
    if int(value) == 0:
        every, unit = given.get("save-interval", "1"), "epoch"
    else:
        every, unit = value, "update"
    words = [word for name in ("save", "validate") for word in (f"--{name}-every", every, f"--{name}-unit", unit)]
    return (*words, "--visuals-every", every)


def retention(of: str) -> Callable[[str, Given], Sequence[str]]:
    """How many checkpoints `of` a kind ("updates", "epochs") are kept."""

    def translate(value: str, given: Given) -> Sequence[str]:
        counted = "updates" if int(given.get("save-interval-updates", "0")) else "epochs"
        if of != counted:
            raise Dropped(f"checkpoints are counted in {counted} here, as the line's other flags say")
        return "--keep-last", "None" if int(value) < 0 else value

    return translate


def save_interval(value: str, given: Given) -> Sequence[str]:
    """`--save-interval`, read by `save_interval_updates` where epochs are counted."""
    if int(given.get("save-interval-updates", "0")):
        raise Dropped("checkpoints are counted in updates here, as --save-interval-updates says")
    return ()


def epochs(value: str, given: Given) -> Sequence[str]:
    """`--max-update`, and as many epochs as it needs."""
    steps = int(given.get("virtual-epoch-steps", PRESETS["paper"].virtual_epoch_steps))
    return "--max-updates", value, "--epochs", str(math.ceil(int(value) / steps))


def valid_size(value: str, given: Given) -> Sequence[str]:
    """`--valid-view-resolution` where it differs."""
    return () if value == given.get("view-resolution") else size("valid-view-resolution").translate(value, given)


def run_folder(value: str, given: Given) -> Sequence[str]:
    """The folder that becomes the run: runs/NAME below its parent."""
    folder = Path(value)
    return "--experiment-dir", str(folder.parent), "--experiment-name", folder.name


def checkpoint(value: str, given: Given) -> Sequence[str]:
    """A texture predictor's checkpoint to go on from."""
    if Path(value).suffix == ".pt":
        raise UserError(
            f"{value} is the original's file: write `likeness import neural_actor {value} --out RUN` first, then give "
            "--resume RUN"
        )
    return "--resume", value


def run_path(value: str, given: Given) -> Sequence[str]:
    """`--path`: a run of ours, or SAVE_DIR/checkpoint_<which>.pt of a line that trained here."""
    if ":" in value:
        raise UserError(f"found {value!r}: averaging several checkpoints is not built, give one")
    path = Path(value)
    run = path.parent.parent / "runs" / path.parent.name
    match = re.fullmatch(r"checkpoint_?(last|best|\d+|\d+_\d+)\.pt", path.name)
    if path.is_file():
        raise UserError(
            f"{value} is the original's file: write `likeness import neural_actor {value} --out RUN --data DATASET` "
            "first, then give RUN"
        )
    if match is None or not run.is_dir():
        return "--run", value
    return "--run", str(run), "--which", match[1].replace("_", "-")


def valid_resolution(value: str, given: Given) -> Sequence[str]:
    """`--view-resolution` of a line without `--valid-view-resolution`."""
    return () if "valid-view-resolution" in given else size("resolution").translate(value, given)


def words_of(ours: str) -> Callable[[str, Given], Sequence[str]]:
    """One flag with several words."""
    return lambda value, given: (f"--{ours}", *value.split())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
