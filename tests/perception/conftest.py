import importlib.util

import numpy as np
import pytest
import skimage.data


@pytest.fixture(scope="session")
def mediapipe_installed() -> None:
    """Skips where MediaPipe is not installed."""
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("MediaPipe is not installed")


@pytest.fixture(scope="session")
def tracker(mediapipe_installed):
    """The face tracker, made once: its models take a second to load."""
    from likeness.perception.faces import MediaPipeFaces

    return MediaPipeFaces()


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """(512, 512, 3) a portrait in the public domain."""
    return skimage.data.astronaut()
