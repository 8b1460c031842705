"""Published GMPI weights (`generator.pth`, `ema.pth`, `config.pth`) into a run, and a run into such files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor, nn

from likeness.engine import Run, Tag, load_tensors, load_weights
from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.methods.gmpi.alpha import Variant
from likeness.methods.gmpi.compat import UNIMPLEMENTED, refuse_unimplemented
from likeness.methods.gmpi.config import GMPI_PRESETS, GMPIConfig
from likeness.methods.gmpi.method import build_generator

VARIANTS: dict[tuple[str, str], Variant] = {
    ("none", "none"): "vanilla",
    ("normalize_add_z", "modulated_lrelu"): "depth",
    ("normalize_add_z", "learnable_param"): "tokens",
    ("depth2alpha", "modulated_lrelu"): "depth2alpha",
}
"""(torgba_cond_on_pos_enc, torgba_cond_on_pos_enc_embed_func) -> variant."""


def variant_of(mode: str, function: str) -> Variant:
    """The variant that the published configuration names.

    Raises:
        UserError: the pair is none of the four.
    """
    if (mode, function) not in VARIANTS:
        raise UserError(f"{mode!r} with {function!r} is none of the generator's variants: {list(VARIANTS)}")
    return VARIANTS[mode, function]


def read_config(content: Any, path: Path) -> GMPIConfig:
    """Our configuration of a published `config.pth`.

    Raises:
        UserError: it lacks something, or asks for what was never implemented.
    """
    try:
        theirs = content["config"]["GMPI"]
        train, mpi, style = theirs["TRAIN"], theirs["MPI"], theirs["MODEL"]["STYLEGAN2"]
        refuse_unimplemented({key: train[key] for key in UNIMPLEMENTED if key in train})
        base = GMPI_PRESETS[train["dataset"]]
        half = 0.5 if base.resolution == 256 else 1.0
        changes: dict[str, Any] = {
            "variant": variant_of(style["torgba_cond_on_pos_enc"], style["torgba_cond_on_pos_enc_embed_func"]),
            "planes": mpi["n_gen_planes"],
            "spacing": mpi["distance_sample_method"],
            "confined": mpi["use_confined_volume"],
            "align_corners": mpi["align_corners"],
            "depth_bins": mpi["depth2alpha_n_z_bins"],
            "activation": style["G_final_img_act"],
            "largest_alpha": style["gen_alpha_largest_res"],
            "full_background": style["background_alpha_full"],
            "frequencies": style["pos_enc_multires"],
            "depth_range": train["normalized_xyz_range"],
            "channel_base": int(style["synthesis_kwargs"]["channel_base"] * half),
            "channel_max": style["synthesis_kwargs"]["channel_max"],
            "mapping_layers": style["mapping_kwargs"]["num_layers"],
            "pretrained": None,
        }
    except (KeyError, TypeError) as error:
        raise UserError(f"is no configuration of GMPI's: {error} is missing", path=path) from error
    from dataclasses import replace

    return replace(base, **changes)


def fitted(config: GMPIConfig, state: Mapping[str, Tensor]) -> GMPIConfig:
    """`config` with the sizes that the weights themselves show."""
    from dataclasses import replace

    sides = [int(name.split(".")[1][1:]) for name in state if name.startswith("synthesis.b") and "torgb.bias" in name]
    first, last = state["synthesis.b4.const"].shape[0], state[f"synthesis.b{max(sides)}.conv1.weight"].shape[0]
    w_dim, z_dim = state["mapping.fc0.weight"].shape
    layers = sum(name.startswith("mapping.fc") and name.endswith("weight") for name in state)
    planes = state["synthesis.b4.toalpha.bias"].numel() if config.variant == "vanilla" else config.planes
    alphas = [r for r in sides if f"synthesis.b{r}.toalpha.bias" in state]
    largest = max(alphas) if alphas and max(alphas) < max(sides) else config.largest_alpha
    return replace(
        config, resolution=max(sides), channel_base=last * max(sides), channel_max=first, z_dim=z_dim, w_dim=w_dim,
        mapping_layers=layers, planes=planes, largest_alpha=largest,
    )  # fmt: skip


def apply_average(network: nn.Module, content: Any, path: Path) -> None:
    """Put the nameless list of `ema.pth` onto the parameters, in their order; buffers stay.

    Raises:
        UserError: not such a file, or of another architecture.
    """
    shadow = content.get("shadow_params") if isinstance(content, dict) else None
    parameters = list(network.named_parameters())
    if not isinstance(shadow, list) or len(shadow) != len(parameters):
        found = len(shadow) if isinstance(shadow, list) else "no"
        raise UserError(f"holds {found} averaged tensors, this generator has {len(parameters)}: is it another variant?",
                        path=path)  # fmt: skip
    for (name, parameter), value in zip(parameters, shadow):
        if parameter.shape != value.shape:
            raise UserError(
                f"holds a tensor of shape {list(value.shape)} where {name} has {list(parameter.shape)}: is it another "
                "variant?",
                path=path,
            )
        with torch.no_grad():
            parameter.copy_(value)


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Bring published GMPI weights into a run, without running anything they hold."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """generator.pth, ema.pth and config.pth (told apart by their names), or their folder."""
    out: Path
    """The run's folder, which must not exist."""


def import_published(config: ImportConfig) -> None:
    """Write the run: buffers and live weights of generator.pth, the average of ema.pth over them."""
    files = [p for f in config.files for p in (sorted(f.glob("*.pth")) if f.is_dir() else [f])]
    named = {kind: next((f for f in files if f.name.startswith(kind)), None) for kind in ("generator", "ema", "config")}
    missing = [f"{kind}.pth" for kind, path in named.items() if path is None]
    if missing:
        raise UserError(f"{', '.join(missing)} not among the files: give generator.pth, ema.pth and config.pth")
    if config.out.exists():
        raise UserError("exists already: choose another --out", path=config.out)
    weights, ema, settings = (Path(str(named[kind])) for kind in ("generator", "ema", "config"))
    state = load_tensors(weights)
    ours = fitted(read_config(load_tensors(settings), settings), state)
    generator, average = build_generator(ours), build_generator(ours)
    load_weights(generator, state, weights)
    load_weights(average, state, weights)
    apply_average(average, load_tensors(ema), ema)
    run = Run(config.out)
    run.record("gmpi", "gmpi", tuple(str(f) for f in files), ours, ["likeness", "import", "gmpi", *map(str, files)])
    # No optimiser is published: the run can be looked at, evaluated and exported, and `--pretrained` starts afresh.
    run.checkpoints.save(Tag(0), {"generator": generator, "ema": average}, {"epoch": 1, "update_count": 0})
    run.checkpoints.index(None)
    print(f"{config.out}: {ours.variant} variant, {ours.resolution} pixels, {ours.planes} planes")


def export_published(folder: Path, out: Path) -> None:
    """Write a run as generator.pth, ema.pth and config.pth."""
    run = Run.open(folder)
    config = run.config(GMPIConfig)
    generator, average = build_generator(config), build_generator(config)
    run.load("generator", generator)
    run.load("ema", average)
    mode, function = next(pair for pair, variant in VARIANTS.items() if variant == config.variant)
    half = 0.5 if config.resolution == 256 else 1.0
    names = {"FFHQ": f"FFHQ{config.resolution}", "AFHQCat": "AFHQCat", "MetFaces": "MetFaces"}
    name = names[config.dataset] if names[config.dataset] in GMPI_PRESETS else "FFHQ256"
    gmpi = {
        "TRAIN": {"dataset": name, "normalized_xyz_range": config.depth_range},
        "MPI": {
            "n_gen_planes": config.planes,
            "distance_sample_method": config.spacing,
            "use_confined_volume": config.confined,
            "align_corners": config.align_corners,
            "depth2alpha_n_z_bins": config.depth_bins,
        },
        "MODEL": {
            "STYLEGAN2": {
                "torgba_cond_on_pos_enc": mode,
                "torgba_cond_on_pos_enc_embed_func": function,
                "G_final_img_act": config.activation,
                "gen_alpha_largest_res": config.largest_alpha,
                "background_alpha_full": config.full_background,
                "pos_enc_multires": config.frequencies,
                "synthesis_kwargs": {
                    "channel_base": int(config.channel_base / half),
                    "channel_max": config.channel_max,
                },
                "mapping_kwargs": {"num_layers": config.mapping_layers},
            }
        },
    }
    shadow = [parameter.detach() for parameter in average.parameters()]
    state = run.checkpoints.load_state(run.checkpoints.find("last"))
    contents = {
        "generator": generator.state_dict(),
        "ema": {"decay": 0.999, "num_updates": int(state["update_count"]), "shadow_params": shadow,
                "collected_params": None},
        "config": {"config": {"GMPI": gmpi}},
    }  # fmt: skip
    for kind, content in contents.items():
        with atomic_path(out / f"{kind}.pth") as temporary:
            torch.save(content, temporary)
    print(f"{out}: generator.pth, ema.pth, config.pth")
