"""`likeness repair data`: from a folder of portraits to the archive of a repair task."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import track

from likeness.errors import UserError
from likeness.geometry.face_landmarks import to_66, to_68
from likeness.media.image import list_images, read_uint8
from likeness.methods.depthnet import turning
from likeness.methods.depthnet.facewarper import read_landmark_file
from likeness.methods.depthnet.overlay import composite
from likeness.methods.depthnet.published import load_generator
from likeness.methods.depthnet.repair.archives import SIDE, write_archive
from likeness.methods.depthnet.repair.selection import crop_face, mask_face, mask_warp, role, zoom_out
from likeness.methods.depthnet.warp_dataset import IDENTITY
from likeness.perception.faces import MediaPipeFaces, find_face
from likeness.render.face_warp import FaceWarp, warp_face

ID_WIDTH = {"celeba": 6, "vgg": 50}
"""Bytes of the ids that the archives store."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Pair faces seen from the side with frontal ones, turn the first to the second, and store both."""

    images: Path
    """Folder of portraits, one face each."""
    out: Path
    """The archive, .h5."""
    rules: Literal["celeba", "vgg"] = "celeba"
    """Selection and masking rules."""
    task: Literal["background", "faceswap"] = "background"
    """`background`: warps, backgrounds and true faces; `faceswap`: faces pasted over another (member imgs)."""
    landmarks: Path | None = None
    """Folder of <stem>.txt landmark files in pixels; without it faces are found."""
    separator: str = ","
    """What separates the numbers of a landmark file."""
    run: Path | None = None
    """DepthNet run or checkpoint; without it, the weights that ship."""
    seed: int = 0
    """Of the pairing."""


@dataclass(frozen=True)
class _Crop:
    name: str
    picture: np.ndarray  # (80, 80, 3) uint8
    landmarks: np.ndarray  # (68, 2) in its pixels


def repair_data(config: DataConfig) -> None:
    """Write the archive and say what was left out.

    Raises:
        UserError: the folder holds no source or no target by these rules.
    """
    sources: list[_Crop] = []
    targets: list[_Crop] = []
    left_out: list[str] = []
    for crop in _crops(config, left_out):
        if config.task == "faceswap":
            targets.append(crop)
            continue
        part = role(crop.landmarks, config.rules)
        if part is None:
            left_out.append(f"{crop.name}: neither seen from the side nor frontal")
        else:
            (sources if part == "source" else targets).append(crop)
    if config.task == "faceswap":
        sources = targets
    if not sources or not targets or (config.task == "faceswap" and len(targets) < 2):
        raise UserError(
            f"gives {len(sources)} faces seen from the side and {len(targets)} frontal ones by the rules of "
            f"{config.rules}; both are needed: add pictures or choose other --rules",
            path=config.images,
        )
    order = np.random.default_rng(config.seed)
    generator = load_generator(config.run)
    if config.task == "faceswap":
        arrays = _swaps(sources, generator, order)
    else:
        arrays = _pairs(config, sources, targets, generator, order)
    write_archive(config.out, arrays)
    print(f"{config.out}: {len(sources)} pairs")
    for line in left_out:
        print(f"left out {line}")


def _crops(config: DataConfig, left_out: list[str]) -> Iterator[_Crop]:
    tracker = MediaPipeFaces() if config.landmarks is None else None
    for path in track(list_images(config.images), "finding faces", transient=True):
        try:
            picture = read_uint8(path)
            if config.landmarks is None:
                points = find_face(picture, tracker=tracker, path=path).landmarks.astype(np.float64)
            else:
                points = to_68(read_landmark_file(config.landmarks / f"{path.stem}.txt", config.separator)[:, :2])
        except UserError as error:
            left_out.append(str(error))
            continue
        yield _Crop(path.stem, *crop_face(picture, points, config.rules))


def move(source: _Crop, target: _Crop, generator: turning.Generator) -> FaceWarp:
    """Warp the source's face onto the target's landmarks."""
    depth, affine = turning.predict(generator, to_66(source.landmarks) / SIDE, to_66(target.landmarks)[None] / SIDE)
    matrix = turning.pixel_affine(affine[0], SIDE, SIDE)
    return warp_face(source.picture, source.landmarks, to_68(depth[0][:, None])[:, 0], matrix)


def _pairs(
    config: DataConfig,
    sources: list[_Crop],
    targets: list[_Crop],
    generator: turning.Generator,
    order: np.random.Generator,
) -> dict[str, np.ndarray]:
    chosen = [targets[index] for index in order.integers(len(targets), size=len(sources))]
    rows: dict[str, list[np.ndarray]] = {"src_GT": [], "src_depthNet": [], "tg_GT": [], "src_GT_mask_face": []}
    for source, target in zip(track(sources, "turning", transient=True), chosen):
        rows["src_GT"].append(source.picture)
        rows["tg_GT"].append(target.picture)
        rows["src_depthNet"].append(zoom_out(move(source, target, generator).image))
        if config.rules == "celeba":
            background = mask_face(source.picture, source.landmarks)
        else:
            cut = warp_face(source.picture, source.landmarks, np.zeros(68), IDENTITY)
            background = mask_warp(source.picture, cut.image)
        rows["src_GT_mask_face"].append(background)
    arrays = {name: np.stack(pictures) for name, pictures in rows.items()}
    arrays["src_depthNet_and_mask"] = np.concatenate([arrays["src_depthNet"], arrays["src_GT_mask_face"]], axis=-1)
    width = ID_WIDTH[config.rules]
    arrays["src_id"] = np.array([crop.name.encode()[:width] for crop in sources], dtype=f"S{width}")
    arrays["tg_id"] = np.array([crop.name.encode()[:width] for crop in chosen], dtype=f"S{width}")
    return arrays


def _swaps(crops: list[_Crop], generator: turning.Generator, order: np.random.Generator) -> dict[str, np.ndarray]:
    shift = order.integers(1, len(crops), size=len(crops))
    pasted = []
    for index, source in enumerate(track(crops, "swapping", transient=True)):
        target = crops[(index + shift[index]) % len(crops)]
        seen = move(source, target, generator)
        pasted.append(composite(seen.image, target.picture, seen.coverage))
    return {"imgs": np.stack(pasted)}
