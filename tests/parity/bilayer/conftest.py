"""Reads the recorded arrays of the released implementation and fills networks with the agreed values."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from likeness.methods.bilayer.networks import ALL, NetworkOptions, build_network


class Fixtures:
    def __init__(self, folder: Path):
        self.folder = folder / "bilayer"
        spec = importlib.util.spec_from_file_location("parity_fill", folder / "fill.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.value = module.value

    def load(self, name: str):
        return np.load(self.folder / f"{name}.npz")

    def keys(self) -> dict:
        return json.loads((self.folder / "keys.json").read_text())

    def state(self, network: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
        """The agreed values for every entry of a network's state."""
        state = {}
        for key, tensor in network.state_dict().items():
            leaf = key.rsplit(".", 1)[-1]
            if leaf in ("identity_grid", "num_batches_tracked"):
                state[key] = tensor.clone()
            elif leaf != "weight_v":
                state[key] = torch.from_numpy(self.value(prefix + key, tuple(tensor.shape)))
        for key in [k for k in state if k.endswith("weight_u")]:
            stem = key.removesuffix("_u")
            u = self.value(prefix + key, tuple(state[key].shape)).astype(np.float64)
            u /= np.linalg.norm(u)
            weight = state[f"{stem}_orig"].flatten(1).numpy().astype(np.float64)
            for _ in range(20):
                v = weight.T @ u
                v /= np.linalg.norm(v)
                u = weight @ v
                u /= np.linalg.norm(u)
            state[key], state[f"{stem}_v"] = torch.from_numpy(u).float(), torch.from_numpy(v).float()
        return state

    def fill(self, network: torch.nn.Module, prefix: str = "") -> torch.nn.Module:
        network.load_state_dict(self.state(network, prefix))
        return network

    def network(self, name: str, options: NetworkOptions) -> torch.nn.Module:
        return self.fill(build_network(name, options)).eval()

    def networks(self, options: NetworkOptions, names=ALL) -> dict[str, torch.nn.Module]:
        return {name: self.network(name, options) for name in names}


def read_inputs(arrays, prefix: str = "in.") -> dict[str, torch.Tensor]:
    """Inputs as float tensors in the networks' ranges."""
    inputs = {}
    for key in arrays.files:
        if key.startswith(prefix):
            name, array = key.removeprefix(prefix), torch.from_numpy(arrays[key])
            if array.dtype == torch.uint8:
                array = array.float() / 255
                array = array if name.endswith("segs") else array * 2 - 1
            inputs[name] = array
    return inputs


@pytest.fixture(scope="session")
def fixtures(parity_dir) -> Fixtures:
    return Fixtures(parity_dir)


@pytest.fixture(scope="session")
def inputs_of():
    return read_inputs


@pytest.fixture(scope="session")
def check_image():
    def check(arrays, name: str, tensor: torch.Tensor, stride: int, tolerance: float, prefix: str = "out."):
        """Compare the recorded pixels and, when recorded, the statistics of the whole tensor."""
        values = tensor.detach().numpy()
        expected = arrays[f"{prefix}{name}"]
        axes = (-3, -2) if name.endswith("uvs") and "delta" not in name else (-2, -1)
        picked = values
        for axis in axes:
            picked = np.take(picked, range(stride // 2, values.shape[axis], stride), axis)
        assert picked.shape == expected.shape, (name, picked.shape, expected.shape)
        assert np.abs(picked - expected).max() <= tolerance, (name, np.abs(picked - expected).max())
        statistics = f"{prefix.replace('out.', 'stat.')}{name}"
        if statistics in arrays.files:
            v = values.astype(np.float64)
            mine = np.array([v.mean(), v.std(), np.sqrt((v**2).sum()), v.min(), v.max()])
            assert np.allclose(mine, arrays[statistics], rtol=1e-4, atol=tolerance), (name, mine, arrays[statistics])

    return check
