"""Photographs and textures: 8-bit RGB, as they lie on disk."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.formats.multiface.text import file_bytes


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """An 8-bit RGB picture (H, W, 3), row 0 on top."""
    path = Path(path)
    picture = cv2.imdecode(np.frombuffer(file_bytes(path, "the picture"), np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise UserError("is no picture that can be decoded: fetch it again", path=path)
    return np.asarray(picture, dtype=np.uint8)


def write_picture(path: str | Path, picture: NDArray[np.uint8]) -> None:
    """Write an 8-bit RGB picture (H, W, 3) as PNG."""
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), np.ascontiguousarray(picture[..., ::-1])):
            raise UserError("the picture could not be written as its suffix asks", path=path)
