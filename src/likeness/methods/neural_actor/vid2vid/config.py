"""Configuration of the texture predictor's stage, and its presets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from likeness.engine import EngineConfig
from likeness.errors import UserError
from likeness.methods.neural_actor.vid2vid.discriminator import DiscriminatorConfig
from likeness.methods.neural_actor.vid2vid.generator import GeneratorConfig


@dataclass(frozen=True, kw_only=True)
class TextureConfig(EngineConfig):
    """The texture predictor (Neural Actor, section 4.2)."""

    data: Path = Path("actor")
    """Folder with normal/ and tex/ (or seg_maps/ and images/), one picture a frame."""
    clip_first: int = 4
    """Frames of a clip in the first epoch; doubled every epoch."""
    clip_largest: int = 16
    """Limit of that."""
    lr_generator: float = 1e-4
    """Adam's learning rate."""
    lr_discriminator: float = 4e-4
    """Adam's learning rate."""
    lr_halved_every: int = 100
    """Epochs after which both learning rates halve."""
    adam_betas: tuple[float, float] = (0.0, 0.999)
    """Adam's averaging of gradients and of their squares."""
    initial_gain: float = 0.02
    """Of the generator's first weights (Xavier), all but those of its last convolution."""
    spectral_norm: bool = True
    """On the generator's convolutions. The gain of 0.02 needs it; without it, and with 1.2, small networks learn in a
    fraction of the updates."""
    average_decay: float = 0.999
    """Share of the old averaged generator that stays at each iteration."""
    average_from: int = 500
    """Iterations during which the average is a plain copy."""
    gan_weight: float = 1.0
    """Adversarial losses, on frames and on triples."""
    feature_weight: float = 10.0
    """Feature matching, on frames and on triples."""
    perceptual_weight: float = 10.0
    """VGG19 features; needs `vgg19_weights`."""
    flow_weight: float = 10.0
    """Flow, warp and mask losses."""
    pixel_weight: float = 0.0
    """Mean absolute difference of colours; published is none, which needs VGG19 and many thousand updates instead."""
    largest_scale: float = 1.2
    """Pictures are enlarged by up to this and cropped; 1 shows each texel in its own place, always."""
    vgg19_weights: Path | None = None
    """torchvision's VGG19 weights; without them the perceptual term is left out."""
    flow_script: Path | None = None
    """TorchScript file (target, previous) -> flow; without it OpenCV's DIS finds the flow of real frames."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """Sizes of the generator."""
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    """Sizes of the discriminators."""

    def __post_init__(self) -> None:
        if self.generator.frames == 1 and self.clip_largest > 1:
            raise UserError(
                f"clips of up to {self.clip_largest} frames, of which the generator sees one: give --clip-first 1 "
                "--clip-largest 1, or more --generator.frames"
            )
        if self.splits != 1:
            raise UserError(f"splits {self.splits}: a clip is learned frame by frame; lower the batch size instead")
        if self.clip_first < 1 or self.clip_largest < self.clip_first:
            raise UserError(
                f"clips of {self.clip_first} to {self.clip_largest} frames: expected 1 or more, not falling"
            )
        if self.largest_scale < 1:
            raise UserError(f"--largest-scale {self.largest_scale:g}: expected 1 or more")
        if self.generator.mean_picture and self.largest_scale > 1:
            raise UserError(
                f"--largest-scale {self.largest_scale:g} moves texels, and --generator.mean-picture holds each in its "
                "place: give --largest-scale 1 or --no-generator.mean-picture"
            )


PRESETS: Mapping[str, TextureConfig] = {
    "paper": TextureConfig(epochs=80, batch_size=4, precision="bf16", visuals_every=1),
    "tiny": TextureConfig(
        epochs=12,
        clip_first=1,
        clip_largest=1,
        lr_generator=2e-3,
        lr_halved_every=4,
        adam_betas=(0.9, 0.999),
        initial_gain=1.2,
        spectral_norm=False,
        average_decay=0.98,
        average_from=20,
        gan_weight=0.0,
        feature_weight=0.0,
        pixel_weight=10.0,
        largest_scale=1.0,
        generator=GeneratorConfig(size=256, filters=4, max_filters=128, latent=16, frames=1, mean_picture=True),
        discriminator=DiscriminatorConfig(image_filters=8, image_layers=3, temporal=1, temporal_filters=8),
    ),
}
"""The published settings, and small ones for minutes on a CPU."""
