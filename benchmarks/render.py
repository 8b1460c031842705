"""The rasteriser, its shading and the mesh queries, against plain torch."""

import math
from pathlib import Path

import torch
import warp as wp
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks import Row, best_time
from likeness import kernels
from likeness.files import atomic_path
from likeness.render.interpolate import interpolate
from likeness.render.intersect import MeshTree
from likeness.render.rasterise import find_nearest, rasterise
from likeness.render.silhouette import adjacent_triangles, antialias
from likeness.render.texture import sample_texture

SIZE = (1024, 667)
FIGURE = "render.png"
"""Beside RESULTS.md, which shows it."""


def head(rings: int, segments: int, size: tuple[int, int] = SIZE) -> tuple[Tensor, Tensor, Tensor]:
    """A closed, bumpy head over half the picture: vertices (1, V, 3), uv (V, 2), triangles (2 rings segments, 3)."""
    height, width = size
    theta, phi = torch.linspace(0, math.pi, rings + 1), torch.arange(segments) * (2 * math.pi / segments)
    t, p = torch.meshgrid(theta, phi, indexing="ij")
    bump = 1 + 0.05 * torch.sin(5 * p)
    x = width / 2 + 0.4 * width * t.sin() * p.sin() * bump
    y = height / 2 - 0.42 * height * t.cos()
    z = 1000 - 0.4 * width * t.sin() * p.cos()
    vertices = torch.stack([x, y, z], dim=-1).reshape(1, -1, 3)
    uv = torch.stack([0.5 + (p - math.pi) / (2 * math.pi), t / math.pi], dim=-1).reshape(-1, 2)
    index = torch.arange((rings + 1) * segments).view(rings + 1, segments)
    a, b = index[:-1], index[1:]
    c, d = b.roll(-1, 1), a.roll(-1, 1)
    triangles = torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])
    return vertices, uv, triangles


def plain_ids(vertices: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
    """Visible triangles (H, W) by plain torch: all pixels of all boxes at once, smallest packed depth and id."""
    height, width = size
    corners = vertices[0][triangles]
    limit = torch.tensor([width, height])
    low = (corners[..., :2].amin(1) - 0.5).ceil().long().clamp(min=0)
    high = torch.minimum((corners[..., :2].amax(1) - 0.5).floor().long() + 1, limit)
    spans = (high - low).clamp(min=0)
    counts = spans.prod(1)
    owner = torch.repeat_interleave(torch.arange(len(triangles)), counts)
    within = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
    column = low[owner, 0] + within % spans[owner, 0].clamp(min=1)
    row = low[owner, 1] + within // spans[owner, 0].clamp(min=1)
    p = corners[owner]
    x, y = p[..., 0] - (column + 0.5)[:, None], p[..., 1] - (row + 0.5)[:, None]
    e = x.roll(-1, 1) * y.roll(-2, 1) - y.roll(-1, 1) * x.roll(-2, 1)
    total = e.sum(1)
    inside = ((e >= 0) == (total > 0)[:, None]).all(1) & (total != 0)
    e, owner, pixel = e[inside], owner[inside], (row * width + column)[inside]
    depth = e.sum(1) / (e / p[inside][..., 2]).sum(1)
    key = (depth.view(torch.int32).long() << 32) | owner
    nearest = torch.full((height * width,), torch.iinfo(torch.int64).max)
    nearest.scatter_reduce_(0, pixel, key, "amin")
    return torch.where(nearest == torch.iinfo(torch.int64).max, -1, nearest & 0x7FFFFFFF).view(height, width)


def plain_picture(vertices: Tensor, uv: Tensor, texture: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
    """The textured picture (C, H, W) by plain torch."""
    ids = plain_ids(vertices.detach(), triangles, size)
    rows, columns = (ids >= 0).nonzero().unbind(1)
    corners = triangles[ids[rows, columns]]
    p = vertices[0][corners]
    x, y = p[..., 0] - (columns + 0.5)[:, None], p[..., 1] - (rows + 0.5)[:, None]
    c = (x.roll(-1, 1) * y.roll(-2, 1) - y.roll(-1, 1) * x.roll(-2, 1)) / p[..., 2]
    weights = c / c.sum(1, keepdim=True)
    place = (uv[corners] * weights[..., None]).sum(1)
    grid = (2 * place - 1)[None, None]
    colours = torch.nn.functional.grid_sample(texture, grid, padding_mode="border", align_corners=False)[0, :, 0]
    picture = torch.zeros(texture.shape[1], size[0] * size[1])
    return picture.index_copy(1, rows * size[1] + columns, colours).view(-1, *size)


def plain_distances(points: Tensor, vertices: Tensor, triangles: Tensor) -> Tensor:
    """Distances (N,) of points (N, 3) to every triangle's plane or edges, by plain torch."""
    a, b, c = vertices[triangles].unbind(1)
    p = points[:, None]
    best = torch.full((len(points), len(triangles)), torch.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        along = end - start
        t = (((p - start) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-20)).clamp(0, 1)
        best = torch.minimum(best, (p - start - t[..., None] * along).norm(dim=-1))
    normal = torch.linalg.cross(b - a, c - a)
    area = normal.square().sum(-1).clamp(min=1e-20)
    q = p - a
    v = (torch.linalg.cross(q, (c - a).expand_as(q)) * normal).sum(-1) / area
    w = (torch.linalg.cross((b - a).expand_as(q), q) * normal).sum(-1) / area
    plane = (q * normal).sum(-1).abs() / area.sqrt()
    return torch.where((v >= 0) & (w >= 0) & (v + w <= 1), torch.minimum(plane, best), best).amin(1)


def find_ids(vertices: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
    """The packed keys of the visible triangles: the rasteriser's first half, alone."""
    nearest = torch.full((1, *size), torch.iinfo(torch.int64).max)
    places, corners = kernels.as_array(vertices, wp.vec3), kernels.as_array(triangles, wp.vec3i)
    find_nearest(places, corners, 1, len(triangles), True, 1e-3, nearest)
    return nearest


def drawing() -> list[Row]:
    """Ids, ids with weights and depth, a textured picture with its gradients, outlines."""
    vertices, uv, triangles = head(85, 84)
    texture = torch.rand(1, 3, 1024, 1024)
    covered = float(rasterise(vertices, triangles, SIZE).mask.float().mean())
    scene = f"{len(triangles)} triangles, {SIZE[0]} x {SIZE[1]}, {covered:.0%} covered"
    short = triangles.int()
    plain = best_time(lambda: plain_ids(vertices, triangles, SIZE))
    rows = [
        Row(
            f"visible ids, {scene}",
            best_time(lambda: find_ids(vertices, short, SIZE), 20),
            "plain torch",
            plain,
            "<= 10 ms",
        ),
        Row("ids, weights and depth", best_time(lambda: rasterise(vertices, triangles, SIZE), 20), "ids alone", plain),
    ]

    leaves = [x.clone().requires_grad_() for x in (vertices, uv, texture)]
    grad = torch.randn(1, *SIZE, 3).movedim(-1, 1)

    def ours() -> None:
        for leaf in leaves:
            leaf.grad = None
        raster = rasterise(leaves[0], triangles, SIZE)
        place = interpolate(leaves[1], raster, triangles)
        sample_texture(leaves[2], place, raster.mask, wrap=False).backward(grad)

    def theirs() -> None:
        for leaf in leaves:
            leaf.grad = None
        plain_picture(*leaves, triangles, SIZE).backward(grad[0])

    rows.append(
        Row(
            "textured picture, forward and backward",
            best_time(ours, 10),
            "plain torch",
            best_time(theirs, 3),
            "<= 60 ms",
        )
    )
    adjacent = adjacent_triangles(triangles)
    raster = rasterise(vertices, triangles, SIZE)
    mask = raster.mask.float().requires_grad_()

    def outline() -> None:
        antialias(mask, raster, leaves[0], triangles, adjacent).sum().backward()

    rows.append(
        Row("antialiased silhouette, forward and backward", best_time(outline, 10), "ids by plain torch", plain)
    )
    return rows


def growth() -> list[Row]:
    """Cost against the number of triangles and of pixels, as rows and as the picture `FIGURE`."""
    scenes = [(rings, segments, SIZE) for rings, segments in ((22, 20), (85, 84), (250, 200), (500, 500))]
    scenes += [(85, 84, size) for size in ((128, 128), (256, 256), (512, 512), (2048, 1334))]
    rows, points = [], []
    for rings, segments, size in scenes:
        vertices, _, triangles = head(rings, segments, size)
        ours = best_time(lambda v=vertices, t=triangles, s=size: rasterise(v, t, s), 5)
        plain = best_time(lambda v=vertices, t=triangles, s=size: plain_ids(v, t, s), 2)
        rows.append(Row(f"raster of {len(triangles)} triangles, {size[0]} x {size[1]}", ours, "plain torch", plain))
        points.append((len(triangles), size[0] * size[1], ours, plain))
    _plot(points)
    return rows


def _plot(points: list[tuple[int, int, float, float]]) -> None:
    """Draw milliseconds against triangles and against pixels: (triangles, pixels, ours, plain torch) of each scene."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    titles = f"triangles, at {SIZE[0]} x {SIZE[1]}", "pixels, at 14,280 triangles"
    chosen = [p for p in points if p[1] == SIZE[0] * SIZE[1]], [p for p in points if p[0] == 14280]
    for k, (axes, title, some) in enumerate(zip(figure.subplots(1, 2), titles, chosen)):
        some = sorted(some)
        for name, column in (("ours", 2), ("plain torch", 3)):
            axes.loglog([p[k] for p in some], [1000 * p[column] for p in some], "o-", label=name)
        axes.set(xlabel=title, ylabel="milliseconds")
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_path(Path(__file__).with_name(FIGURE)) as path:
        figure.savefig(path, format="png", dpi=80)


def queries() -> list[Row]:
    """Closest points and rays on 13,776 faces; the baseline's time is that of a few queries, scaled up."""
    vertices, _, triangles = head(82, 84)
    vertices = (vertices - torch.tensor([333.5, 512, 1000])) * 3e-4  # about a head in metres
    count, few = 200_000, 40
    generator = torch.Generator().manual_seed(0)
    chosen = vertices[0][triangles[torch.randint(len(triangles), (count,), generator=generator)]].mean(1)
    points = (chosen + 0.003 * torch.randn(count, 3, generator=generator))[None]
    tree = MeshTree(vertices, triangles)
    directions = torch.tensor([0.0, 0, 1]).expand_as(points)
    plain = best_time(lambda: plain_distances(points[0, :few], vertices[0], triangles), 2) * count / few
    scene = f"{count} near {len(triangles)} triangles"
    baseline = f"plain torch, {few} scaled up"
    return [
        Row(f"closest points, {scene}", best_time(lambda: tree.closest(points)), baseline, plain, "<= 250 ms"),
        Row("the same, signed", best_time(lambda: tree.closest(points, signed=True)), baseline, plain),
        Row(f"rays, {scene}", best_time(lambda: tree.cast(points - directions, directions)), baseline, plain),
        Row("the tree itself", best_time(lambda: MeshTree(vertices, triangles)), "all closest points", plain),
    ]


def main() -> list[Row]:
    """All of the above."""
    return [*drawing(), *queries(), *growth()]
