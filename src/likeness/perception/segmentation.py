"""The person in a picture as a soft mask, by MediaPipe's selfie model."""

import cv2
import numpy as np

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
