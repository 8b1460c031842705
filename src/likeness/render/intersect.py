"""Closest points on a mesh and first hits of rays, found through a tree of boxes; exact, on CPU and GPU."""

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from likeness.kernels import as_array, in_torch_order, launch
from likeness.render import intersect_kernels
from likeness.render.rasterise import checked_triangles


@dataclass(frozen=True)
class SurfacePoint:
    """Points on B meshes, N each, without gradients: use the weights with `gather` for those."""

    triangle: Tensor
    """(B, N) int32, -1 where there is none (empty mesh, no hit, a point that is not finite)."""
    barycentric: Tensor
    """(B, N, 3) weights of the triangle's corners, sum 1; 0 where there is none."""
    distance: Tensor
    """(B, N), inf where there is none. Of closest points: the distance, negative inside where the sign was asked for.
    Of rays: how many times the direction's length."""

    def gather(self, attributes: Tensor, triangles: Tensor) -> Tensor:
        """Barycentric means (B, N, C) of `attributes` (B or 1, V, C), with gradients to these; 0 where there is none.

        `triangles` (T, 3) may be another list than the mesh's, triangle for triangle (texture coordinates).
        """
        corners = triangles.long()[self.triangle.clamp(min=0).long()]  # (B, N, 3)
        source = attributes.expand(len(corners), *attributes.shape[1:])
        batch = torch.arange(len(corners), device=corners.device).view(-1, 1, 1)
        return (source[batch, corners] * self.barycentric.unsqueeze(-1)).sum(dim=-2)


class MeshTree:
    """The search tree of one mesh or of B meshes that share their triangles.

    Build it once for each position of the vertices; it does not follow later changes of them.
    """

    def __init__(self, vertices: Tensor, triangles: Tensor):
        """Build the tree.

        Args:
            vertices: (B, V, 3) in any unit; B = 1 serves any number of query batches.
            triangles: (T, 3), may be empty.

        Raises:
            ValueError: a shape is wrong, or an index is out of range.
        """
        if vertices.ndim != 3 or vertices.shape[-1] != 3:
            raise ValueError(f"vertices have shape {tuple(vertices.shape)}, expected (B, V, 3)")
        self.triangles = checked_triangles(triangles, vertices.shape[1], vertices.device)
        self.vertices = vertices.detach().float().clone(memory_format=torch.contiguous_format)
        # Warp's mesh keeps the arrays, so that these live as long as this object.
        self._meshes: list[wp.Mesh] = []
        with in_torch_order(vertices.device):
            for one in self.vertices if len(self.triangles) else ():
                arrays = wp.from_torch(one, dtype=wp.vec3), wp.from_torch(self.triangles.view(-1), dtype=wp.int32)
                self._meshes.append(wp.Mesh(*arrays))  # type: ignore[arg-type]
            device = wp.device_from_torch(vertices.device)
            self._ids: wp.array = wp.array([mesh.id for mesh in self._meshes], dtype=wp.uint64, device=device)

    def closest(self, points: Tensor, *, signed: bool = False, triangle: Tensor | None = None) -> SurfacePoint:
        """The nearest point of the surface. Triangles without area are passed over: their neighbours' edges cover them.

        Args:
            points: (B, N, 3).
            signed: give points inside a closed, outward surface a negative distance, by angle-weighted normals at
                edges and corners (Baerentzen and Aanaes, "Signed distance computation using the angle weighted
                pseudonormal", 2005), which do not depend on which of several equally near triangles was found.
            triangle: (B, N) nearest triangles that are known already; then there is no search (and no sign).

        Raises:
            ValueError: a shape is wrong.
        """
        points = self._checked(points, "points")
        batch, count = points.shape[:2]
        found = points.new_full((batch, count), -1, dtype=torch.int32)
        distance = points.new_ones((batch, count))
        if triangle is not None:
            found = checked_known(triangle, (batch, count), len(self.triangles))
        elif self._meshes:
            arguments = [
                self._ids,
                as_array(points, wp.vec3),
                signed,
                as_array(found, wp.int32),
                as_array(distance, wp.float32),
            ]
            launch(intersect_kernels.find_closest, (batch, count), arguments, points.device)
        barycentric = points.new_empty((batch, count, 3))
        launch(
            intersect_kernels.place_on_triangle,
            (batch, count),
            [
                as_array(self.vertices, wp.vec3),
                as_array(self.triangles, wp.vec3i),
                as_array(points, wp.vec3),
                as_array(found, wp.int32),
                as_array(barycentric, wp.vec3),
                as_array(distance, wp.float32),
            ],
            points.device,
        )
        return SurfacePoint(found, barycentric, distance)

    def inside(self, points: Tensor) -> Tensor:
        """(B, N) bool, whether points (B, N, 3) lie within a closed, outward surface, also where it cuts itself.

        By the generalised winding number (Jacobson et al., SIGGRAPH 2013; far parts of the mesh count as one, Barill
        et al., SIGGRAPH 2018). The sign of `closest` fails near a part of the surface that lies within the body.

        Raises:
            ValueError: a shape is wrong.
        """
        points = self._checked(points, "points")
        within = points.new_zeros(points.shape[:2], dtype=torch.int32)
        if self._meshes:
            with in_torch_order(points.device):
                meshes = [wp.Mesh(mesh.points, mesh.indices, support_winding_number=True) for mesh in self._meshes]
                ids: wp.array = wp.array([mesh.id for mesh in meshes], dtype=wp.uint64, device=self._ids.device)
            arguments = [ids, as_array(points, wp.vec3), as_array(within, wp.int32)]
            launch(intersect_kernels.find_inside, tuple(points.shape[:2]), arguments, points.device)
        return within > 0

    def cast(self, origins: Tensor, directions: Tensor, *, furthest: float = 1e18) -> SurfacePoint:
        """The first triangle that each ray meets, from either side, at a distance above 0.

        Args:
            origins: (B, N, 3).
            directions: (B, N, 3), of any length but 0.
            furthest: hits beyond this many lengths of the direction do not count.

        Raises:
            ValueError: a shape is wrong.
        """
        origins, directions = self._checked(origins, "origins"), self._checked(directions, "directions")
        if origins.shape != directions.shape:
            raise ValueError(f"origins have shape {tuple(origins.shape)} but directions {tuple(directions.shape)}")
        shape = origins.shape[:2]
        triangle = origins.new_full(shape, -1, dtype=torch.int32)
        barycentric = origins.new_zeros((*shape, 3))
        distance = origins.new_full(shape, torch.inf)
        if self._meshes:
            arguments = [
                self._ids,
                as_array(origins, wp.vec3),
                as_array(directions, wp.vec3),
                furthest,
                as_array(triangle, wp.int32),
                as_array(barycentric, wp.vec3),
                as_array(distance, wp.float32),
            ]
            launch(intersect_kernels.cast, shape, arguments, origins.device)
        return SurfacePoint(triangle, barycentric, distance)

    def _checked(self, points: Tensor, name: str) -> Tensor:
        expected = "(B, N, 3)" if len(self.vertices) == 1 else f"({len(self.vertices)}, N, 3)"
        if points.ndim != 3 or points.shape[-1] != 3 or len(self.vertices) not in (1, len(points)):
            raise ValueError(f"{name} have shape {tuple(points.shape)}, expected {expected}")
        return points.detach().float().contiguous()


def checked_known(triangle: Tensor, shape: tuple[int, int], count: int) -> Tensor:
    """`triangle` as contiguous int32; ValueError unless it has `shape` and each index lies in [0, count)."""
    if tuple(triangle.shape) != shape:
        raise ValueError(f"triangle has shape {tuple(triangle.shape)}, expected {shape}")
    if triangle.numel() and not (0 <= int(triangle.min()) and int(triangle.max()) < count):
        raise ValueError(f"triangle holds {int(triangle.min())} to {int(triangle.max())}, expected 0 to {count - 1}")
    return triangle.to(torch.int32).contiguous()
