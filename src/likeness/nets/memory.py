"""Keep large blocks of freed memory for the next call."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`."""


def keep_freed_memory() -> None:
    """Ask glibc not to give freed blocks back to the system; elsewhere than on Linux with glibc nothing happens.

    Networks ask for the same large tensors again and again, and a fresh page costs the system more than computing what
    is written to it: about a tenth of a frame or of a training step. The process stays as large as it ever was.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        # Blocks of more than 32 MiB are otherwise mapped afresh each time, whatever the threshold for mapping is.
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
