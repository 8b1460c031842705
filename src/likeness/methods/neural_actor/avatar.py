"""A trained actor taken up again: any pose, any camera."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from likeness.engine import Run, load_tensors, load_weights
from likeness.errors import UserError
from likeness.geometry.body import BodyModel, Pose
from likeness.methods.neural_actor.config import PRESETS, RendererConfig
from likeness.methods.neural_actor.networks.actor import ActorNetwork, PosedBody
from likeness.methods.neural_actor.rays import camera_rays, pixel_grid
from likeness.methods.neural_actor.renderer import RenderConfig, Rendered, bound_rays, exact_search, render
from likeness.methods.neural_actor.shipped import SHIPPED, shipped_weights
from likeness.methods.neural_actor.texture_maps import FeatureMaps
from likeness.methods.neural_actor.viewpoints import Viewpoint


@dataclass(frozen=True)
class View:
    """What a camera sees of the actor, in raster order."""

    size: tuple[int, int]
    """(height, width)."""
    origin: Tensor
    """(3,) of the rays, in the world."""
    directions: Tensor
    """(H W, 3) unit length, in the world."""
    seen: Rendered
    hits: int
    """Rays that come near the body."""


@dataclass(frozen=True)
class Avatar:
    """A trained renderer with the configuration that it was trained with."""

    config: RendererConfig
    network: ActorNetwork
    shape: Tensor | None = None
    """(V, 3) another rest shape than the trained one."""

    @classmethod
    def from_run(cls, run: str | Path | None, which: str = "last", device: str = "cpu") -> "Avatar":
        """The renderer of a run of stage renderer; `which` is `last`, `best` or a tag. None is the shipped actor.

        Raises:
            UserError: not such a run.
        """
        if run is None:
            return cls._loaded(PRESETS["tiny"], shipped_weights(), Path(SHIPPED), device)
        opened = Run.open(run, "neural_actor", "renderer")
        config = opened.config(RendererConfig)
        path = opened.checkpoints.path(opened.checkpoints.find(which), "renderer")
        return cls._loaded(config, load_tensors(path), path, device)

    @classmethod
    def _loaded(cls, config: RendererConfig, weights: dict[str, Tensor], path: Path, device: str) -> "Avatar":
        network = ActorNetwork(body_of(weights, path), config.network)
        load_weights(network, weights, path)
        return cls(config, network.to(device).eval().requires_grad_(False))

    def reshaped(self, vertices: Tensor) -> "Avatar":
        """The actor with the rest shape `vertices` (V, 3) of another body of the same mesh.

        Raises:
            UserError: another number of vertices.
        """
        own = self.network.encoder.vertices
        if vertices.shape != own.shape:
            raise UserError(f"a shape of {len(vertices)} vertices does not fit the actor's mesh of {len(own)}")
        return replace(self, shape=vertices.to(own.device))

    def pose(self, pose: Pose) -> PosedBody:
        """The body in a pose.

        Raises:
            UserError: a pose of another rig.
        """
        joints = self.network.encoder.weights.shape[1]
        if len(pose.bones) != joints:
            raise UserError(f"a pose of {len(pose.bones)} bones does not fit the actor's rig of {joints}")
        device = self.network.encoder.vertices.device
        here = Pose(*(value.to(device) for value in (pose.bones, pose.rotation, pose.translation, pose.joints)))
        return self.network.pose_body(here, self.shape)

    @torch.no_grad()
    def texture_map(self, texture: Tensor) -> FeatureMaps:
        """Features of a texture (3, H, W) in [0, 1]; many views may share them."""
        return self.network.encoder.texture_map(texture.unsqueeze(0).to(self.network.encoder.vertices.device))

    @torch.no_grad()
    def view(
        self,
        body: PosedBody,
        texture_map: FeatureMaps,
        viewpoint: Viewpoint,
        size: tuple[int, int],
        render_config: RenderConfig | None = None,
        normals: bool = False,
    ) -> View:
        """Render a picture of `size` (height, width); with `normals` also those of the field."""
        settings = render_config or self.config.render
        camera = viewpoint.camera
        device = body.vertices.device
        grid = pixel_grid(*size, viewpoint.size).to(device)
        origin, directions = camera_rays(camera.intrinsics.to(device), camera.camera_to_world.to(device), grid)
        bounds = bound_rays(body, origin, directions, settings.min_dis_eps)
        search = exact_search(self.network, body)
        seen = render(self.network, body, texture_map, origin, directions, bounds, settings, search, normals=normals)
        return View(size, origin, directions, seen, int(bounds.hit.sum()))


def body_of(weights: dict[str, Tensor], path: Path) -> BodyModel:
    """The body stored with a renderer's weights.

    Raises:
        UserError: it is not there.
    """
    names = [f"encoder.{name}" for name in ("vertices", "faces", "face_uv", "weights")]
    missing = [name for name in names if name not in weights]
    if missing:
        raise UserError(f"holds no actor: {missing[0]} is absent", path=path)
    vertices, faces, face_uv, skin = (weights[name] for name in names)
    return BodyModel(vertices, faces, face_uv, skin, weights.get("encoder.canonical_bones"))
