"""Reading the recorded fixtures, and filling networks as they were filled for the recording."""

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def gmpi_dir(parity_dir):
    return parity_dir / "gmpi"


@pytest.fixture(scope="session")
def recorded(gmpi_dir):
    """name -> (arrays as float32 tensors, meta)."""

    def read(name: str):
        with np.load(gmpi_dir / f"{name}.npz") as archive:
            meta = json.loads(str(archive["meta"])) if "meta" in archive.files else {}
            arrays = {key: torch.from_numpy(archive[key].astype(np.float32)) for key in archive.files if key != "meta"}
        return SimpleNamespace(meta=meta, **arrays)

    return read


@pytest.fixture(scope="session")
def fill(gmpi_dir):
    """Put the recording's parameters and buffers into a network."""
    spec = importlib.util.spec_from_file_location("fill_rules", gmpi_dir / "fill_rules.py")
    rules = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rules)

    def apply(network):
        state = network.state_dict()
        for key, value in state.items():
            filled = rules.tensor(key, tuple(value.shape))
            if filled is not None:
                value.copy_(torch.from_numpy(np.asarray(filled)))
        return network

    return apply


def normal(seed: int, shape) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


@pytest.fixture(scope="session")
def draw():
    return normal
