"""`likeness export bilayer`: one person's avatar as a single file that needs no Python of ours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.methods.bilayer.avatar import Avatar, Identity
from likeness.methods.bilayer.prepare import Preparer


@dataclass(frozen=True)
class ExportConfig:
    """Write one person's avatar: input `pose` (1, 136), outputs `colour` (1, 3, S, S) and `mask` (1, 1, S, S)."""

    run: Path
    """Trained or imported run, or `shipped`."""
    source: Path
    """Photograph of the person."""
    out: Path
    """File to write."""
    to: Literal["onnx", "torchscript"] = "onnx"
    """Format."""
    which: str = "last"
    """Checkpoint of the run."""


def export(config: ExportConfig) -> None:
    """Embed the person of a photograph and write the frame-making part as one file."""
    avatar = Avatar.from_run(config.run, config.which)
    head = Preparer(avatar.options.image_size).from_file(config.source)
    identity = avatar.identify([head.image], [head.keypoints], [head.mask])
    write_export(identity, config.out, config.to)
    print(f"written: {config.out} ({config.out.stat().st_size / 1e6:.1f} MB)")


def write_export(identity: Identity, path: Path, to: str) -> None:
    """Write an identity as ONNX (opset 18, needs the extra `export`) or TorchScript."""
    pose = torch.zeros(1, 136)
    with atomic_path(path) as temporary, torch.no_grad():
        if to == "torchscript":
            torch.jit.trace(identity, (pose,), check_trace=False).save(str(temporary))
            return
        try:
            torch.onnx.export(
                identity,
                (pose,),
                str(temporary),
                input_names=["pose"],
                output_names=["colour", "mask"],
                opset_version=18,
                dynamo=False,
            )
        except ModuleNotFoundError as error:
            raise UserError(f"needs the package {error.name}: python -m pip install onnx onnxruntime") from error
