"""`facewarper-server`: FaceWarper's line protocol on standard input and output, without a display.

It prints `ready`; a command is one line of five paths separated by blanks: image keypoints depth affine output. After
each it prints `ready` again, and `error: <reason>` before that where it failed. Paths cannot hold blanks.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from likeness.errors import UserError
from likeness.media.image import read_uint8
from likeness.methods.depthnet.facewarper import read_warp_input
from likeness.methods.depthnet.warp_dataset import paint, write_warp


def serve(commands: Iterable[str], answers: TextIO) -> None:
    """Answer every line of `commands` until they end."""
    print("ready", file=answers, flush=True)
    for line in commands:
        try:
            _carry_out(line)
        except UserError as error:
            print(f"error: {' '.join(str(error).split())}", file=answers)
        except Exception as error:  # a client waits for `ready`, whatever happened
            print(f"error: {type(error).__name__}: {' '.join(str(error).split())}", file=answers)
        print("ready", file=answers, flush=True)


def _carry_out(line: str) -> None:
    paths = [Path(field) for field in line.split()]
    if len(paths) != 5:
        raise UserError(f"found {len(paths)} fields, expected image keypoints depth affine output, separated by blanks")
    image, keypoints, depth, affine, output = paths
    write_warp(output, paint(read_uint8(image), read_warp_input(keypoints, depth, affine)))


def main() -> None:
    """Entry point of `facewarper-server`."""
    serve(sys.stdin, sys.stdout)
