"""Configuration of the deep appearance model, and its presets."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from likeness.engine import EngineConfig
from likeness.methods.multiface.networks import Architecture

V1_ENTITIES = (
    "2183941", "5372021", "6674443", "6795937", "7889059", "8870559", "002643814", "002914589", "002539136", "002757580"
)  # fmt: skip
"""Entities captured with the 2018 script (65 peak expressions, gaze, 50 sentences)."""
V2_ENTITIES = ("002645310", "5067077", "002421669")
"""Entities captured with the 2019 script (21 ranges of motion, gaze, 50 sentences)."""
V1_TEST = ("EXP_ROM07_Facial_Expressions",)
V2_TEST = ("EXP_free_face",)
MINI_TEST = ("E061_Lips_Puffed",)


@dataclass(frozen=True, kw_only=True)
class MultifaceConfig(EngineConfig):
    """Train a deep appearance model of one entity."""

    data_dir: Path = Path("dataset")
    """The entity's folder, m--<date>--<time>--<entity>--GHS."""
    krt: Path | None = None
    """Camera file; default KRT in the entity's folder."""
    frame_list_train: Path | None = None
    """`segment frame` lines to train on; default frame_list.txt of the entity."""
    frame_list_test: Path | None = None
    """Lines to test on; default frame_list.txt of the entity."""
    test_segments: tuple[str, ...] = ("EXP_ROM", "EXP_free_face")
    """Prefixes of the segments held out from training and tested on."""
    camera_split: Path | None = None
    """JSON {"full": {"train": [...], "test": [...]}}; default all cameras of KRT for both."""
    architecture: Architecture = "base"
    """`base`; `res` adds residual convolutions, `warp` a texture warp, `non` drops the bias of each texel, `bilinear`
    upsamples instead of transposed convolutions."""
    tex_size: int = 1024
    """Side of the texture, a multiple of 256."""
    latent: int = 256
    """Length of the latent code."""
    colour_layout: Literal["diagonal", "matrix"] = "diagonal"
    """Colour correction of each camera: a gain for each channel, or a 3x3 matrix."""
    resolution: tuple[int, int] = (2048, 1334)
    """Rows and columns of the photographs."""
    screen_scale: Literal[1, 2, 4] = 1
    """The screen loss works on photographs shrunk by this."""
    loss_weight_mask: Path | None = None
    """Texture-shaped picture that weighs the screen loss (eyes and mouth more); uniform without one."""
    lambda_verts: float = 1.0
    """Weight of the mesh loss; 0 skips it, as for the others."""
    lambda_tex: float = 1.0
    """Weight of the texture loss."""
    lambda_screen: float = 0.0
    """Weight of the screen loss; above 0 photographs are read and drawn against."""
    lambda_kl: float = 0.01
    """Weight of the latent code's divergence."""
    latent_noise: float = 1.0
    """Scale of the noise drawn for the latent code in training; 0 trains a plain autoencoder."""
    lr: float = 3e-4
    """Learning rate of the networks, times `lr_decay` after every epoch, and, constant, of the colour correction."""
    lr_decay: float = 0.95
    """Factor on the networks' learning rate after every epoch."""
    clip_norm: float = 10.0
    """Largest gradient norm over all parameters."""
    pass_threshold: float = 50.0
    """A batch whose total, mesh or KL loss exceeds this many times that of the last accepted one is dropped."""
    validation_batches: int = 501
    """Test batches on which colours are fitted and losses measured at each validation."""
    start_from: Path | None = None
    """A run, or a published weight file, to start from."""
    epochs: int = 50
    max_updates: int | None = 200001
    batch_size: int = 16
    validate_every: int = 5000
    validate_unit: Literal["epoch", "update"] = "update"
    visuals_every: int = 1000
    save_every: int = 1
    keep_last: int | None = 2
    log_every: int = 100


def presets() -> dict[str, MultifaceConfig]:
    """`paper`; `screen` adds the screen loss; `tiny` is for the synthetic stage on a CPU; `mini` for the mini data set;
    one for each entity, named after it, with its script's held-out segment."""
    paper = MultifaceConfig()
    tiny = dataclasses.replace(
        paper,
        tex_size=256,
        latent=64,
        batch_size=4,
        epochs=40,
        validate_every=0,
        validate_unit="epoch",
        visuals_every=0,
        log_every=10,
        lr=1e-3,
        validation_batches=4,
    )
    named = {
        "paper": paper,
        "screen": dataclasses.replace(paper, lambda_screen=1.0),
        "tiny": tiny,
        "mini": dataclasses.replace(paper, test_segments=MINI_TEST, lambda_screen=1.0),
    }
    for entities, segments in ((V1_ENTITIES, V1_TEST), (V2_ENTITIES, V2_TEST)):
        named |= {entity: dataclasses.replace(paper, test_segments=segments) for entity in entities}
    return named


PRESETS = presets()
