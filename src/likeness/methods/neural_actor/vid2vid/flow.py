"""Optical flow between real frames, which teaches the generator's own flow."""

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from likeness.errors import UserError


class FlowEstimator(Protocol):
    """Anything that finds optical flow."""

    def __call__(self, target: Tensor, previous: Tensor) -> Tensor:
        """Flow (B, 2, H, W), right and down in pixels: target(x) shows what previous(x + flow(x)) does.

        Pictures are (B, 3, H, W) in [-1, 1].
        """
        ...


def dis_flow(target: Tensor, previous: Tensor) -> Tensor:
    """Dense inverse search on grey pictures (Kroeger et al., ECCV 2016; OpenCV's medium preset). A `FlowEstimator`."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = [search.calc(_grey(a), _grey(b), None) for a, b in zip(target, previous)]  # type: ignore[call-overload]
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(target)


def _grey(picture: Tensor) -> np.ndarray:
    levels = ((picture.detach().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return cv2.cvtColor(levels.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2GRAY)


class ScriptedFlow:
    """A `FlowEstimator` from a TorchScript file that maps (target, previous) in [-1, 1] to flow, such as FlowNet2.

    Raises:
        UserError: the file is absent or no TorchScript, or its answer is no flow.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu"):
        self.path = path
        if not path.is_file():
            raise UserError("no such file: give a TorchScript file that finds optical flow", path=path)
        try:
            self.script = torch.jit.load(str(path), map_location=device).eval()
        except RuntimeError as error:
            raise UserError(
                "is no TorchScript file: save the flow network with torch.jit.script(...).save(...)", path=path
            ) from error

    def __call__(self, target: Tensor, previous: Tensor) -> Tensor:
        with torch.no_grad():
            flow = self.script(target, previous)
        expected = (len(target), 2, *target.shape[-2:])
        if not isinstance(flow, Tensor) or flow.shape != expected:
            found = tuple(flow.shape) if isinstance(flow, Tensor) else type(flow).__name__
            raise UserError(f"answered {found}, expected a flow of shape {expected}", path=self.path)
        return flow
