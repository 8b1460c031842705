"""The neural renderer's networks as one module, with the published state keys."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likeness.errors import UserError
from likeness.geometry.body import BodyModel, Pose
from likeness.geometry.skinning import apply_transforms, blend_transforms
from likeness.methods.neural_actor.body import interpolate_corners, surface_point, to_canonical
from likeness.methods.neural_actor.encodings import InputSpec, parse_inputs
from likeness.methods.neural_actor.networks.field import Field, Frequencies
from likeness.methods.neural_actor.networks.mlp import FullyConnected, Mlp
from likeness.methods.neural_actor.networks.texture_encoder import BLOCKS, TextureEncoder
from likeness.methods.neural_actor.texture_maps import FeatureMaps

DENSITY_INPUTS = ("pos", "attnout", "context")
"""`context` is the pose: the nine numbers of every bone's rotation."""
TEXTURE_INPUTS = ("feat", "attnout", "texture", "ray", "pos", "normal", "sigma")


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes and inputs of the renderer's networks; the defaults are `joint_nerf_coarse` with the published flags."""

    width: int = 256
    """Of every field network."""
    feature_layers: int = 8
    """Layers of the feature network."""
    skip: int = 3
    """Layer after which the feature network sees its input again."""
    density_width: int = 128
    """Hidden width of the density head."""
    texture_layers: int = 3
    """Hidden layers of the colour network, beside two fixed ones."""
    inputs_to_density: str = "pos:6:3"
    """Inputs of the feature network, `name:levels:dim:kind`."""
    inputs_to_texture: str = "feat:0:256,attnout:0:256,texture:0:512,ray:4:3:b"
    """Inputs of the colour network."""
    use_texture_encoder: bool = True
    """Encode the texture map; without it the three colours are the feature."""
    texture_encoder_layers: int = 4
    """Trunk levels that are concatenated (1 to 5)."""
    texture_encoder_width: int = 64
    """Channels of the trunk's first level."""
    texture_encoder_blocks: tuple[int, ...] = BLOCKS
    """Residual blocks of each trunk level."""
    use_local_coordinate: bool = True
    """Query by (u, v, signed distance) instead of the normalised point."""
    additional_deform: bool = True
    """Add a learned residual to canonical points."""
    texture_to_deformation: bool = True
    """The residual also reads the texture feature."""
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Colour behind the actor, in [-1, 1]."""
    background_stop_gradient: bool = True
    """Keep that colour fixed."""
    fine_field: bool = False
    """A second field of the same kind for the samples that `fine_samples` adds (arch `joint_nerf`)."""


class _List(nn.Module):
    """A chain of modules under the key `net`."""

    def __init__(self, modules: list[nn.Module]):
        super().__init__()
        self.net = nn.ModuleList(modules)

    def forward(self, values: Tensor) -> Tensor:
        for module in self.net:
            values = module(values)
        return values


class Encoder(nn.Module):
    """From points near the posed body to canonical points and their features."""

    vertices: Tensor
    faces: Tensor
    face_uv: Tensor
    weights: Tensor

    def __init__(self, model: BodyModel, config: NetworkConfig):
        super().__init__()
        self.config = config
        for name in ("face_uv", "weights", "vertices", "faces"):
            self.register_buffer(name, getattr(model, name))
        self.canonical_bones: Tensor | None
        # Beside the published keys: a checkpoint is to render without the folder that it was trained on.
        self.register_buffer("canonical_bones", model.canonical_bones)
        self.texture_encoder = None
        self.texture_channels = 3
        if config.use_texture_encoder:
            self.texture_encoder = TextureEncoder(
                config.texture_encoder_layers, config.texture_encoder_width, config.texture_encoder_blocks
            )
            self.texture_channels = self.texture_encoder.channels
        query = InputSpec("query", 6)
        self.joint_filter = Frequencies(query, times_pi=False)
        self.merge_joint_field = Mlp(query.width, config.width, 4)
        if config.additional_deform:
            inputs = config.width + (self.texture_channels if config.texture_to_deformation else 0)
            last = nn.Linear(config.width, 3)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.skinning_deform = _List([FullyConnected(inputs, config.width), last])

    def texture_map(self, texture: Tensor) -> FeatureMaps:
        """Features of a texture map (1, 3, H, W) in [0, 1]; all rays of all its views share them."""
        return FeatureMaps.of([texture]) if self.texture_encoder is None else self.texture_encoder(texture)


def make_field(config: NetworkConfig) -> Field:
    """The density and colour networks that `config` describes."""
    return Field(
        parse_inputs(config.inputs_to_density, DENSITY_INPUTS),
        parse_inputs(config.inputs_to_texture, TEXTURE_INPUTS),
        width=config.width,
        layers=config.feature_layers,
        skip=config.skip,
        density_width=config.density_width,
        texture_layers=config.texture_layers + 2,
        background=config.background,
        train_background=not config.background_stop_gradient,
    )


def full_precision(device: torch.device) -> torch.autocast:
    """Geometry's context: bfloat16 would move points by centimetres."""
    return torch.autocast(device.type, enabled=False)


@dataclass(frozen=True)
class PosedBody:
    """What all samples of a frame share."""

    pose: Pose
    vertices: Tensor
    """(V, 3) in normalised space."""
    posed: Tensor
    """(V, 3, 4) blended rest-to-pose matrices."""
    canonical: Tensor
    """(V, 3, 4) blended rest-to-canonical matrices."""


@dataclass(frozen=True)
class Located:
    """Samples brought to the canonical pose, before the learned residual."""

    canonical: Tensor
    """(N, 3)."""
    query: Tensor
    """(N, 3) local coordinate (2u-1, 2v-1, signed distance), or the normalised point."""
    uv: Tensor
    """(N, 2) in [0, 1]."""
    distance: Tensor
    """(N,) signed distance to the posed mesh, metres."""

    def at(self, index: Tensor) -> "Located":
        """Some of the samples."""
        return Located(self.canonical[index], self.query[index], self.uv[index], self.distance[index])


class ActorNetwork(nn.Module):
    """Encoder and field (Neural Actor, sections 4.1 to 4.3)."""

    def __init__(self, model: BodyModel, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(model, config)
        self.field = make_field(config)
        joints = model.weights.shape[1]
        for spec in self.field.density_inputs:
            if spec.name == "context" and spec.dim != 9 * joints:
                raise UserError(f"input context has dim {spec.dim}: a rig of {joints} bones has {9 * joints} numbers")
        if config.fine_field:
            self.field_fine = make_field(config)

    @property
    def fine(self) -> Field:
        """The field of the samples added by importance.

        Raises:
            UserError: the network has none.
        """
        if not self.config.fine_field:
            raise UserError("`fine_samples` needs a second field: turn `network.fine_field` on, or train with it")
        return self.field_fine

    def pose_body(self, pose: Pose, shape: Tensor | None = None) -> PosedBody:
        """Pose the mesh by linear blend skinning.

        Args:
            shape: (V, 3) another rest shape of the same mesh. Its surface takes the place of the trained one: points
                keep their offset from it on the way to the canonical pose.
        """
        with full_precision(pose.bones.device):
            return self._pose_body(pose, shape)

    def _pose_body(self, pose: Pose, shape: Tensor | None) -> PosedBody:
        encoder = self.encoder
        posed = blend_transforms(encoder.weights, pose.bones)
        rest = torch.eye(4, device=posed.device).expand_as(pose.bones)
        target = rest if encoder.canonical_bones is None else encoder.canonical_bones
        canonical = blend_transforms(encoder.weights, target)
        vertices = apply_transforms(posed, encoder.vertices if shape is None else shape)
        canonical = canonical[:, :3]
        if shape is not None:
            moved = canonical[..., :3] @ (encoder.vertices - shape).unsqueeze(-1)
            canonical = torch.cat([canonical[..., :3], canonical[..., 3:] + moved], dim=-1)
        return PosedBody(pose, vertices, posed[:, :3], canonical)

    def locate(self, body: PosedBody, points: Tensor, faces: Tensor) -> Located:
        """Bring world points (N, 3), whose nearest faces are `faces` (N,), to the canonical pose."""
        encoder = self.encoder
        local = body.pose.to_normalised(points)
        corners = encoder.faces[faces]  # (N, 3)
        surface = surface_point(local, body.vertices[corners], faces)
        uv = interpolate_corners(encoder.face_uv, surface)
        barycentrics = surface.barycentrics
        posed = torch.einsum("nk,nkab->nab", barycentrics, body.posed[corners])
        canonical = torch.einsum("nk,nkab->nab", barycentrics, body.canonical[corners])
        query = torch.cat([2 * uv - 1, surface.distance.unsqueeze(-1)], dim=-1)
        query = query if self.config.use_local_coordinate else local
        return Located(to_canonical(local, posed, canonical), query, uv, surface.distance)

    def embed(self, body: PosedBody, located: Located, texture_map: FeatureMaps) -> dict[str, Tensor]:
        """Named inputs of the field (N, dim): `pos`, `attnout`, `texture`, `context`."""
        encoder = self.encoder
        texture = texture_map.sample(located.uv)
        attended = encoder.merge_joint_field(encoder.joint_filter(located.query))
        position = located.canonical
        if self.config.additional_deform:
            inputs = [attended, texture] if self.config.texture_to_deformation else [attended]
            position = position + encoder.skinning_deform(torch.cat(inputs, dim=-1))
        context = body.pose.bones[:, :3, :3].flatten().expand(len(position), -1)
        return {"pos": position, "attnout": attended, "texture": texture, "context": context}
