"""The user's cache folder: whole, checked by hash, bounded, and safe for several processes at once."""

import contextlib
import fcntl
import hashlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from likeness.files import write_bytes

MAGIC = b"likeness-cache-1"
LIMIT_BYTES = 2_000_000_000

Arrays = dict[str, np.ndarray]


def cache_folder() -> Path:
    """`LIKENESS_CACHE`, or the platform's own cache folder with `likeness` in it."""
    if chosen := os.environ.get("LIKENESS_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "likeness"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "likeness"


def cached(name: str, build: Callable[[], Mapping[str, np.ndarray]], limit_bytes: int = LIMIT_BYTES) -> Arrays:
    """The arrays stored under `name`, built and stored first when absent or damaged.

    Processes that ask for the same name at once wait for the one that builds. When the folder grows beyond
    `limit_bytes`, the entries that were used longest ago are removed.

    Args:
        name: file name without suffix; whatever the content depends on must be part of it.
        build: makes the arrays; called only when needed.
    """
    path = cache_folder() / f"{name}.bin"
    if (arrays := _read(path)) is not None:
        return arrays
    with _locked(path):
        if (arrays := _read(path)) is not None:
            return arrays
        arrays = dict(build())
        payload = io.BytesIO()
        np.savez(payload, **arrays)  # type: ignore[arg-type]
        content = payload.getvalue()
        write_bytes(path, MAGIC + hashlib.sha256(content).digest() + content)
    _trim(path.parent, limit_bytes, keep=path)
    return arrays


def clear_cache() -> None:
    """Remove the baked assets and people from the user's cache folder; they are made again when needed."""
    print(f"{cache_folder()}: {clear() / 1e6:.0f} MB freed")


def clear() -> int:
    """Remove every entry; returns the number of bytes that were freed."""
    freed = 0
    for path in cache_folder().glob("*.bin"):
        freed += path.stat().st_size
        path.unlink(missing_ok=True)
    return freed


def _read(path: Path) -> Arrays | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest = content[len(MAGIC) : len(MAGIC) + 32]
    payload = memoryview(content)[len(MAGIC) + 32 :]
    if not content.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The lock file stays: removing it would let two processes hold locks on two files of one name.
    with open(path.with_suffix(".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _trim(folder: Path, limit_bytes: int, keep: Path) -> None:
    entries = []
    for path in folder.glob("*.bin"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            entries.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit_bytes:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size
