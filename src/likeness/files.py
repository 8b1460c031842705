"""Writing files so that nothing half-written is ever left behind."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from likeness.errors import UserError


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; on success it is synced and renamed onto `path`, otherwise removed.

    The folder is made if absent, and the temporary name keeps the suffix, so that libraries which pick a format by
    suffix can write to it.

    Raises:
        UserError: the disk is full, the folder cannot be written, or a file or folder is in the way.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:80]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise explained(error, path) from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_UMASK)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_open(path: str | Path, mode: str = "w", **keywords) -> Iterator[IO]:
    """Open `path` for writing as a whole: readers see the old content or the new, never a part of it."""
    with atomic_path(path) as temporary:
        with open(temporary, mode, **keywords) as stream:
            yield stream


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` atomically."""
    with atomic_open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_open(path, "wb") as stream:
        stream.write(content)


def explained(error: OSError, path: str | Path | None) -> OSError | UserError:
    """What `error` at `path` means for a user, where it is the machine's or the user's affair; else `error` itself."""
    if error.errno == errno.ENOSPC:
        return UserError("the disk is full: nothing was written; make room and run the same command again", path=path)
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return UserError("cannot be written: where its folder should be, there is a file; choose another", path=path)
    if error.errno == errno.EISDIR:
        return UserError("cannot be written: it is a folder, a file was to be written; choose another", path=path)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return UserError(f"cannot be written or read ({error.strerror}): choose a place that is yours", path=path)
    return error


def require_free_space(folder: str | Path, needed: int, purpose: str) -> None:
    """Raise `UserError` when fewer than `needed` bytes are free where `folder` is (or will be)."""
    existing = Path(folder).absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{purpose} needs {needed / 1e6:.0f} MB, found {free / 1e6:.0f} MB free: make room or choose another one",
            path=folder,
        )


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# Read once: reading means setting it, which two threads must not do at the same time.
_UMASK = _read_umask()
