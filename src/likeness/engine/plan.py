"""What a training would cost, measured on a few of its own steps."""

import resource
import time

import torch
from rich.console import Console
from rich.table import Table

from likeness.engine.averages import Averages
from likeness.engine.batches import iterate
from likeness.engine.config import EngineConfig
from likeness.engine.context import Context
from likeness.engine.processes import autocast, launch
from likeness.engine.run import Run
from likeness.engine.stage import Stage
from likeness.engine.updates import Updates
from likeness.errors import UserError


def plan(kind: type[Stage], config: EngineConfig, steps: int = 3) -> None:
    """Print sizes, memory and the expected time of a training; nothing is written.

    The time is extrapolated from `steps` real steps after one that warms up, in this process, without validation.
    """
    fabric = launch(config)
    torch.manual_seed(config.seed)
    stage = kind(config)
    for network in stage.networks.values():
        network.to(fabric.device)
    averages = Averages(stage.networks, stage.averages())
    updates = Updates(stage.networks, stage.optimizers(), stage.updates())
    ctx = Context(
        updates, averages, seed=config.seed, splits=config.splits, device=fabric.device, rank=0, world=fabric.world_size
    )
    stage.initialise(ctx)
    batches = stage.batches("train", fabric.global_rank, fabric.world_size)
    if batches is None or len(batches) == 0:
        raise UserError("the training split holds no batch: give it more samples or a smaller --batch-size")
    batches.set_epoch(1)
    times: list[float] = []
    for position, batch in enumerate(iterate(batches)):
        started = time.perf_counter()
        batch = ctx.place(batch)
        ctx.begin(1, position, batch)
        with autocast(config, fabric.device):
            stage.step(batch, ctx)
        ctx.finish()
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
        if len(times) > steps:
            break
    table = Table(title=f"plan of {Run.of(config).folder}", show_header=False)
    for name, network in {**stage.networks, **averages.networks}.items():
        table.add_row(f"network {name}", f"{sum(value.numel() for value in network.parameters()):,} parameters")
    table.add_row("batches in an epoch", f"{len(batches):,} of {config.batch_size}")
    total = config.epochs * len(batches)
    total = total if config.max_updates is None else min(total, config.max_updates)
    table.add_row("steps in all", f"{total:,}")
    seconds = sum(times[1:]) / len(times[1:]) if len(times) > 1 else times[0]
    table.add_row("a step", f"{seconds * 1000:.1f} ms on {fabric.device}, {fabric.world_size} process(es)")
    table.add_row("expected time", f"{total * seconds / 60:.1f} min and validation")
    peak = torch.cuda.max_memory_allocated() if fabric.device.type == "cuda" else _peak_resident()
    table.add_row("peak memory so far", f"{peak / 1e9:.2f} GB")
    Console().print(table)


def _peak_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
