"""The sizes and layer kinds that the networks of this method are built with; defaults are the published ones."""

import dataclasses
from dataclasses import dataclass
from math import log2
from typing import Literal

from likeness.errors import UserError


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Everything that decides what a network computes; channel rules are `min(num * 2 ** level, max)`."""

    image_size: int = 256
    """Height and width of pictures: a power of two from 32 on."""
    emb_num_channels: int = 64
    """Identity embedder: first width."""
    emb_max_channels: int = 512
    """Identity embedder: largest width."""
    emb_output_tensor_size: int = 8
    """Identity embedder: height of its embeddings."""
    emb_apply_masks: bool = True
    """Black out the background of what the identity embedder sees."""
    emb_no_stickman: bool = False
    """Show the identity embedder the picture alone."""
    tex_num_channels: int = 64
    """Texture generator: last width."""
    tex_max_channels: int = 512
    """Texture generator: largest width."""
    tex_input_tensor_size: int = 4
    """Texture generator: height of its learned input."""
    pse_num_channels: int = 256
    """Keypoints embedder: width."""
    pse_num_blocks: int = 4
    """Keypoints embedder: linear layers."""
    pse_use_harmonic_enc: bool = False
    """Keypoints embedder: sines and cosines of the landmarks in their place."""
    pse_num_harmonics: int = 4
    """Keypoints embedder: how many frequencies."""
    inf_num_channels: int = 32
    """Inference generator: last width."""
    inf_max_channels: int = 256
    """Inference generator: largest width."""
    inf_input_tensor_size: int = 4
    """Inference generator: height of its input."""
    inf_apply_masks: bool = True
    """Mask prediction and target by the predicted mask."""
    dis_num_channels: int = 64
    """Discriminator: first width."""
    dis_max_channels: int = 512
    """Discriminator: largest width."""
    dis_num_blocks: int = 6
    """Discriminator: residual blocks."""
    dis_output_tensor_size: int = 8
    """Discriminator: height of its score map."""
    dis_no_stickman: bool = False
    """Show the discriminator the picture alone."""
    enh_num_channels: int = 64
    """Texture enhancer: first width."""
    enh_max_channels: int = 128
    """Texture enhancer: largest width."""
    enh_bottleneck_tensor_size: int = 128
    """Texture enhancer: height of its inner pictures."""
    enh_num_blocks: int = 8
    """Texture enhancer: residual blocks at that height."""
    enh_unrolling_depth: int = 4
    """Texture enhancer: updates of the texture."""
    enh_guiding_rgb_loss_type: Literal["sse", "l1"] = "sse"
    """Texture enhancer: whose gradient it is shown."""
    enh_apply_masks: bool = True
    """Texture enhancer: compare and compose under the predicted mask."""

    def __post_init__(self) -> None:
        size = self.image_size
        if size < 32 or size & (size - 1):
            raise UserError(f"--image-size must be a power of two from 32 on, found {size}")
        if self.tex_input_tensor_size != self.inf_input_tensor_size:
            raise UserError(
                "texture and inference generator need inputs of one size, found "
                f"{self.tex_input_tensor_size} and {self.inf_input_tensor_size}"
            )
        if self.enh_bottleneck_tensor_size > size:
            raise UserError(
                f"--enh-bottleneck-tensor-size must be at most {size}, found {self.enh_bottleneck_tensor_size}"
            )

    @property
    def levels(self) -> int:
        """Generator blocks, embeddings and projector levels: log2(S / input tensor size)."""
        return int(log2(self.image_size // self.inf_input_tensor_size))


def network_options(config: NetworkOptions) -> NetworkOptions:
    """The network part of a larger configuration."""
    return NetworkOptions(**{field.name: getattr(config, field.name) for field in dataclasses.fields(NetworkOptions)})
