"""Head crops on disk: `ROOT/{imgs,keypoints,segs}/PHASE/PERSON/VIDEO/SEQUENCE/FRAME.{jpg,npy,png}`.

The layout of the bi-layer head avatars and of their video-conferencing fork. A *video* is `PERSON/VIDEO`, a *clip* one
`SEQUENCE`, and a *frame name* is `PERSON/VIDEO/SEQUENCE/FRAME` without a suffix, always with forward slashes.

Images are square RGB crops, 8 bit, JPEG. Keypoints are 68 landmarks (iBUG order), x right and y down, in pixels of the
stored image; `(1, 136)` interleaved as the fork writes them, `(68, 2)` or more columns as its parent does: both are
read. Masks are the soft foreground probability times 255, with one channel or with three equal ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from likeness.errors import UserError
from likeness.files import atomic_path

SUFFIXES = {"imgs": ".jpg", "keypoints": ".npy", "segs": ".png"}
"""The three trees and the suffix of their files."""

PHASES = ("train", "test", "unseen_test", "metrics")
"""The phases that the layout knows."""

NUM_KEYPOINTS = 68
JPEG_QUALITY = 75


@dataclass(frozen=True)
class HeadFrame:
    """One frame of the tree in memory, everything in pixels of `image`."""

    image: np.ndarray
    """(3, S, S) float32 RGB in [0, 1]."""
    keypoints: np.ndarray
    """(68, 2) float32, x right and y down, pixels of `image`; may lie outside of it."""
    mask: np.ndarray | None
    """(1, S, S) float32 in [0, 1], foreground; None when the tree has no masks or they were not asked for."""


def frame_path(root: str | Path, part: str, phase: str, name: str) -> Path:
    """The file of frame `name` (`PERSON/VIDEO/SEQUENCE/FRAME`) in tree `part` (`imgs`, `keypoints` or `segs`)."""
    return Path(root) / part / phase / f"{name}{SUFFIXES[part]}"


def require_tree(root: str | Path, phase: str, masks: bool = True) -> None:
    """Raise `UserError` unless `root` holds every tree that `phase` needs."""
    for part in _parts(masks):
        folder = Path(root) / part / phase
        if not folder.is_dir():
            found = sorted(str(p.relative_to(root)) for p in Path(root).glob("*/*") if p.is_dir())[:8]
            raise UserError(
                f"a head data set needs the folder {part}/{phase}; found {', '.join(found) or 'nothing of the kind'}. "
                "Make it with `likeness extract heads VIDEO_ROOT DATA_ROOT`",
                path=root,
            )


def list_phases(root: str | Path) -> list[str]:
    """The phases present under `root/imgs`, in the layout's order."""
    return [phase for phase in PHASES if (Path(root) / "imgs" / phase).is_dir()]


def list_videos(root: str | Path, phase: str) -> list[str]:
    """All `PERSON/VIDEO` of a phase, sorted as strings; videos without frames are listed too."""
    base = Path(root) / "imgs" / phase
    return sorted(p.relative_to(base).as_posix() for p in base.glob("*/*") if p.is_dir())


def list_clips(root: str | Path, phase: str, video: str) -> list[str]:
    """All `PERSON/VIDEO/SEQUENCE` of a video, sorted as strings."""
    base = Path(root) / "imgs" / phase
    return sorted(p.relative_to(base).as_posix() for p in (base / video).glob("*") if p.is_dir())


def list_frames(root: str | Path, phase: str, video: str, masks: bool = True) -> list[str]:
    """The frame names of a video that are present in every tree, sorted as path strings (0, 1, 10, 100, 11, ...)."""
    present: set[str] | None = None
    for part in _parts(masks):
        base = Path(root) / part / phase
        names = {
            p.relative_to(base).with_suffix("").as_posix()
            for p in (base / video).glob(f"*/*{SUFFIXES[part]}")
            if not p.name.startswith(".")
        }
        present = names if present is None else present & names
    return sorted(present or ())


def iterate_frames(root: str | Path, phase: str, masks: bool = True) -> Iterator[str]:
    """Every complete frame name of a phase, video by video."""
    for video in list_videos(root, phase):
        yield from list_frames(root, phase, video, masks)


def read_image(path: str | Path, size: int | None = None) -> np.ndarray:
    """Read an RGB image -> (3, S, S) float32 in [0, 1]; with `size`, resized bicubically (antialiased, 8 bit).

    Raises:
        UserError: the file is absent, is no image, or is not square.
    """
    image = _open(path).convert("RGB")
    if image.width != image.height:
        raise UserError(f"expected a square head crop, found {image.width}x{image.height}", path=path)
    if size is not None and image.width != size:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255


def read_mask(path: str | Path, size: int | None = None) -> np.ndarray:
    """Read a soft mask of one or of three equal channels -> (1, S, S) float32 in [0, 1], resized as images are.

    Raises:
        UserError: the file is absent, is no image, or is not square.
    """
    image = _open(path)
    image = image.getchannel(0) if len(image.getbands()) > 1 else image.convert("L")
    if image.width != image.height:
        raise UserError(f"expected a square mask, found {image.width}x{image.height}", path=path)
    if size is not None and image.width != size:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)[None] / 255


def read_keypoints(path: str | Path) -> np.ndarray:
    """Read 68 landmarks -> (68, 2) float32 pixels of the stored image; extra columns are ignored.

    Raises:
        UserError: the file is absent, is no array, holds another number of points, or a value that is not finite.
    """
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"expected an array of {NUM_KEYPOINTS} landmarks, could not read it ({error})", path=path
        ) from None
    if stored.size == 2 * NUM_KEYPOINTS and stored.shape[-1] == 2 * NUM_KEYPOINTS:
        stored = stored.reshape(NUM_KEYPOINTS, 2)
    if stored.ndim != 2 or stored.shape[0] != NUM_KEYPOINTS or stored.shape[1] < 2:
        raise UserError(
            f"expected {NUM_KEYPOINTS} landmarks as (68, 2) or (1, 136), found shape {tuple(stored.shape)}", path=path
        )
    keypoints = stored[:, :2].astype(np.float32)
    if not np.isfinite(keypoints).all():
        raise UserError(
            "expected finite landmark coordinates, found NaN or infinity: extract this frame again", path=path
        )
    return keypoints


def read_frame(root: str | Path, phase: str, name: str, size: int | None = None, masks: bool = True) -> HeadFrame:
    """Read frame `name`; with `size`, image, mask and keypoints are brought to that many pixels.

    Raises:
        UserError: a file is absent or unreadable, or the mask's size is not the image's.
    """
    image_path = frame_path(root, "imgs", phase, name)
    stored_size = _open(image_path).width
    image = read_image(image_path, size)
    keypoints = read_keypoints(frame_path(root, "keypoints", phase, name)) * (image.shape[-1] / stored_size)
    mask = None
    if masks:
        mask_path = frame_path(root, "segs", phase, name)
        if (width := _open(mask_path).width) != stored_size:
            raise UserError(
                f"the mask is {width} pixels wide, its image {stored_size}: extract this frame again", path=mask_path
            )
        mask = read_mask(mask_path, size)
    return HeadFrame(image, keypoints.astype(np.float32), mask)


def write_frame(
    root: str | Path, phase: str, name: str, image: np.ndarray, keypoints: np.ndarray, mask: np.ndarray | None
) -> None:
    """Write one frame into the tree, the image last: a frame whose image is there is whole.

    Args:
        image: (3, S, S) float RGB in [0, 1]; stored as JPEG of quality 75, `floor(255 x + 0.5)`.
        keypoints: (68, 2) pixels of `image`; stored as float32 `(1, 136)`, x and y interleaved.
        mask: (1, S, S) in [0, 1], stored as 8-bit PNG of one channel, or None to leave the mask out.
    """
    if keypoints.shape != (NUM_KEYPOINTS, 2):
        raise ValueError(f"expected keypoints of shape (68, 2), found {keypoints.shape}")
    if mask is not None:
        if mask.shape[-2:] != image.shape[-2:]:
            raise ValueError(f"mask {mask.shape} and image {image.shape} differ in size")
        with atomic_path(frame_path(root, "segs", phase, name)) as path:
            Image.fromarray(_to_bytes(mask.reshape(mask.shape[-2:]))).save(path)
    with atomic_path(frame_path(root, "keypoints", phase, name)) as path:
        np.save(path, keypoints.astype(np.float32).reshape(1, 2 * NUM_KEYPOINTS))
    with atomic_path(frame_path(root, "imgs", phase, name)) as path:
        Image.fromarray(_to_bytes(image.transpose(1, 2, 0))).save(path, quality=JPEG_QUALITY)


def _parts(masks: bool) -> tuple[str, ...]:
    return ("imgs", "keypoints", "segs") if masks else ("imgs", "keypoints")


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(values, 0, 1).astype(np.float32) * 255 + 0.5).astype(np.uint8)


def _open(path: str | Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, UnidentifiedImageError) as error:
        reason = "it is not there" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(f"expected an image, could not read it: {reason}", path=path) from None
