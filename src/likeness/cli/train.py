"""`likeness train METHOD`."""

from collections.abc import Sequence
from pathlib import Path

import torch.distributed as dist

from likeness.cli.arguments import parse, take_option
from likeness.engine.config import EngineConfig, read_config, read_header
from likeness.engine.method import Method
from likeness.engine.plan import plan
from likeness.engine.trainer import train
from likeness.errors import UserError


def train_command(method: Method, arguments: Sequence[str]) -> None:
    """Train one stage of `method`: `[--stage S] [--preset P] [--config FILE] [--dry-run] [--flag value ...]`."""
    stage_name, words = take_option(arguments, "stage")
    preset_name, words = take_option(words, "preset")
    file, words = take_option(words, "config")
    dry_run = "--dry-run" in words
    words = [word for word in words if word != "--dry-run"]
    default: EngineConfig
    if file is not None:
        header = read_header(Path(file))
        if header.get("method", method.name) != method.name:
            raise UserError(f"is of {header['method']}: give a configuration of {method.name}", path=file)
        stage_name = stage_name or header.get("stage")
        stage_name = _stage(method, stage_name, None)
        kind = type(next(iter(method.stages[stage_name].load_presets().values())))
        default = read_config(Path(file), kind)
    else:
        stage_name = _stage(method, stage_name, preset_name)
        presets = method.stages[stage_name].load_presets()
        preset_name = preset_name or next(iter(presets))
        if preset_name not in presets:
            choices = "; ".join(f"{', '.join(entry.load_presets())} (stage {n})" for n, entry in method.stages.items())
            raise UserError(f"{method.name} {stage_name} has no preset {preset_name!r}: choose {choices}")
        default = presets[preset_name]
    entry = method.stages[stage_name]
    description = (
        f"Train {method.name}, stage {stage_name}. Before all others: --stage {{{','.join(method.stages)}}}, "
        f"--preset {{{','.join(entry.load_presets())}}}, --config FILE (a run's config.yaml), --dry-run."
    )
    config = parse(type(default), words, f"likeness train {method.name}", default=default, description=description)
    if dry_run:
        plan(entry.load(), config)
        return
    argv = ["likeness", "train", method.name, *arguments]
    run = train(entry.load(), config, method=method.name, stage=stage_name, argv=argv)
    if not dist.is_initialized() or dist.get_rank() == 0:
        print(f"finished: {run.folder}")


def _stage(method: Method, stage: str | None, preset: str | None) -> str:
    """The stage asked for by name, or by the preset that only it has; else the method's first."""
    if stage is not None:
        if stage not in method.stages:
            raise UserError(f"{method.name} has no stage {stage!r}: choose {', '.join(method.stages)}")
        return stage
    if preset is not None:
        owners = [name for name, entry in method.stages.items() if preset in entry.load_presets()]
        if owners:
            return owners[0]
    return next(iter(method.stages))
