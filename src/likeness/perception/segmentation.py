"""The person in a picture as a soft mask, by MediaPipe's selfie model or a model of one's own."""

from pathlib import Path

import cv2
import numpy as np

from likeness.errors import UserError
from likeness.perception.runtime import QuietModel, solution, squared

DISC = np.array([[dx * dx + dy * dy < 6.25 for dx in range(-2, 3)] for dy in range(-2, 3)], np.uint8)
"""(5, 5) the square without its corners, by which the bi-layer extraction erodes its masks."""


class MediaPipeSegmenter:
    """The `Segmenter` of MediaPipe's general selfie model (256 x 256 inside)."""

    def __init__(self) -> None:
        selfie = solution("selfie_segmentation")
        self._model = QuietModel(lambda: selfie.SelfieSegmentation(model_selection=0))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """See `Segmenter`."""
        height, width = image.shape[:2]
        mask = self._model.process(squared(image)).segmentation_mask
        return np.clip(mask[:height, :width], 0, 1).astype(np.float32)


def erode(mask: np.ndarray) -> np.ndarray:
    """Grey-scale erosion (H, W) of a soft mask by `DISC`: each pixel becomes the least of its 21 neighbours.

    Outside the picture nothing is taken into account, so that a person cut off by the edge stays whole there.
    """
    return cv2.erode(mask, DISC)


ONNX_INSTALL = 'python -m pip install "likeness[export]"'


class ModelSegmenter:
    """A `Segmenter` of a matting or parsing model in ONNX form, brought by the user.

    The model takes one (1, 3, H, W) float32 RGB picture in [0, 1] and gives (1, C, H', W'): with C = 1 the probability
    of the foreground, with more channels the logits of classes of which class 0 is the background (20 human parts, as
    Graphonomy has them).

    Args:
        path: the .onnx file.
        device: number of the GPU, or None for the CPU.

    Raises:
        UserError: onnxruntime is not installed, or the file is missing or has another kind of input.
    """

    def __init__(self, path: str | Path, device: int | None = None):
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(
                f"masks by a model of one's own need onnxruntime; install it with:\n  {ONNX_INSTALL}"
            ) from error
        if not Path(path).is_file():
            raise UserError("no such model: expected an .onnx file", path=path)
        wanted: list = ["CPUExecutionProvider"]
        if device is not None:
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                raise UserError("--num-gpus needs onnxruntime-gpu; the installed onnxruntime runs on the CPU only")
            wanted = [("CUDAExecutionProvider", {"device_id": device}), *wanted]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
        except Exception as error:  # onnxruntime has no common type for its errors
            raise UserError(f"cannot be read as an ONNX model ({error})", path=path) from error
        entry = self._session.get_inputs()[0]
        if len(entry.shape) != 4 or entry.shape[1] != 3:
            raise UserError(f"takes {entry.name} of shape {entry.shape}, expected (1, 3, H, W)", path=path)
        self._name = entry.name
        height, width = entry.shape[2:]
        self._size = (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """See `Segmenter`."""
        height, width = image.shape[:2]
        entry = image if self._size is None else cv2.resize(image, self._size[::-1], interpolation=cv2.INTER_AREA)
        planes = self._session.run(None, {self._name: entry.transpose(2, 0, 1)[None].astype(np.float32) / 255})[0][0]
        if len(planes) == 1:
            mask = planes[0]
        else:
            powers = np.exp(planes - planes.max(axis=0))
            mask = 1 - powers[0] / powers.sum(axis=0)
        return np.clip(cv2.resize(mask.astype(np.float32), (width, height)), 0, 1)
