"""Networks, normalisation, topology and cameras of one person together: what training, evaluation and drawing share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from likeness.engine import Run
from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.formats.multiface import CameraRecord, Statistics, Topology
from likeness.methods.multiface.colour import Colour, DiagonalColour, MatrixColour
from likeness.methods.multiface.config import MultifaceConfig
from likeness.methods.multiface.data import Normaliser
from likeness.methods.multiface.layers import fold
from likeness.methods.multiface.networks import Avatar, Code, Decoded
from likeness.methods.multiface.screen import MeshTopology, draw

TEMPLATE_NAME = "template.npz"


@dataclass(frozen=True)
class Template:
    """What a run keeps of its entity so that its avatar can be drawn without the data set."""

    topology: Topology
    statistics: Statistics
    records: Mapping[str, CameraRecord]
    """All cameras of the entity, by id."""
    trained: tuple[str, ...]
    """Ids of the cameras with a colour row, in the order of the rows."""
    transform: np.ndarray
    """(3, 4) head to world of one frame, for drawing from the entity's cameras without a frame."""

    def save(self, folder: Path) -> None:
        """Write `template.npz` in a run's folder."""
        with atomic_path(folder / TEMPLATE_NAME) as temporary:
            np.savez_compressed(
                temporary,
                uvs=self.topology.uvs,
                vert_ids=self.topology.vert_ids,
                uv_ids=self.topology.uv_ids,
                tex_mean=self.statistics.tex_mean,
                vert_mean=self.statistics.vert_mean,
                variances=np.array([self.statistics.tex_var, self.statistics.vert_var]),
                cameras=np.array(list(self.records)),
                intrinsics=np.stack([record.intrinsics for record in self.records.values()]),
                distortion=np.stack([record.distortion for record in self.records.values()]),
                extrinsics=np.stack([record.extrinsics for record in self.records.values()]),
                trained=np.array(self.trained),
                transform=self.transform,
            )

    @classmethod
    def load(cls, folder: Path) -> "Template":
        """Read `template.npz` of a run.

        Raises:
            UserError: the run has none.
        """
        path = folder / TEMPLATE_NAME
        if not path.is_file():
            raise UserError(
                "the run does not know its entity: training writes it; after an import give --data-dir", path=path
            )
        with np.load(path, allow_pickle=False) as a:
            records = {
                str(name): CameraRecord(a["intrinsics"][i], a["distortion"][i], a["extrinsics"][i])
                for i, name in enumerate(a["cameras"])
            }
            return cls(
                topology=Topology(a["uvs"], a["vert_ids"], a["uv_ids"]),
                statistics=Statistics(
                    a["tex_mean"], float(a["variances"][0]), a["vert_mean"], float(a["variances"][1])
                ),
                records=records,
                trained=tuple(str(name) for name in a["trained"]),
                transform=a["transform"],
            )


@dataclass(frozen=True)
class Prediction:
    """What the model makes of frames: normalised texture (B, 3, S, S) after colour correction and verts (B, V, 3)."""

    texture: Tensor
    verts: Tensor
    code: Code
    decoded: Decoded


def build(config: MultifaceConfig, vertices: int, cameras: int) -> tuple[Avatar, Colour]:
    """Fresh networks for `vertices` vertices and `cameras` colour rows."""
    avatar = Avatar(config.architecture, config.tex_size, config.latent, vertices)
    return avatar, DiagonalColour(cameras) if config.colour_layout == "diagonal" else MatrixColour(cameras)


def correct(colour: Colour, texture: Tensor, row: Tensor) -> Tensor:
    """Colour-correct `texture` (B, 3, S, S); a row of -1 (a camera never trained) takes the mean over the rows."""
    corrected = colour(texture, row.clamp(min=0))
    if bool((row < 0).any()):
        corrected = torch.where((row < 0)[:, None, None, None], colour.mean(texture), corrected)
    return corrected


def predict(
    avatar: Avatar, colour: Colour, average: Tensor, verts: Tensor, view: Tensor, row: Tensor, noise: Tensor | None
) -> Prediction:
    """Encode frames and decode them for their views; without `noise` (B, z) the code is its mean."""
    code = avatar.encode(average, verts)
    decoded = avatar.decode(code.mean if noise is None else code.sample(noise), view)
    return Prediction(correct(colour, decoded.texture, row), decoded.verts, code, decoded)


class MultifaceAvatar:
    """A trained avatar, ready to be driven: `MultifaceAvatar.from_run("runs/mine").decode(z, view)`."""

    def __init__(self, avatar: Avatar, colour: Colour, template: Template, config: MultifaceConfig):
        self.avatar, self.colour, self.template, self.config = avatar, colour, template, config
        self.normaliser = Normaliser.of(template.statistics, config.tex_size)
        self.topology = device_topology(template.topology)

    @classmethod
    def from_run(cls, run: str | Path, which: str = "last") -> "MultifaceAvatar":
        """Load checkpoint `which` (`last`, `best` or a tag) of a run."""
        opened = Run.open(run, "multiface")
        config, template = opened.config(MultifaceConfig), Template.load(Path(run))
        avatar, colour = build(config, len(template.statistics.vert_mean), len(template.trained))
        networks: dict[str, nn.Module] = {"avatar": avatar, "colour": colour}
        for name, network in networks.items():
            opened.load(name, network, which)
            network.eval()
        return cls(avatar, colour, template, config)

    def folded(self) -> "MultifaceAvatar":
        """The same avatar for driving only: norms folded into kernels, about twice as fast on a CPU."""
        fast = fold(self.avatar).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return MultifaceAvatar(fast, self.colour, self.template, self.config)

    def to(self, device: torch.device | str) -> "MultifaceAvatar":
        """Move everything to `device`."""
        self.avatar.to(device)
        self.colour.to(device)
        self.normaliser, self.topology = self.normaliser.to(device), self.topology.to(device)
        return self

    @torch.no_grad()
    def encode(self, average: Tensor, verts: Tensor) -> Tensor:
        """Codes (B, z), the means, of normalised average textures (B, 3, S, S) and verts (B, V, 3)."""
        return self.avatar.encode(average, verts).mean

    @torch.no_grad()
    def decode(self, z: Tensor, view: Tensor, row: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Colours (B, 3, S, S) in [0, 1] (row 0 at v = 0) and verts (B, V, 3) in mm of codes seen from `view` (B, 3).

        `row` (B,) picks a camera's colour row; without it the mean row is taken.
        """
        decoded = self.avatar.decode(z, view)
        row = torch.full((len(z),), -1, device=z.device) if row is None else row
        texture = self.normaliser.texture(correct(self.colour, decoded.texture, row)).clamp(0, 1)
        return texture, self.normaliser.verts(decoded.verts)

    @torch.no_grad()
    def draw(
        self, z: Tensor, view: Tensor, projection: Tensor, size: tuple[int, int], row: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, H, W) and masks of codes under projections (B, 3, 4), head-frame mm to pixels."""
        texture, verts = self.decode(z, view, row)
        return draw(verts, texture, projection, self.topology, size)


def device_topology(topology: Topology) -> MeshTopology:
    """Topology as tensors."""
    return MeshTopology(
        torch.from_numpy(topology.uvs),
        torch.from_numpy(topology.vert_ids.astype(np.int64)),
        torch.from_numpy(topology.uv_ids.astype(np.int64)),
    )
