"""Configuration of the neural renderer's stage, and its presets."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from likeness.engine import EngineConfig
from likeness.errors import UserError
from likeness.formats.actor import BodyFiles
from likeness.methods.neural_actor.networks.actor import NetworkConfig
from likeness.methods.neural_actor.rays import PixelSampling
from likeness.methods.neural_actor.renderer import RenderConfig


@dataclass(frozen=True, kw_only=True)
class RendererConfig(EngineConfig):
    """The neural renderer (Neural Actor, section 4)."""

    data: Path = Path("actor")
    """Folder of the actor: body, cameras, transform/, tex/, rgb/."""
    train_views: str = "0..11"
    """Cameras to train on: half-open ranges a..b, with :k for every k-th, and single numbers, separated by commas."""
    valid_views: str = "0,3,7,10"
    """Cameras to validate on."""
    view_resolution: tuple[int, int] = (1024, 1024)
    """Height and width at which pictures are loaded."""
    valid_view_resolution: tuple[int, int] | None = None
    """The same for validation; None takes `view_resolution`."""
    body: BodyFiles = field(default_factory=BodyFiles)
    """Where the body's files lie when not under their usual names in `data`."""
    start_end: tuple[int, int] | None = None
    """Half-open range of frames; None takes all."""
    subsample_train: int = 1
    """Train on every so many frames."""
    subsample_valid: int = 200
    """Validate on every so many frames."""
    new_tpose: bool = True
    """Use transform_tpose.json as the canonical pose."""
    pixel_per_view: int = 1024
    """Rays of a step."""
    virtual_epoch_steps: int = 5000
    """Updates that count as one epoch."""
    lr: float = 2e-4
    """Adam's learning rate after warm-up."""
    decay_steps: int = 250_000
    """Updates in which the learning rate falls to `decay_rate`."""
    decay_rate: float = 0.1
    """See `decay_steps`."""
    warmup_updates: int = 1
    """Updates over which the learning rate rises from 0; with 1 the first update changes nothing, as published."""
    adam_betas: tuple[float, float] = (0.9, 0.999)
    """Adam's averaging of gradients and of their squares."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0 leaves it, as published."""
    color_weight: float = 1.0
    """Weight of the colour loss."""
    l1: bool = False
    """Absolute instead of squared colour differences."""
    random_background: bool = False
    """Compare over a random colour behind each ray: over one plain colour, fog of this colour around the actor costs
    nothing. Pictures need alpha, or exactly the background's colour around the actor."""
    alpha_weight: float = 0.0
    """Weight of the loss that pushes rays to see all or nothing; the published code names 0.01 but never applies it."""
    sampling_on_mask: float = 1.0
    """Share of the rays drawn among those near the body; the rest is drawn anywhere."""
    uniform_sampling: bool = False
    """Draw pixels from the whole picture alike; `sampling_on_mask` then says nothing."""
    sampling_at_reader: bool = False
    """Draw pixels by the photographs' masks instead of the body's bounds."""
    sampling_at_center: float = 1.0
    """Draw only from the central part of the picture, this share of its height and width."""
    sampling_on_bbox: bool = False
    """Draw from the box around the wanted pixels."""
    sampling_patch_size: int = 1
    """Draw square patches of so many pixels a side."""
    sampling_skipping_size: int = 1
    """Pixels from one of a patch to its next."""
    hierarchical_loss: bool = False
    """With a second field, also compare what the first one sees."""
    texture_encoder_weights: Path | None = None
    """ImageNet weights of the ResNet34 trunk (torchvision's keys); without them it starts at random."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Sizes and inputs of the networks."""
    render: RenderConfig = field(default_factory=lambda: RenderConfig(chunk_size=256))
    """How rays are sampled."""

    def __post_init__(self) -> None:
        parse_views(self.train_views, "train_views")
        parse_views(self.valid_views, "valid_views")
        if bool(self.render.fine_samples) != self.network.fine_field:
            raise UserError(
                f"--render.fine-samples {self.render.fine_samples} and --network.fine-field {self.network.fine_field} "
                "do not go together: give both or neither"
            )

    @property
    def pixel_sampling(self) -> PixelSampling:
        """How a step draws its pixels."""
        return PixelSampling(
            0.0 if self.uniform_sampling else self.sampling_on_mask,
            self.sampling_at_center,
            self.sampling_on_bbox,
            self.sampling_patch_size,
            self.sampling_skipping_size,
        )


def parse_views(text: str, name: str) -> list[int]:
    """Numbers of `"0..11"`, `"0,3,7"`, `"0..20:2,25"`; ranges leave their end out.

    Raises:
        UserError: not of this form.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\.\.(\d+))?(?::(\d+))?\s*", part)
        if match is None or match[3] == "0":
            raise UserError(f"{name}: cannot read {part!r}; expected numbers, ranges a..b and strides a..b:k")
        first = int(match[1])
        numbers += range(first, int(match[2]) if match[2] else first + 1, int(match[3] or 1))
    return numbers


PRESETS: dict[str, RendererConfig] = {
    "paper": RendererConfig(
        seed=2,
        epochs=60,
        max_updates=300_000,
        save_every=500,
        save_unit="update",
        keep_last=5,
        validate_every=500,
        validate_unit="update",
        visuals_every=500,
        log_every=10,
    ),
    "tiny": RendererConfig(
        seed=2,
        epochs=6,
        virtual_epoch_steps=250,
        view_resolution=(128, 128),
        train_views="0..3",
        valid_views="3",
        subsample_valid=2,
        pixel_per_view=256,
        lr=1e-3,
        decay_steps=1500,
        random_background=True,
        network=NetworkConfig(
            width=64,
            density_width=32,
            inputs_to_texture="feat:0:64,attnout:0:64,texture:0:64,ray:4:3:b",
            texture_encoder_layers=3,
            texture_encoder_width=16,
            texture_encoder_blocks=(1, 1),
        ),
        render=RenderConfig(fixed_num_samples=31, chunk_size=64),
    ),
}
"""The published flags (arch `joint_nerf_coarse`), a small one for minutes on a CPU, and arch `joint_nerf`."""

PRESETS["joint_nerf"] = replace(
    PRESETS["paper"],
    network=NetworkConfig(fine_field=True),
    render=RenderConfig(fixed_num_samples=40, fine_samples=120, chunk_size=256),
    hierarchical_loss=True,
)
