"""Keep large blocks of freed memory for the next call."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""

LARGEST = 32 * 2**20
"""Bytes; glibc allows no more for blocks that it keeps."""


def keep_freed_memory() -> None:
    """Ask glibc not to give freed blocks back to the system; elsewhere than on Linux with glibc nothing happens.

    Networks ask for the same large tensors again and again, and a fresh page costs the system more than computing what
    is written to it: about a tenth of a frame or of a training step. The process stays as large as it ever was.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
