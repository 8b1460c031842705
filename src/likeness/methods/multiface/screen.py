"""Drawing the textured mesh as the original does: an affine projection of head-frame points, wrapped textures.

With w = 1 in clip space its barycentrics are linear in the picture, not perspective-correct; published losses and
weights depend on that, so training does the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.render.rasterise import Raster, rasterise


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


def draw_uv(
    verts: Tensor, projection: Tensor, topology: MeshTopology, size: tuple[int, int]
) -> tuple[Raster, Tensor, Tensor]:
    """Texture coordinates under every covered pixel.

    Returns:
        The raster, the flat indices (P,) of covered pixels in (B, H, W), and their uv (P, 2). Gradients flow from uv to
        verts and to the topology's uvs.
    """
    raster = rasterise(to_pixels(verts, projection), topology.vert_ids, size, perspective=False)
    covered = torch.nonzero(raster.triangle.flatten() >= 0).squeeze(1)
    corners = topology.uv_ids[raster.triangle.flatten()[covered].long()]
    weights = raster.barycentric.flatten(0, 2)[covered]
    return raster, covered, (topology.uvs[corners] * weights.unsqueeze(-1)).sum(1)


def lookup(textures: Tensor, covered: Tensor, uv: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear samples with wrapped coordinates of textures (B, C, h, w) at `uv`, as pictures (B, C, H, W), else 0."""
    batch, channels, height, width = textures.shape
    image = covered // (size[0] * size[1])
    x = (uv[:, 0] - uv[:, 0].detach().floor()) * width - 0.5
    y = (uv[:, 1] - uv[:, 1].detach().floor()) * height - 0.5
    left, top = x.detach().floor(), y.detach().floor()
    right_share, low_share = (x - left).unsqueeze(1), (y - top).unsqueeze(1)
    columns = [(left.long() + step) % width for step in (0, 1)]
    rows = [image * height + (top.long() + step) % height for step in (0, 1)]
    texels = textures.permute(0, 2, 3, 1).reshape(-1, channels)
    upper = torch.lerp(texels[rows[0] * width + columns[0]], texels[rows[0] * width + columns[1]], right_share)
    lower = torch.lerp(texels[rows[1] * width + columns[0]], texels[rows[1] * width + columns[1]], right_share)
    colours = torch.lerp(upper, lower, low_share)
    blank = textures.new_zeros(batch * size[0] * size[1], channels)
    return blank.index_copy(0, covered, colours).view(batch, *size, channels).permute(0, 3, 1, 2)


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
    raster, covered, uv = draw_uv(verts, projection, topology, size)
    return lookup(texture, covered, uv, size), raster.mask
