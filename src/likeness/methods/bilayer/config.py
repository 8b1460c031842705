"""What the two stages of the bi-layer avatars can be told, and the presets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from likeness.engine import EngineConfig
from likeness.methods.bilayer.measures import MeasureName
from likeness.methods.bilayer.networks import ALL, NetworkOptions

PairMode = Literal[
    "random", "paper", "metrics", "same", "yaw_min_max", "yaw_close_original", "yaw_close_uniform", "distance"
]


@dataclass(frozen=True, kw_only=True)
class BilayerConfig(EngineConfig, NetworkOptions):
    """Base stage: identity embedder, texture generator, keypoints embedder, inference generator, discriminator."""

    data_root: Path = Path()
    """Head data set: imgs, keypoints and segs."""
    train_phase: str = "train"
    """Phase of `data_root` to train on."""
    test_phase: str = "test"
    """Phase of `data_root` to validate on; not validated where it is absent."""
    general_data_root: Path | None = None
    """Data of many people, mixed in epoch by epoch while one person or video is trained."""
    general_mixing: Literal["constant", "falling"] = "constant"
    """Chance of an epoch of general data: always `general_ratio`, or falling from 1 to 0 over the run."""
    general_ratio: float = 0.5
    """Chance of an epoch of general data."""
    general_videos: int | None = None
    """Use only this many randomly chosen videos of the general data."""
    pairs: PairMode = "random"
    """How source and target frames of a video are drawn."""
    test_pairs: PairMode = "paper"
    """The same for validation."""
    yaw_root: Path | None = None
    """Head yaws, `PHASE/PERSON/VIDEO/CLIP/FRAME.npy`, for the yaw modes."""
    abs_min_yaw: float = 0.0
    """Smallest absolute yaw, degrees, of mode yaw_min_max."""
    abs_max_yaw: float = 90.0
    """Largest absolute yaw, degrees, of mode yaw_min_max."""
    min_distance: float = 0.0
    """Smallest sum of squared landmark distances, pixels, of mode distance."""
    samples_per_video: int = 1
    """Samples of each video in an epoch; the published training shows one."""
    num_source_frames: int = 1
    """Source frames of a sample."""
    num_target_frames: int = 1
    """Target frames of a sample."""
    mask_source_and_target: bool = True
    """Black out the background of both pictures by their own masks when they are loaded."""
    cutoff_shirt: bool = False
    """Clear the masks below the lowest landmark."""
    stickmen_thickness: int = 2
    """Line width of drawn landmarks, pixels."""
    train_load_from: Path | None = None
    """Train on the pairs listed in this file, as `save_dataset_filenames` writes it."""
    test_load_from: Path | None = None
    """Validate on the pairs listed in this file."""
    save_dataset_filenames: bool = False
    """List the pairs used in `train_filenames.txt` and `test_filenames.txt`."""
    drop_last: bool = False
    """Leave out a last batch that is not full."""

    lr: float = 2e-4
    """Learning rate of every network."""
    lrs: dict[str, float] = field(default_factory=dict)
    """Learning rates of single networks where they differ from `lr`."""
    lr_decay_from: float = 1.0
    """Share of the epochs after which the learning rate falls evenly towards 0; 1 keeps it constant."""
    adam_beta1: float = 0.5
    """First moment's decay."""
    bn_momentum: float = 1.0
    """Share of the newest batch in BatchNorm's running statistics."""
    spn_networks: tuple[str, ...] = ALL
    """Networks with spectral norm on every convolution and linear layer that owns its weight."""
    texture_dropout: float = 0.0
    """Dropout before the texture's output head."""
    inference_dropout: float = 0.0
    """Dropout before the heads of the inference generator."""
    networks_to_train: tuple[str, ...] = ()
    """Train only these; empty means all of the stage."""
    init_experiment_dir: Path | None = None
    """Run, or folder with `checkpoints/`, to start from; `shipped` is the run that comes with the package."""
    init_networks: tuple[str, ...] = ()
    """Networks taken from there; empty with `init_experiment_dir` means all that it has."""
    init_which_epoch: str = "last"
    """Checkpoint taken from there."""
    frozen_networks: tuple[str, ...] = ()
    """Initialised networks whose parameters stay as they are."""
    unfreeze_texture_generator_last_layers: bool = True
    """Of a frozen texture generator, still train the projector, the head and blocks beyond the sixth."""
    unfreeze_inference_generator_last_layers: bool = False
    """The same of a frozen inference generator."""

    adv_pred_type: Literal["gan", "rgan", "ragan"] = "ragan"
    """Adversarial loss: plain, relativistic or relativistic average."""
    adv_loss_weight: float = 0.5
    """Weight of both adversarial terms."""
    adv_from_epoch: int = 1
    """First epoch with the discriminator; before it only pixels, features and masks are compared."""
    fem_loss_type: Literal["l1", "mse"] = "l1"
    """Feature matching: distance."""
    fem_loss_weight: float = 10.0
    """Feature matching: weight."""
    per_vgg19_weight: float = 10.0
    """Perceptual loss on VGG19: weight."""
    per_vggface_weight: float = 0.01
    """Perceptual loss on the VGG16 face network: weight."""
    per_pooling: Literal["avgpool", "maxpool"] = "avgpool"
    """Pooling in the perceptual networks."""
    vgg19_weights: Path | None = None
    """torchvision's VGG19 weights; without them fixed random filters stand in (term G_RANDOM)."""
    vggface_weights: Path | None = None
    """`vgg16_face_caffe.pth`; without it the term is left out."""
    per_random_weight: float = 1.0
    """Weight of the stand-in."""
    pix_loss_type: Literal["l1", "mse"] = "l1"
    """Pixel loss on the low-frequency layer: distance."""
    pix_loss_weight: float = 10.0
    """Pixel loss: weight."""
    pix_full_loss_weight: float = 0.0
    """The same distance on the whole picture, both layers together: weight."""
    seg_loss_type: Literal["bce", "dice"] = "bce"
    """Mask loss."""
    seg_loss_weight: float = 10.0
    """Mask loss: weight."""
    wpr_loss_weight: float = 0.1
    """Warping regulariser: weight."""
    wpr_loss_weight_decay: float = 1.0
    """Its factor every `wpr_loss_decay_schedule` steps."""
    wpr_loss_decay_schedule: int = -1
    """Steps between two decays; -1 never."""

    measures: tuple[MeasureName, ...] = ("L1", "PSNR")
    """What validation measures of predicted pictures."""
    arcface_weights: Path | None = None
    """`insight_face.pth` for measure csim; without it dlib's network stands in under its own name."""
    lpips_backbone: Path | None = None
    """`vgg16-397923af.pth` for measure lpips; without it ST-LPIPS stands in under its own name."""
    calc_stats: bool = True
    """Average BatchNorm statistics over training batches before each validation."""
    stats_calc_iters: int = 100
    """How many batches at most."""
    num_visuals: int = 32
    """Rows of the picture grids."""


@dataclass(frozen=True, kw_only=True)
class EnhancerConfig(BilayerConfig):
    """Enhancer stage: texture enhancer and discriminator on top of a frozen base run."""

    base_run: Path | None = None
    """Run of the base stage, or `shipped`; it also gives the discriminator its first weights."""
    base_which_epoch: str = "last"
    """Its checkpoint."""


_TINY: dict = {
    "image_size": 64,
    "emb_num_channels": 16,
    "emb_max_channels": 64,
    "tex_num_channels": 16,
    "tex_max_channels": 64,
    "inf_num_channels": 16,
    "inf_max_channels": 64,
    "pse_num_channels": 128,
    "pse_use_harmonic_enc": True,
    "dis_num_channels": 16,
    "dis_max_channels": 128,
    "dis_num_blocks": 4,
    "enh_num_channels": 16,
    "enh_max_channels": 32,
    "enh_bottleneck_tensor_size": 32,
    "enh_num_blocks": 3,
    "stickmen_thickness": 1,
    # Spectral norms keep the predicted parameters, and with them the identity, small for the first thousands of steps.
    "spn_networks": ("discriminator",),
    "batch_size": 8,
    "samples_per_video": 4,
    "epochs": 60,
    # In so few steps a discriminator doubles the price and draws its own patterns into the faces.
    "adv_from_epoch": 61,
    "lr": 6e-4,
    "lr_decay_from": 0.6,
    "pix_full_loss_weight": 10.0,
    "save_every": 20,
    "validate_every": 20,
    "visuals_every": 20,
    "stats_calc_iters": 30,
    "keep_last": 2,
}

_RELEASED: dict = {
    "batch_size": 40,
    "devices": 8,
    "epochs": 4000,
    "save_every": 25,
    "validate_every": 5,
    "visuals_every": 5,
    "stats_calc_iters": 500,
    "workers": 2,
    "keep_last": 4,
}

PRESETS: dict[str, BilayerConfig] = {
    "tiny": BilayerConfig(**_TINY),
    "paper": BilayerConfig(
        pairs="paper", mask_source_and_target=False, drop_last=True, wpr_loss_weight=0.0, **_RELEASED
    ),
    "train_base_model_8gpus": BilayerConfig(**_RELEASED),
    "train_with_pretrained_weights_of_paper": BilayerConfig(
        **_RELEASED | {"devices": 1, "batch_size": 2},
        init_networks=("identity_embedder", "texture_generator", "keypoints_embedder", "inference_generator"),
        init_which_epoch="2225",
        frozen_networks=("identity_embedder", "keypoints_embedder"),
    ),
}

ENHANCER_PRESETS: dict[str, EnhancerConfig] = {
    "tiny_enhancer": EnhancerConfig(
        **_TINY | {"epochs": 20, "adv_from_epoch": 1, "save_every": 10, "validate_every": 10}
    ),
    "paper_enhancer": EnhancerConfig(pairs="paper", mask_source_and_target=False, drop_last=True, **_RELEASED),
}
