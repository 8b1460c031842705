"""Devices and processes, by Lightning Fabric and torchrun."""

import logging
import os
import signal
import threading
import warnings
from types import FrameType
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from likeness.engine.config import EngineConfig, require_possible
from likeness.errors import UserError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def launch(config: EngineConfig) -> "Fabric":
    """Start the processes that `config.devices` (or torchrun) asks for; returns this process's Fabric.

    Raises:
        UserError: more devices asked for than there are, or settings that no training can have.
    """
    require_possible(config)
    # Half of the time that any command takes to start, were it imported above.
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    # `nets.distributed` differentiates this one twice.
    warnings.filterwarnings("ignore", message="torch.distributed.nn.functional.all_reduce is deprecated")
    under_torchrun = "LOCAL_WORLD_SIZE" in os.environ
    devices = int(os.environ["LOCAL_WORLD_SIZE"]) if under_torchrun else config.devices
    on_gpu = config.accelerator == "cuda" or (config.accelerator == "auto" and torch.cuda.is_available())
    if on_gpu and torch.cuda.device_count() < devices:
        raise UserError(
            f"{devices} GPUs were asked for, {torch.cuda.device_count()} found: set --devices or --accelerator cpu"
        )
    several = devices > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1
    fabric = Fabric(
        accelerator="cuda" if on_gpu else "cpu",
        devices=devices,
        num_nodes=max(1, int(os.environ.get("WORLD_SIZE", devices)) // devices),
        strategy="ddp" if several else "auto",
    )
    fabric.launch()
    return fabric


def autocast(config: EngineConfig, device: torch.device) -> torch.autocast:
    """The autocast that `config.precision` asks for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")


class Interruption:
    """Notices Ctrl-C and SIGTERM, so that a step is finished and a checkpoint written before the process ends."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def anywhere(self, device: torch.device, world: int) -> bool:
        """Whether any process was asked to stop; all processes get the same answer."""
        if world == 1:
            return self.asked
        flag = torch.tensor(float(self.asked), device=device)
        dist.all_reduce(flag)
        return bool(flag > 0)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:  # a second Ctrl-C does not wait
            raise KeyboardInterrupt
        self.asked = True
