"""What every training run can be told, and how a configuration is written down and read back."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import yaml

from likeness.errors import UserError
from likeness.files import write_text

C = TypeVar("C")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """The part of a training configuration that the engine reads; each stage adds its own fields."""

    experiment_dir: Path = Path()
    """Folder that holds `runs/`."""
    experiment_name: str = "default"
    """The run is written to `experiment_dir/runs/experiment_name`; an absolute path is the run's own folder."""
    seed: int = 0
    """Of initial weights, order, augmentation and noise."""
    epochs: int = 1
    """Epochs to train in all, those of an earlier start included."""
    max_updates: int | None = None
    """Stop after this many accepted steps."""
    batch_size: int = 1
    """Samples in a global batch, over all processes."""
    splits: int = 1
    """Parts that a batch is cut into, to need less memory; gradients are accumulated."""
    resume: str = "auto"
    """`auto` takes up the run's last finished checkpoint, `none` demands a fresh run, a path takes up that run."""
    devices: int = 1
    """Processes (GPUs, or CPU processes) that share each batch."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one."""
    precision: Literal["32", "bf16"] = "32"
    """`bf16` runs the networks under bfloat16 autocast; weights and optimisers stay float32."""
    workers: int = 0
    """Processes that fetch batches ahead; 0 fetches in the training process."""
    save_every: int = 1
    """A checkpoint every so many epochs or updates; the last is always kept."""
    save_unit: Literal["epoch", "update"] = "epoch"
    """What `save_every` and `keep_every` count."""
    keep_last: int | None = None
    """Keep only this many newest checkpoints (and the best); None keeps all."""
    keep_every: int | None = None
    """Of the older ones keep those whose number is a multiple of this."""
    validate_every: int = 1
    """Validate every so many epochs or updates; 0 never does."""
    validate_unit: Literal["epoch", "update"] = "epoch"
    """What `validate_every` counts, and `visuals_every` where it has no unit of its own."""
    validate_first: bool = False
    """Also validate before the first step of a fresh start."""
    log_every: int = 50
    """Write scalars every so many steps."""
    visuals_every: int = 1
    """Write pictures every so many epochs or updates; 0 never does."""
    visuals_unit: Literal["epoch", "update"] | None = None
    """What `visuals_every` counts."""
    images_every: int = 0
    """Show pictures of the newest batch in TensorBoard `metrics/` every so many steps; 0 never does."""


LOWEST = {
    "epochs": 0, "max_updates": 0, "batch_size": 1, "splits": 1, "devices": 1, "workers": 0, "save_every": 1,
    "keep_last": 1, "keep_every": 1, "validate_every": 0, "log_every": 1, "visuals_every": 0, "images_every": 0,
}  # fmt: skip
"""Smallest number that each field can be."""


def require_possible(config: EngineConfig) -> None:
    """Refuse what no training can be told.

    Raises:
        UserError: a count below its lowest, or a field that is not a number.
    """
    for field in dataclasses.fields(config):
        value, option = getattr(config, field.name), f"--{field.name.replace('_', '-')}"
        lowest = LOWEST.get(field.name)
        if lowest is not None and value is not None and value < lowest:
            raise UserError(f"{option} is {value}: expected {lowest} or more")
        if isinstance(value, float) and math.isnan(value):
            raise UserError(f"{option} is not a number: give one")


def to_plain(value: Any) -> Any:
    """A configuration as nested dictionaries, lists and scalars."""
    return msgspec.to_builtins(value, enc_hook=_encode)


def write_config(path: Path, header: dict[str, Any], config: Any) -> None:
    """Write `header` (method, stage, parents, ...) and the whole resolved `config` as YAML."""
    write_text(path, yaml.safe_dump({**header, "config": to_plain(config)}, sort_keys=False, allow_unicode=True))


def read_header(path: Path) -> dict[str, Any]:
    """The YAML document at `path`, which must name its method, stage and config.

    Raises:
        UserError: no such file, not YAML, or not a configuration of ours.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("no such configuration file: give a run's config.yaml", path=path) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"is not YAML ({error}): give a run's config.yaml", path=path) from error
    if not isinstance(document, dict) or "config" not in document:
        raise UserError("has no `config` entry: give a run's config.yaml", path=path)
    return document


def read_config(path: Path, kind: type[C]) -> C:
    """The configuration of type `kind` that `write_config` wrote to `path`."""
    try:
        return msgspec.convert(read_header(path)["config"], kind, dec_hook=_decode, strict=False)
    except msgspec.ValidationError as error:
        raise UserError(f"does not fit {kind.__name__}: {error}", path=path) from error


def changed_fields(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """Fields whose values differ between two configurations of one type: name -> (old, new)."""
    pairs = {field.name: (getattr(old, field.name), getattr(new, field.name)) for field in dataclasses.fields(new)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _encode(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"a configuration cannot hold a {type(value).__name__}")


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"a configuration cannot hold a {kind}")
