"""`facewarper-server`: FaceWarper's line protocol on standard input and output.

It prints `ready`; a line of five blank-separated paths (image keypoints depth affine output) makes it write the output,
and `ready` again. A line that cannot be carried out is answered by `error: <reason>`, then `ready`.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from likeness.errors import UserError
from likeness.formats.facewarper import WarpFiles
from likeness.methods.depthnet.warp_dataset import warp_files, write_warp


def serve(lines: Iterable[str], out: TextIO) -> None:
    """Answer every line until they end."""
    print("ready", file=out, flush=True)
    for line in lines:
        words = line.split()
        if not words:
            continue
        try:
            if len(words) != 5:
                raise UserError(
                    f"found {len(words)} words, expected five paths without blanks: image keypoints depth affine output"
                )
            image, keypoints, depth, affine, output = map(Path, words)
            write_warp(output, warp_files(WarpFiles(image, keypoints, depth, affine)))
        except (UserError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            print(f"error: {reason}", file=out)
        print("ready", file=out, flush=True)


def main() -> None:
    """Serve standard input until it ends."""
    serve(sys.stdin, sys.stdout)
