"""What every `likeness capture METHOD` can be told."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, TypeVar

from torch import Tensor
from tyro.conf import Positional

from likeness.errors import UserError
from likeness.files import write_text
from likeness.media.image import grid, write_image

Preset = Literal["tiny", "demo", "full"]
SETTINGS_FILE = "capture.json"
SHEET_FILE = "contact_sheet.png"
SMALLEST_PICTURE = 16
LOWEST = {"seed": 0, "train": 0, "valid": 0, "test": 0, "test_frames": 0, "rate": 0.1} | dict.fromkeys(
    ("size", "height", "texture", "resolution"), SMALLEST_PICTURE
)
"""Smallest number of an option; of all others 1."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class CaptureConfig:
    """Options that all data sets share."""

    out: Positional[Path]
    """Folder of the data set."""
    preset: Preset = "demo"
    """How much to make where the counts are not given."""
    seed: int = 0
    """Of people, light and motion: the same seed gives the same pixels."""
    workers: int = 1
    """Processes; the result does not depend on their number."""
    contact_sheet: bool = False
    """Also write contact_sheet.png, which shows what was made."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = LOWEST.get(field.name, 1)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and not value >= lowest:
                raise UserError(f"--{field.name.replace('_', '-')} is {value}: expected {lowest} or more")


def chosen(value: T | None, preset: Preset, tiny: T, demo: T, full: T) -> T:
    """An option's own value, or its preset's."""
    return value if value is not None else {"tiny": tiny, "demo": demo, "full": full}[preset]


def claim(config: CaptureConfig, method: str, **resolved: object) -> None:
    """Note in the folder what is being made, or check that what is there was made by the same options.

    Raises:
        UserError: the folder holds another data set.
    """
    settings = {"method": method, "seed": config.seed, **resolved}
    path = config.out / SETTINGS_FILE
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        if there != json.loads(json.dumps(settings)):
            differing = sorted(key for key in settings | there if settings.get(key) != there.get(key))
            raise UserError(
                f"was made with other options ({', '.join(differing)} differ): choose another folder, or remove it",
                path=config.out,
            )
        return
    if config.out.is_dir() and any(config.out.iterdir()):
        raise UserError("is not empty and was not made by this command: choose another folder", path=config.out)
    write_text(path, json.dumps(settings, indent=1, default=str) + "\n")


def contact_sheet(config: CaptureConfig, pictures: Sequence[Tensor] | Iterator[Tensor], columns: int = 8) -> None:
    """Write equal pictures (3, H, W) side by side."""
    write_image(config.out / SHEET_FILE, grid(list(pictures), columns), synthetic=True)
