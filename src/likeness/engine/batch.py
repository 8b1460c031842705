"""Typed batches: what splits, what is shared, what moves to a device."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

B = TypeVar("B")


def sample(**keywords: Any) -> Any:
    """A field with one entry per sample along its first axis; None where the batch lacks it."""
    return dataclasses.field(metadata={"role": "sample"}, **keywords)


def shared(**keywords: Any) -> Any:
    """A field that all samples share (topology, skinning weights, a constant)."""
    return dataclasses.field(metadata={"role": "shared"}, **keywords)


def count(batch: Any) -> int:
    """Number of samples in `batch`: the length of its first present per-sample field."""
    for field, value in _fields(batch):
        if field.metadata.get("role") == "sample" and value is not None:
            return len(value)
    raise TypeError(f"{type(batch).__name__} has no per-sample field: mark one with likeness.engine.sample()")


def to_device(batch: B, device: torch.device) -> B:
    """`batch` with every tensor, also those inside nested dataclasses, on `device`."""
    return _map(batch, lambda tensor: tensor.to(device, non_blocking=True))


def split(batch: B, parts: int) -> Iterator[B]:
    """Cut the per-sample fields of `batch` into at most `parts` runs of nearly equal length, in order."""
    total = count(batch)
    parts = min(parts, total)
    bounds = [round(index * total / parts) for index in range(parts + 1)]
    for start, stop in itertools.pairwise(bounds):
        yield take(batch, slice(start, stop))


def take(batch: B, index: slice) -> B:
    """The samples of `batch` that `index` selects; shared fields stay as they are."""
    changes = {
        field.name: value[index]
        for field, value in _fields(batch)
        if field.metadata.get("role") == "sample" and value is not None
    }
    return dataclasses.replace(batch, **changes)  # type: ignore[type-var]


def collate(batches: Sequence[B]) -> B:
    """Join batches along their per-sample fields; shared fields are those of the first."""
    first = batches[0]
    changes: dict[str, Any] = {}
    for field, value in _fields(first):
        if field.metadata.get("role") != "sample" or value is None:
            continue
        values = [getattr(batch, field.name) for batch in batches]
        if isinstance(value, Tensor):
            changes[field.name] = torch.cat(values)
        else:
            changes[field.name] = [entry for part in values for entry in part]
    return dataclasses.replace(first, **changes)  # type: ignore[type-var]


def _fields(batch: Any) -> Iterator[tuple[dataclasses.Field, Any]]:
    for field in dataclasses.fields(batch):
        yield field, getattr(batch, field.name)


def _map(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {field.name: _map(inner, function) for field, inner in _fields(value)}
        return dataclasses.replace(value, **changes)
    if isinstance(value, dict):
        return {key: _map(inner, function) for key, inner in value.items()}
    return value
