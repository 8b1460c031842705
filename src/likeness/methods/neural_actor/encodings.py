"""Positional encodings, and the strings that say which inputs a field reads with which encoding."""

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from likeness.errors import UserError

Kind = Literal["a", "b"]

ANGULAR_BY_DEFAULT = frozenset({"ray", "normal"})
"""Inputs whose encoding is angular unless the string says otherwise."""


@dataclass(frozen=True)
class InputSpec:
    """One input of a field: `name:levels:dim:kind`."""

    name: str
    levels: int
    """Frequencies; 0 passes the input through."""
    dim: int = 3
    kind: Kind = "b"
    """`b`: sines and cosines, then the raw input; `a`: of the angle acos(x), without it."""

    @property
    def width(self) -> int:
        """Channels after encoding."""
        if self.levels == 0:
            return self.dim
        return self.dim * (2 * self.levels + (self.kind == "b"))


def parse_inputs(text: str, known: tuple[str, ...]) -> tuple[InputSpec, ...]:
    """Parse `"feat:0:256,ray:4:3:b"`.

    Raises:
        UserError: an unknown name, a count that is no number, an unknown kind, or a name twice.
    """
    specs: list[InputSpec] = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        parts = entry.split(":")
        name = parts[0]
        if name not in known:
            raise UserError(f"input {entry!r}: there is no input {name!r}; choose from {', '.join(known)}")
        if any(spec.name == name for spec in specs):
            raise UserError(f"input {entry!r}: {name!r} is named twice")
        if not 2 <= len(parts) <= 4 or not all(part.isdigit() for part in parts[1:3]):
            raise UserError(f"input {entry!r}: expected name:levels[:dim[:kind]] with whole numbers, as in ray:4:3:b")
        kind = parts[3] if len(parts) == 4 else ("a" if name in ANGULAR_BY_DEFAULT else "b")
        if kind not in ("a", "b"):
            raise UserError(f"input {entry!r}: there is no encoding {kind!r}; choose a (angular) or b (basic)")
        specs.append(InputSpec(name, int(parts[1]), int(parts[2]) if len(parts) > 2 else 3, cast(Kind, kind)))
    if not specs:
        raise UserError(f"{text!r} names no input: expected name:levels[:dim[:kind]], separated by commas")
    return tuple(specs)


def frequencies(levels: int, times_pi: bool) -> Tensor:
    """(levels,) 1, 2, 4, ..., each times pi where `times_pi`."""
    return 2.0 ** torch.arange(levels) * (math.pi if times_pi else 1.0)


def encode(values: Tensor, bands: Tensor, kind: Kind = "b") -> Tensor:
    """Encode (..., C) with (L,) `bands`.

    Each component gives the run sin(f_0 x) .. sin(f_{L-1} x), cos(f_0 x) .. cos(f_{L-1} x); kind `b` appends the raw
    components after all runs, kind `a` takes acos of the components first (NeRF, section 5.1, in this order).
    """
    angles = torch.acos(values.clamp(-1 + 1e-6, 1 - 1e-6)) if kind == "a" else values
    scaled = angles.unsqueeze(-1) * bands  # (..., C, L)
    waves = torch.cat([scaled.sin(), scaled.cos()], dim=-1).flatten(-2)
    return torch.cat([waves, values], dim=-1) if kind == "b" else waves
