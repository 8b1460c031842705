"""Drawing the textured mesh as the original does: an affine projection of head-frame points, wrapped textures.

With w = 1 in clip space its barycentrics are linear in the picture, not perspective-correct; published losses and
weights depend on that, so training does the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.render.interpolate import interpolate
from likeness.render.rasterise import Raster, rasterise
from likeness.render.texture import sample_texture


@dataclass(frozen=True)
class MeshTopology:
    """Triangles on the device: uvs (VT, 2) with v upwards, vert_ids and uv_ids (T, 3) int64."""

    uvs: Tensor
    vert_ids: Tensor
    uv_ids: Tensor

    def to(self, device: torch.device | str) -> "MeshTopology":
        """The same on `device`."""
        return MeshTopology(self.uvs.to(device), self.vert_ids.to(device), self.uv_ids.to(device))


def to_pixels(verts: Tensor, projection: Tensor) -> Tensor:
    """(B, V, 3) pixel x, pixel y, depth in mm of head-frame verts (B, V, 3) under projections (B, 3, 4)."""
    homogeneous = verts @ projection[:, :, :3].mT + projection[:, None, :, 3]
    depth = homogeneous[..., 2:]
    return torch.cat([homogeneous[..., :2] / depth, depth], dim=-1)


def draw_uv(verts: Tensor, projection: Tensor, topology: MeshTopology, size: tuple[int, int]) -> tuple[Raster, Tensor]:
    """What each pixel sees and its texture coordinates (B, 2, H, W); gradients flow to verts (B, V, 3) mm."""
    raster = rasterise(to_pixels(verts, projection), topology.vert_ids, size, perspective=False)
    return raster, interpolate(topology.uvs, raster, topology.uv_ids)


def draw(
    verts: Tensor, texture: Tensor, projection: Tensor, topology: MeshTopology, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Draw textured heads.

    Args:
        verts: (B, V, 3) mm in the head's frame, all in front of the camera.
        texture: (B, C, S, S), row 0 at v = 0.
        projection: (B, 3, 4) head-frame mm to pixels.
        topology: of the mesh.
        size: (H, W).

    Returns:
        Pictures (B, C, H, W), 0 where nothing is seen, and masks (B, 1, H, W) bool.
    """
    raster, uv = draw_uv(verts, projection, topology, size)
    return sample_texture(texture, uv, raster.mask), raster.mask
