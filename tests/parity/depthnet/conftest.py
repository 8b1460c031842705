"""Recorded numbers of the DepthNets program, and networks filled as they were when these were recorded."""

import importlib.util
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def recorded(parity_dir):
    """`recorded("aign")` opens `aign.npz` of the fixtures."""
    return lambda name: np.load(parity_dir / "depthnet" / f"{name}.npz")


@pytest.fixture(scope="session")
def recorded_json(parity_dir):
    return lambda name: json.loads((parity_dir / "depthnet" / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def fill(parity_dir) -> Callable[[torch.nn.Module], torch.nn.Module]:
    """Fill a network's floating parameters and buffers with the fixtures' deterministic values, in place."""
    spec = importlib.util.spec_from_file_location("parity_fill", parity_dir / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def fill_network(network: torch.nn.Module) -> torch.nn.Module:
        state = network.state_dict()
        network.load_state_dict(
            {
                key: torch.from_numpy(module.value(key, tuple(value.shape))) if value.is_floating_point() else value * 0
                for key, value in state.items()
            }
        )
        return network

    return fill_network
