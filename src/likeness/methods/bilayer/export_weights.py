"""`likeness export bilayer weights`: a run as a small one, which any command takes and which can be trained further."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from likeness.engine import Run, load_tensors
from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.methods.bilayer.config import BilayerConfig
from likeness.methods.bilayer.networks import BASE, build_network
from likeness.methods.bilayer.networks.spectral_norm import fold_spectral_norm
from likeness.methods.bilayer.published import (
    PROJECTOR_INPUT,
    compact,
    find_network_file,
    load_network_weights,
    read_run_config,
)


@dataclass(frozen=True)
class WeightsConfig:
    """Write a run's base networks in half precision, spectral norms divided out, repeated weights summed."""

    run: Path
    """Trained run."""
    out: Path
    """Folder of the small run."""
    which: str = "last"
    """Checkpoint of the run."""


def export_weights(config: WeightsConfig) -> None:
    """Write the small run: `config.yaml` and `checkpoints/<epoch>_<network>.safetensors`.

    Raises:
        UserError: no such run or checkpoint.
    """
    trained = read_run_config(config.run)
    total = 0
    for name in BASE:
        path = find_network_file(config.run, name, config.which)
        if path is None:
            raise UserError(f"has no checkpoint {config.which!r} of {name}", path=config.run)
        network = build_network(name, trained, spectral_norm=name in trained.spn_networks)
        load_network_weights(network, load_tensors(path), path)
        file = config.out / "checkpoints" / path.with_suffix(".safetensors").name
        with atomic_path(file) as temporary:
            save_file(small_state(fold_spectral_norm(network.eval()), trained.emb_output_tensor_size), temporary)
        total += file.stat().st_size
    settings = dataclasses.replace(
        BilayerConfig(**{field.name: getattr(trained, field.name) for field in dataclasses.fields(BilayerConfig)}),
        experiment_dir=Path(),
        experiment_name=config.out.name,
        resume="auto",
        data_root=Path(),
        general_data_root=None,
        yaw_root=None,
        train_load_from=None,
        test_load_from=None,
        init_experiment_dir=None,
        vgg19_weights=None,
        vggface_weights=None,
        spn_networks=tuple(name for name in trained.spn_networks if name not in BASE),
    )
    Run(config.out).record("bilayer", "base", (), settings, ["likeness", "export", "bilayer", "weights"])
    print(f"written: {config.out} ({total / 1e6:.1f} MB)")


def small_state(network: nn.Module, embedding_size: int) -> dict[str, Tensor]:
    """A network's tensors without what can be computed again; BatchNorm statistics stay in single precision."""
    state: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        if key == "identity_grid":
            continue
        if PROJECTOR_INPUT.search(key):
            value = compact(value, embedding_size)
        small = value.is_floating_point() and "running" not in key
        state[key] = (value.to(torch.float16) if small else value).contiguous()
    return state
