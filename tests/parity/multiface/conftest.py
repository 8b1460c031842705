"""Filled networks of the Multiface fixtures."""

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch

from likeness.methods.multiface.colour import DiagonalColour
from likeness.methods.multiface.networks import Avatar


@pytest.fixture(scope="session")
def mf_dir(parity_dir):
    return parity_dir / "multiface"


@pytest.fixture(scope="session")
def mf_params(mf_dir):
    """The fixtures' own generator of parameters and noise."""
    spec = importlib.util.spec_from_file_location("multiface_fixture_params", mf_dir / "params.py")
    module = importlib.util.module_from_spec(spec)
    saved = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = saved
    return module


class Filled:
    """A network of the fixtures: avatar and colour correction with their filled parameters."""

    def __init__(self, params, architecture, tex_size, latent, cameras, vertices, salt=""):
        self.avatar = Avatar(architecture, tex_size, latent, vertices)
        self.colour = DiagonalColour(cameras)
        shapes = {key: tuple(value.shape) for key, value in self.state().items()}
        for key, value in params.state(shapes, salt).items():
            self.state()[key].copy_(torch.from_numpy(value))

    def state(self):
        colour = {f"cc.{key}": value for key, value in self.colour.state_dict().items()}
        return {**self.avatar.state_dict(), **colour}

    def parameters(self):
        colour = {f"cc.{key}": value for key, value in self.colour.named_parameters()}
        return {**dict(self.avatar.named_parameters()), **colour}


@pytest.fixture(scope="session")
def fill(mf_params):
    def make(architecture, tex_size, latent, cameras, vertices, salt=""):
        return Filled(mf_params, architecture, tex_size, latent, cameras, vertices, salt)

    return make


@pytest.fixture
def load_npz(mf_dir):
    def load(name):
        arrays = np.load(mf_dir / f"{name}.npz", allow_pickle=False)
        return {key: arrays[key] for key in arrays.files}

    return load


@pytest.fixture
def config_of():
    return lambda arrays: json.loads(str(arrays["config"]))
