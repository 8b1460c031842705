"""Configurations of DepthNet's stages `depth` and `aign`, and the presets of the five experiments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from likeness.engine import EngineConfig
from likeness.errors import UserError
from likeness.methods.depthnet.losses import GanMode


@dataclass(frozen=True, kw_only=True)
class LandmarkConfig(EngineConfig):
    """What both stages are told."""

    data: Path = Path("3dfaw")
    """Folder of `train.npz` and `valid.npz`, as `likeness prepare depthnet` writes them."""
    synthetic: int = 0
    """Train on so many synthetic faces instead, cut square around their landmarks as photographs are."""
    epochs: int = 100
    """Epochs to train in all, those of an earlier start included."""
    batch_size: int = 32
    """Pairs (AIGN: faces) in a global batch."""
    save_every: int = 10
    """A checkpoint every so many epochs; the last is always kept."""
    lr: float = 2e-4
    """Adam's learning rate, of both networks."""
    lr_decay_epochs: int = 0
    """Over the last so many epochs the learning rate falls to zero, linearly."""
    beta1: float = 0.5
    """Adam's first moment."""
    beta2: float = 0.999
    """Adam's second moment."""
    dnorm: float = 0.0
    """Weight of the critic's gradient penalty at real inputs, a step of its own; 0 leaves it out."""
    spectral: bool = False
    """The critic's layers are spectrally normalised instead of batch-normalised. BatchNorm over batches of only true or
    only predicted faces hides from the critic what all predictions have in common, such as a wrong mean depth."""
    update_g_every: int = 1
    """The adversarial term reaches the generator every so many iterations (AIGN: the generator is stepped so often)."""


@dataclass(frozen=True, kw_only=True)
class DepthConfig(LandmarkConfig):
    """DepthNet: depth from a pair's landmarks (Moniz et al. 2018, section 3.2)."""

    lamb: float = 1.0
    """Weight of the keypoint loss."""
    gan: bool = True
    """Let a critic compare predicted with true depths."""
    learn_m: bool = False
    """Predict the affine too, instead of fitting it in closed form."""
    sigma: float = 0.0
    """Ridge on the closed form's normal matrix."""
    use_l1: bool = False
    """Absolute instead of square residuals; the loss is called l2 all the same."""
    detach: bool = False
    """Stop the gradient at the fitted affine."""
    l2_decay: float = 0.0
    """Adam's weight decay, of both networks."""

    def __post_init__(self) -> None:
        if not self.gan and self.lamb != 1.0:
            raise UserError(
                f"without a critic there is one loss and nothing to weigh it against, found lamb {self.lamb}: leave "
                "out --lamb, or train with --gan"
            )
        if not self.gan and self.dnorm > 0:
            raise UserError(
                f"the gradient penalty (dnorm {self.dnorm}) belongs to the critic, which --no-gan leaves out: drop one"
            )
        if self.sigma < 0 or self.dnorm < 0:
            raise UserError(f"sigma and dnorm cannot be negative, found {self.sigma} and {self.dnorm}")
        if self.learn_m and self.sigma > 0:
            raise UserError("sigma is the ridge of the closed form, which --learn-m replaces: drop one")


@dataclass(frozen=True, kw_only=True)
class AignConfig(LandmarkConfig):
    """AIGN, the baseline of experiment 5."""

    lamb: float = 10.0
    """Weight of the projection's L1 loss."""
    gan_mode: GanMode = "lsgan"
    """How the critic's scores become losses."""
    heatmaps: Literal["original", "centred"] = "original"
    """Placement of the heat maps: as the published networks know them, or with the peak on the landmark."""


def _experiment(name: str, **changes) -> DepthConfig:
    return DepthConfig(experiment_name=name, **changes)


PRESETS: dict[str, DepthConfig] = {
    config.experiment_name: config
    for config in (
        _experiment("exp1_lamb1_sd5_nogan_sigma0_fixm", gan=False, save_every=10),
        _experiment("exp1_lamb1_sd5_nogan_learnm", gan=False, learn_m=True, save_every=20),
        _experiment("exp1_lamb1_sd5_wgan_dnorm0.1_sigma0_fixm", dnorm=0.1, save_every=5),
        _experiment("exp1_lamb1_sd5_wgan_dnorm0.1_learnm", dnorm=0.1, learn_m=True, save_every=5),
        _experiment("exp1_lamb1_sd5_nogan_sigma0.05_fixm", gan=False, sigma=0.05, save_every=10),
        _experiment("exp1_lamb1_sd5_wgan_dnorm0.1_sigma0.05_fixm", dnorm=0.1, sigma=0.05, save_every=5),
        _experiment("shipped", synthetic=20_000, spectral=True, epochs=30, lr_decay_epochs=15),
    )
}
"""Experiments 1 to 4 and the two sigma variants, by their results' names; and `shipped`, how our weights were made."""

AIGN_PRESETS: dict[str, AignConfig] = {"exp1_lamb100": AignConfig(experiment_name="exp1_lamb100", lamb=100.0)}
"""Experiment 5."""


def original_name(script: str) -> str:
    """The preset that an original script stands for: its file name without folder and `.sh`, dots as underscores."""
    stem = Path(script).name.removesuffix(".sh")
    for name in (*PRESETS, *AIGN_PRESETS):
        if stem in (name, name.replace("_", ".")):
            return name
    raise UserError(
        f"{script} is no script of the five experiments; presets are {', '.join((*PRESETS, *AIGN_PRESETS))}"
    )
