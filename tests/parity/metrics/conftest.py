import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def parameter_value(parity_dir: Path) -> Callable[[str, tuple[int, ...]], np.ndarray]:
    """The rule by which recorded networks were filled: (key, shape) -> array."""
    spec = importlib.util.spec_from_file_location("fill", parity_dir / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.value
