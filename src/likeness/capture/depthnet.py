"""DepthNet's data set: a 3DFAW tree of synthetic faces, with or without pictures."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from likeness.capture.faces import Faces, synthetic_faces
from likeness.files import write_text
from likeness.formats.depthnet3dfaw import (
    ORIENTATIONS,
    SPLIT_FILE,
    LandmarkArchive,
    SplitRow,
    save_archive,
    write_landmarks,
    write_split_list,
)

CHUNK = 500
WRITERS = 16
SIZES_FILE = "picture_sizes.csv"
"""One line `id,height,width` a face: what the landmark files' pixels refer to where there are no pictures."""


@dataclass(frozen=True)
class Part:
    """One of the three parts of the tree: faces `start` to `start + count` of the stream that the seed stands for."""

    name: str
    folder: str
    start: int
    count: int


def parts(train: int, valid: int, test: int) -> list[Part]:
    """Where each part's faces come from; `valid` and `test` share the folder `valid_*`."""
    return [
        Part("train", "train", 0, train),
        Part("valid", "valid", train, valid),
        Part("test", "valid", train + valid, test),
    ]


def face_id(part: Part, number: int) -> str:
    """Name of a face in the tree."""
    return f"{part.name}_{number:06d}"


def write_landmark_tree(out: Path, train: int, valid: int, test: int, seed: int) -> None:
    """Landmark files, split list and prepared archives of a 3DFAW tree, without pictures.

    The prepared archives hold what `likeness prepare depthnet` would make of the tree: the files' own, rounded numbers
    divided by the picture sizes. Test faces are a third left, center and right each.
    """
    rows: list[SplitRow] = []
    sizes: list[str] = []
    for part in parts(train, valid, test):
        planes, depths, names, sides = [], [], [], []
        for number, faces in part_faces(part, seed):
            rounded = Faces(np.round(faces.landmarks, 6), faces.sizes, faces.orientations)
            ids = [face_id(part, number + i) for i in range(len(rounded.landmarks))]
            files = [out / f"{part.folder}_lm" / f"{name}_lm.csv" for name in ids]
            # Every file is synced to the disk; threads wait for that together.
            with ThreadPoolExecutor(WRITERS) as pool:
                list(pool.map(write_landmarks, files, rounded.landmarks))
            names += ids
            sizes += [f"{name},{height},{width}\n" for name, (height, width) in zip(ids, rounded.sizes)]
            plane, depth = rounded.normalised()
            planes.append(plane)
            depths.append(depth)
            sides.extend(rounded.orientations)
        if part.name != "train":
            rows += [
                SplitRow(name, part.name, str(side) if part.name == "test" else None)
                for name, side in zip(names, sides)
            ]
        if not names:
            continue
        archive = LandmarkArchive(
            np.concatenate(planes),
            np.concatenate(depths),
            None if part.name == "train" else np.array(names),
            np.array(sides) if part.name == "test" else None,
        )
        save_archive(out / f"{part.name}.npz", archive)
    write_text(out / SIZES_FILE, "".join(sizes))
    write_split_list(out / SPLIT_FILE, rows)


def part_faces(part: Part, seed: int) -> Iterator[tuple[int, Faces]]:
    """(number of the first, faces) in chunks, so that memory stays flat."""
    for number in range(0, part.count, CHUNK):
        count = min(CHUNK, part.count - number)
        turned = [ORIENTATIONS[(number + i) % 3] for i in range(count)] if part.name == "test" else None
        yield number, synthetic_faces(count, seed, crop=False, start=part.start + number, orientations=turned)
