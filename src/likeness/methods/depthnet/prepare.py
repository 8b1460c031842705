"""From a 3DFAW tree to the arrays that training reads, and the small pictures of figure 2."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image

from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.formats.depthnet3dfaw import (
    SPLIT_FILE,
    LandmarkArchive,
    normalise,
    read_landmarks,
    read_split_list,
    save_archive,
)
from likeness.media.image import read_uint8, resize_uint8

CROP = 80


@dataclass(frozen=True)
class PrepareConfig:
    """Write train.npz, valid.npz, test.npz and valid_img_cropped_80x80/ into a 3DFAW folder."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The 3DFAW folder: train_img, train_lm, valid_img, valid_lm, list_valid_test.txt."""


def prepare(config: PrepareConfig) -> None:
    """Prepare a 3DFAW tree in place; nothing is written before every file has been read and found good.

    Raises:
        UserError: a folder, picture, landmark file or split line is missing or wrong; names the file.
    """
    folder = config.folder
    if not folder.is_dir():
        raise UserError("no such folder: name an unpacked 3DFAW tree", path=folder)
    for name in ("train_img", "train_lm", "valid_img", "valid_lm"):
        if not (folder / name).is_dir():
            raise UserError(f"has no folder {name}: expected an unpacked 3DFAW tree", path=folder)
    train_ids = sorted(path.name.removesuffix("_lm.csv") for path in (folder / "train_lm").glob("*_lm.csv"))
    if not train_ids:
        raise UserError("holds no <id>_lm.csv: expected the training landmarks of 3DFAW", path=folder / "train_lm")
    split = read_split_list(folder / SPLIT_FILE)
    archives = {"train": _archive(folder, "train", train_ids)}
    for name in ("valid", "test"):
        rows = [row for row in split if row.split == name]
        archive = _archive(folder, "valid", [row.id for row in rows])
        orientations = np.array([row.orientation for row in rows], dtype=str) if name == "test" else None
        archives[name] = LandmarkArchive(archive.xy, archive.depth, archive.ids, orientations)
    for path in sorted((folder / "valid_img").glob("*.jpg")):
        _write_crop(folder, path)
    for name, archive in archives.items():
        if name == "train":
            archive = LandmarkArchive(archive.xy, archive.depth)
        save_archive(folder / f"{name}.npz", archive)
        print(f"{folder / name}.npz: {len(archive)} faces")


def _archive(folder: Path, tree: str, ids: list[str]) -> LandmarkArchive:
    faces = [normalise(read_landmarks(_landmark_file(folder, tree, name)), *_size(folder, tree, name)) for name in ids]
    xy = np.array([face[0] for face in faces], dtype=np.float32).reshape(-1, 66, 2)
    depth = np.array([face[1] for face in faces], dtype=np.float32).reshape(-1, 66)
    return LandmarkArchive(xy, depth, np.array(ids, dtype=str))


def _landmark_file(folder: Path, tree: str, name: str) -> Path:
    return folder / f"{tree}_lm" / f"{name}_lm.csv"


def _size(folder: Path, tree: str, name: str) -> tuple[int, int]:
    path = folder / f"{tree}_img" / f"{name}.jpg"
    try:
        with Image.open(path) as picture:
            return picture.size
    except FileNotFoundError:
        raise UserError(
            f"no such picture, though {'its landmarks are there' if tree == 'train' else SPLIT_FILE + ' names it'}: "
            "fetch it, or take its line and landmarks away",
            path=path,
        ) from None
    except OSError as error:
        raise UserError(f"cannot be read as a picture ({error}): fetch it again", path=path) from error


def _write_crop(folder: Path, path: Path) -> None:
    landmarks = read_landmarks(_landmark_file(folder, "valid", path.stem))
    (left, top), (right, bottom) = landmarks[:, :2].min(0).astype(int), landmarks[:, :2].max(0).astype(int)
    cut = read_uint8(path)[max(top, 0) : bottom, max(left, 0) : right]
    if not cut.size:
        raise UserError("its landmarks lie outside of the picture", path=path)
    with atomic_path(folder / "valid_img_cropped_80x80" / path.name) as temporary:
        Image.fromarray(resize_uint8(cut, (CROP, CROP))).save(temporary, quality=95)
