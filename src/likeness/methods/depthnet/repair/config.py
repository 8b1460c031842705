"""Configuration of the repair stage, and a preset for each task."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from likeness.engine import EngineConfig
from likeness.errors import UserError

Task = Literal["background", "faceswap"]

CHANNELS: Mapping[str, tuple[int, int]] = {"background": (6, 3), "faceswap": (3, 3)}
"""Channels of domain A (what is repaired) and B (true faces) of each task."""


@dataclass(frozen=True, kw_only=True)
class RepairConfig(EngineConfig):
    """CycleGAN between warped and true faces (Zhu et al. 2017, with least squares)."""

    task: Task = "background"
    """`background`: warp and masked background to face; `faceswap`: pasted face to face."""
    data: tuple[Path, ...] = (Path("vgg.h5"), Path("celebA.h5"))
    """Archives of `likeness repair data`; both domains are the union of what they hold."""
    epochs: int = 1000
    """Epochs to train in all."""
    batch_size: int = 16
    """Pictures of each domain in a global batch."""
    lr: float = 2e-4
    """Adam's learning rate."""
    beta1: float = 0.5
    """Adam's first moment."""
    beta2: float = 0.999
    """Adam's second moment."""
    lamb: float = 10.0
    """Weight of the cycle's L1 loss."""
    beta: float = 0.0
    """Weight of the identity loss; only where both domains have as many channels."""
    loss: Literal["mse", "bce"] = "mse"
    """Least squares, or binary cross-entropy on logits."""
    dnorm: float = 0.0
    """Weight of (|gradient| - 1)^2 of the discriminators at true pictures."""
    width: int = 64
    """Channels of the first level of all networks."""
    blocks: int = 9
    """Residual blocks of the generators."""

    def __post_init__(self) -> None:
        channels = CHANNELS[self.task]
        if self.beta > 0 and channels[0] != channels[1]:
            raise UserError(
                f"task {self.task} has domains of {channels[0]} and {channels[1]} channels, so there is no identity "
                "loss: leave out --beta"
            )


PRESETS: Mapping[str, RepairConfig] = {
    "repair-background": RepairConfig(experiment_name="repair_background"),
    "repair-faceswap": RepairConfig(
        experiment_name="repair_faceswap", task="faceswap", data=(Path("celeba_faceswap.h5"), Path("celebA.h5"))
    ),
    "repair-tiny": RepairConfig(experiment_name="repair_tiny", epochs=4, batch_size=4, width=16, blocks=2),
}
"""The two published tasks, and a small one for minutes on a CPU."""
