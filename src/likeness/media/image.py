"""Pictures: any kind in, float32 RGB in [0, 1] of shape (3, H, W) in memory, PNG, JPEG or WebP out."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin
from torch import Tensor

from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.media.synthetic import SYNTHETIC_NOTE, XMP

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""Suffixes that `list_images` takes for pictures."""

WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def read_image(path: str | Path, background: float = 1.0) -> Tensor:
    """Read a picture as float32 RGB (3, H, W) in [0, 1], turned as its EXIF orientation says.

    Grey, palette, CMYK, 16-bit grey and transparent pictures are all brought to RGB; transparency is laid over a plain
    `background` grey in [0, 1]. Of an animation the first frame is taken.

    Raises:
        UserError: no such file, or it is no whole picture.
    """
    return from_uint8(read_uint8(path, background))


def read_uint8(path: str | Path, background: float = 1.0) -> np.ndarray:
    """Read a picture as `read_image` does, as uint8 (H, W, 3)."""
    picture = _open(path)
    if picture.mode.startswith("I") or picture.mode == "F":
        return np.repeat(_wide_grey(picture, path)[..., None], 3, axis=-1)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        plain = Image.new("RGBA", picture.size, (round(255 * background),) * 3 + (255,))
        picture = Image.alpha_composite(plain, picture)
    return np.asarray(picture.convert("RGB"))


def read_mask(path: str | Path) -> Tensor:
    """Read a soft mask as float32 (1, H, W) in [0, 1]: the first channel of a colour picture, or a grey picture."""
    picture = _open(path)
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = _wide_grey(picture, path)
    elif picture.mode == "1":
        grey = np.asarray(picture.convert("L"))
    elif picture.mode in ("L", "LA"):
        grey = np.asarray(picture.getchannel(0))
    else:
        grey = np.asarray(picture.convert("RGB"))[..., 0]
    return torch.from_numpy(grey.astype(np.float32) / 255)[None]


def write_image(
    path: str | Path, image: Tensor | np.ndarray, *, synthetic: bool, quality: int = 95, truncate: bool = False
) -> None:
    """Write a picture atomically; the suffix (.png, .jpg, .webp) chooses the format.

    Args:
        image: (3, H, W) or (1, H, W) float in [0, 1] (clipped), or uint8 (H, W, 3), (H, W), or with alpha (H, W, 4).
        synthetic: whether the picture was computed; then the file says so (PNG text, JPEG comment, XMP). A crop of a
            real photograph is not synthetic.
        quality: of JPEG and WebP, 1 to 100.
        truncate: floats become bytes by truncation instead of rounding half up.

    Raises:
        UserError: unknown suffix, full disk, or a folder that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise UserError(f"cannot write pictures as {path.suffix!r}: use one of {', '.join(WRITABLE)}", path=path)
    array = to_uint8(image, truncate=truncate) if isinstance(image, Tensor) else image
    if array.dtype != np.uint8:
        raise ValueError(f"expected a float tensor or a uint8 array, got {array.dtype}")
    kind = WRITABLE[path.suffix.lower()]
    options: dict[str, object] = {} if kind == "PNG" else {"quality": quality}
    if synthetic and kind == "PNG":
        note = PngImagePlugin.PngInfo()
        note.add_text("Comment", SYNTHETIC_NOTE)
        note.add_itxt("XML:com.adobe.xmp", XMP)
        options["pnginfo"] = note
    elif synthetic:
        options["xmp"] = XMP.encode()
        if kind == "JPEG":
            options["comment"] = SYNTHETIC_NOTE
    with atomic_path(path) as temporary:
        Image.fromarray(array.squeeze()).save(temporary, kind, **options)


def to_uint8(image: Tensor, truncate: bool = False) -> np.ndarray:
    """Bytes (..., H, W, C) of a float image (..., C, H, W) in [0, 1] (clipped).

    Rounds half up, floor(255 x + 0.5), or truncates, floor(255 x): the originals differ in this.
    """
    scaled = image.detach().float().clamp(0, 1).mul(255)
    scaled = scaled.floor() if truncate else scaled.add(0.5).floor()
    return scaled.to(torch.uint8).movedim(-3, -1).contiguous().cpu().numpy()


def from_uint8(array: np.ndarray) -> Tensor:
    """Float32 image (..., C, H, W) in [0, 1] of bytes (..., H, W, C)."""
    return torch.tensor(array).movedim(-1, -3).contiguous().float().div(255)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (..., C, H, W) to `size` (height, width), bicubic, antialiased when shrinking, clipped to [0, 1]."""
    flat = image.reshape(-1, *image.shape[-3:])
    out = torch.nn.functional.interpolate(flat, size, mode="bicubic", antialias=True, align_corners=False)
    return out.clamp(0, 1).reshape(*image.shape[:-2], *size)


def resize_uint8(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample bytes (H, W[, 3]) to `size` (height, width) by Pillow's antialiased bicubic, byte for byte."""
    return np.asarray(Image.fromarray(array).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def grid(images: Sequence[Tensor] | Tensor, columns: int | None = None, gap: int = 2, fill: float = 1.0) -> Tensor:
    """Lay equal pictures (3, H, W) out in rows of `columns` (default: nearly square), (3, H', W')."""
    count = len(images)
    if count == 0:
        raise ValueError("no pictures to lay out")
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    _, height, width = images[0].shape
    page = torch.full((3, rows * (height + gap) - gap, columns * (width + gap) - gap), fill)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        page[:, top : top + height, left : left + width] = image.detach().float().clamp(0, 1).cpu()
    return page


def list_images(folder: str | Path) -> list[Path]:
    """The pictures directly in `folder`, sorted by name.

    Raises:
        UserError: no such folder, or it holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError("is no folder: name a folder of pictures", path=folder)
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    if not found:
        raise UserError(f"holds no picture ({', '.join(sorted(IMAGE_SUFFIXES))})", path=folder)
    return found


def _open(path: str | Path) -> Image.Image:
    path = Path(path)
    if not path.is_file():
        raise UserError("no such picture", path=path)
    if path.stat().st_size == 0:
        raise UserError("the file is empty, a picture was expected: fetch or write it again", path=path)
    try:
        with Image.open(path) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except Image.DecompressionBombError as error:
        raise UserError(f"{error}: scale the picture down", path=path) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"cannot be read as a picture ({error}): it is damaged or of another kind", path=path
        ) from error


def _wide_grey(picture: Image.Image, path: str | Path) -> np.ndarray:
    values = np.asarray(picture).astype(np.float64)
    limit = 1.0 if picture.mode == "F" else 65535.0
    if values.min() < 0 or values.max() > limit:
        found = f"{values.min():g} to {values.max():g}"
        raise UserError(f"grey values run from {found}, expected 0 to {limit:g}: save it with 8 or 16 bits", path=path)
    return np.floor(values * (255 / limit) + 0.5).astype(np.uint8)
