"""Configurations of the stages `gmpi` and `stylegan2`, and their presets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from likeness.engine import EngineConfig
from likeness.errors import UserError
from likeness.formats.portraits import Layout, Portraits, open_portraits
from likeness.methods.gmpi.alpha import TOKENS, Variant
from likeness.methods.gmpi.networks import Activation
from likeness.methods.gmpi.scene import AFHQCAT, FFHQ, METFACES, Scene, Spacing

DatasetName = Literal["FFHQ", "AFHQCat", "MetFaces"]


@dataclass(frozen=True, kw_only=True)
class PortraitConfig(EngineConfig):
    """What both stages read."""

    data: Path = Path("runtime_dataset")
    """Folder that holds the portrait collection under its published names."""
    dataset: DatasetName = "FFHQ"
    """Which collection; it also sets the camera, the planes and the spread of poses."""
    resolution: int = 256
    """Side of the pictures: a power of two."""
    z_dim: int = 512
    """Length of z."""
    w_dim: int = 512
    """Length of w."""
    mapping_layers: int = 8
    """Layers of the mapping network."""
    channel_base: int = 32768
    """Channels at resolution r are min(channel_base // r, channel_max)."""
    channel_max: int = 512
    """Most channels of a layer."""

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise UserError(f"resolution must be a power of two from 8 on, found {self.resolution}")

    @property
    def scene(self) -> Scene:
        """Camera and volume of the collection."""
        return {"FFHQ": FFHQ, "AFHQCat": AFHQCAT, "MetFaces": METFACES}[self.dataset]

    def open(self) -> Portraits:
        """The collection, from the places that the original's preparation leaves it in."""
        layouts: dict[DatasetName, Layout] = {"FFHQ": "ffhq", "AFHQCat": "afhqcat", "MetFaces": "metfaces"}
        images = self.image_root()
        poses = {
            "FFHQ": self.data / f"ffhq{self.resolution}_deep3dface_coeffs",
            "AFHQCat": images,
            "MetFaces": self.data / "metfaces_xflip_deep3dface_coeffs",
        }[self.dataset]
        return open_portraits(layouts[self.dataset], images, poses)

    def image_root(self) -> Path:
        """FFHQ's zip, or the folder of pictures."""
        names = {
            "FFHQ": f"ffhq{self.resolution}x{self.resolution}.zip",
            "AFHQCat": f"afhq_v2_train_cat_{self.resolution}",
            "MetFaces": f"metfaces{self.resolution}x{self.resolution}_xflip",
        }
        return self.data / names[self.dataset]


@dataclass(frozen=True, kw_only=True)
class GMPIConfig(PortraitConfig):
    """Turn a 2-D StyleGAN2 into a generator of multiplane images."""

    epochs: int = 3000
    max_updates: int | None = 5001
    batch_size: int = 8
    seed: int = 123
    save_every: int = 500
    save_unit: Literal["epoch", "update"] = "update"
    validate_every: int = 5000
    validate_unit: Literal["epoch", "update"] = "update"
    visuals_every: int = 200

    inception: Path | None = None
    """The published Inception weights, for the average's FID every `validate_every` updates; None measures none."""
    fid_pictures: int = 2048
    """Generated pictures of that FID."""
    fid_real: int = 8000
    """Real pictures of that FID, where there are as many."""
    pretrained: Path | None = None
    """A StyleGAN2 `.pkl`, or a run of stage stylegan2, that both networks start from; None starts from noise."""
    variant: Variant = "depth"
    """How alpha maps are made."""
    planes: int = 32
    """Planes in training."""
    spacing: Spacing = "inverse"
    """How plane depths are spread."""
    confined: bool = True
    """Planes before the last form a box rather than a frustum."""
    align_corners: bool = True
    """Corner texels' centres are the planes' corners."""
    largest_alpha: int = 256
    """Alpha grows up to this resolution and is upsampled beyond."""
    full_background: bool = True
    """The last plane is opaque (depth and tokens variants)."""
    activation: Activation = "tanh"
    """What brings colours and alpha into [0, 1]."""
    depth_range: Literal["01", "-11"] = "01"
    """Range of the normalised plane depths that the generator sees."""
    depth_bins: int = 256
    """Resolution of the depth2alpha variant."""
    frequencies: int = 0
    """Octaves of sines and cosines in the depth embedding."""
    noise: Literal["random", "const", "none"] = "random"
    """Noise of the generator in training."""
    pose_dim: Literal[0, 9, 16] = 16
    """What the discriminator sees of the camera: nothing, its rotation, its whole matrix."""
    embedding_dim: int = 16
    """Length of the pose's embedding."""
    deviation_group: int = 1
    """Group of the minibatch deviation; 1 makes it constant, 0 zero."""
    lr: float = 0.002
    """Adam's learning rate of both networks."""
    r1: float = 10.0
    """Weight of the gradient penalty, applied half and at every step."""
    clip: float = 10.0
    """Largest gradient norm."""
    views: int = 4
    """Random views per sample among which the generator is trained on the worst."""
    view_choice: Literal["per_z", "none"] = "per_z"
    """`per_z` trains the generator on each sample's worst view, `none` on all of them."""
    shading: bool = True
    """Shade by the normals of the depth."""
    ambient: float = 0.9
    """Ambient light at full strength."""
    diffuse: float = 0.1
    """Diffuse light at full strength."""
    shading_start: int = 1000
    """Shading begins after this step."""
    shading_ramp: int = 1000
    """Uses of the shading until it has full strength."""
    ramp_from: float = 0.0
    """Strength of the first shading; 0, as published, makes the first shaded batch black."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant == "vanilla" and self.planes < 2:
            raise UserError("the vanilla variant needs two planes or more")
        if self.variant == "tokens" and self.planes != TOKENS:
            raise UserError(
                f"the tokens variant is trained with {TOKENS} planes, found {self.planes}: --planes {TOKENS}"
            )


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Config(PortraitConfig):
    """Train the 2-D StyleGAN2 that GMPI starts from."""

    epochs: int = 1000
    batch_size: int = 32
    save_every: int = 5000
    save_unit: Literal["epoch", "update"] = "update"
    keep_last: int | None = 2
    validate_every: int = 0
    validate_unit: Literal["epoch", "update"] = "update"
    visuals_every: int = 500

    lr: float = 0.0025
    """Adam's learning rate before the correction for lazy regularisation."""
    r1_gamma: float | None = None
    """Weight of R1; None takes 0.0002 resolution^2 / batch size."""
    r1_every: int = 16
    """R1 acts every so many steps, weighted by as much."""
    path_every: int = 4
    """The path length acts every so many steps, weighted by as much."""
    path_weight: float = 2.0
    """Weight of the path length."""
    path_decay: float = 0.01
    """How fast the mean path length follows."""
    mixing: float = 0.9
    """Probability of style mixing."""
    mirror: bool = True
    """Mirror pictures at random."""
    deviation_group: int = 4
    """Group of the minibatch deviation."""


_TRANSFER = Path("ckpts/stylegan2_pretrained/transfer-learning-source-nets")


def _gmpi(name: str, **changes) -> GMPIConfig:
    return GMPIConfig(experiment_name=name, **changes)


GMPI_PRESETS: dict[str, GMPIConfig] = {
    "FFHQ256": _gmpi("FFHQ256", channel_base=16384, pretrained=_TRANSFER / "ffhq-res256-mirror-paper256-noaug.pkl"),
    "FFHQ512": _gmpi(
        "FFHQ512", resolution=512, batch_size=4, pretrained=_TRANSFER / "ffhq-res512-mirror-stylegan2-noaug.pkl"
    ),
    "FFHQ1024": _gmpi(
        "FFHQ1024",
        resolution=1024,
        batch_size=4,
        splits=2,
        pretrained=_TRANSFER / "ffhq-res1024-mirror-stylegan2-noaug.pkl",
    ),
    "AFHQCat": _gmpi(
        "AFHQCat",
        dataset="AFHQCat",
        resolution=512,
        batch_size=4,
        pretrained=Path("ckpts/stylegan2_pretrained/afhqcat.pkl"),
    ),
    "MetFaces": _gmpi(
        "MetFaces",
        dataset="MetFaces",
        resolution=1024,
        batch_size=4,
        splits=2,
        pretrained=Path("ckpts/stylegan2_pretrained/metfaces.pkl"),
    ),
}
"""The five published models; batch sizes are those of one of the paper's eight GPUs."""

_TINY: dict[str, Any] = dict(resolution=32, z_dim=64, w_dim=64, mapping_layers=4, channel_base=1024, channel_max=64)
GMPI_PRESETS["tiny"] = GMPIConfig(
    **_TINY,
    experiment_name="gmpi-tiny",
    pretrained=Path("runs/stylegan2-tiny"),
    planes=8,
    batch_size=4,
    views=2,
    max_updates=2600,
    shading_start=300,
    ramp_from=1.0,
    save_every=250,
    keep_last=2,
    visuals_every=250,
)

STYLEGAN2_PRESETS: dict[str, StyleGAN2Config] = {
    "stylegan2-tiny": StyleGAN2Config(
        **_TINY, experiment_name="stylegan2-tiny", batch_size=8, max_updates=400, save_every=400, visuals_every=200
    ),
    "stylegan2": StyleGAN2Config(experiment_name="stylegan2", channel_base=16384),
}
