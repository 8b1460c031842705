"""Where the tests find recorded fixtures and real inputs, and how they say that these are absent."""

import os
from pathlib import Path

import pytest

# Bit-identity holds at one thread count; tests run one in each worker, and so do the processes they start.
os.environ["OMP_NUM_THREADS"] = "1"

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"{variable} names no folder ({folder}): set it to run this test")
    return folder


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """The folder of recorded inputs and outputs, one sub-folder a method (`LIKENESS_PARITY_DIR`)."""
    return _folder("LIKENESS_PARITY_DIR", SHARED / "parity")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real inputs (`LIKENESS_DATA_DIR`)."""
    return _folder("LIKENESS_DATA_DIR", SHARED / "data")


def pytest_collection_modifyitems(items):
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and torch finds none"))
