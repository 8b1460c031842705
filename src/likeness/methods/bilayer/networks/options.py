"""The sizes and layer kinds that the networks of this method are built with; defaults are the published ones."""

from dataclasses import dataclass
from math import log2


@dataclass(frozen=True)
class NetworkOptions:
    """Everything that decides the shape of a parameter."""

    image_size: int = 256
    emb_num_channels: int = 64
    emb_max_channels: int = 512
    emb_output_tensor_size: int = 8
    emb_apply_masks: bool = True
    emb_no_stickman: bool = False
    tex_num_channels: int = 64
    tex_max_channels: int = 512
    tex_input_tensor_size: int = 4
    pse_num_channels: int = 256
    pse_num_blocks: int = 4
    pse_use_harmonic_enc: bool = False
    pse_num_harmonics: int = 4
    inf_num_channels: int = 32
    inf_max_channels: int = 256
    inf_input_tensor_size: int = 4
    inf_apply_masks: bool = True
    dis_num_channels: int = 64
    dis_max_channels: int = 512
    dis_num_blocks: int = 6
    dis_output_tensor_size: int = 8
    dis_no_stickman: bool = False
    enh_num_channels: int = 64
    enh_max_channels: int = 128
    enh_bottleneck_tensor_size: int = 128
    enh_num_blocks: int = 8
    enh_unrolling_depth: int = 4
    enh_guiding_rgb_loss_type: str = "sse"
    enh_apply_masks: bool = True

    @property
    def levels(self) -> int:
        """Generator blocks, embeddings and projector levels: log2(S / input tensor size)."""
        return int(log2(self.image_size // self.inf_input_tensor_size))
