"""A run in the originals' own names: checkpoints, JSON log and TensorBoard folders of either stage."""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from likeness.engine import Run, Tag, load_tensors
from likeness.engine.config import read_header
from likeness.engine.logs import read_log
from likeness.errors import UserError
from likeness.files import atomic_path, require_free_space, write_text
from likeness.media.image import list_images, read_image
from likeness.methods.neural_actor.config import RendererConfig
from likeness.methods.neural_actor.published import AVERAGED, TRAINED
from likeness.methods.neural_actor.vid2vid.config import TextureConfig


def export_original(folder: Path, out: Path, which: str | None = None) -> list[Path]:
    """Write a run's checkpoints, all that were kept or the one `which` names; returns their paths.

    Args:
        out: one `.pt` file, or a folder, which also gets the logs of a renderer.
    """
    run = Run.open(folder)
    renderer = read_header(run.config_file).get("stage") == "renderer"
    single = out.suffix == ".pt"
    tags = run.checkpoints.whole() if which is None and not single else [run.checkpoints.find(which or "last")]
    if not tags:
        raise UserError("has no finished checkpoint", path=run.folder)
    networks = ("renderer",) if renderer else ("generator", "discriminator", "average")
    sizes = [run.checkpoints.path(tag, name).stat().st_size for tag in tags for name in networks]
    require_free_space(out, sum(sizes) * (2 if renderer else 1), "the checkpoints")
    content = _renderer_content if renderer else _texture_content
    name = _renderer_name if renderer else _texture_name
    paths = [_save(out if single else out / name(run, tag), content(run, tag)) for tag in tags]
    if not single and renderer:
        for title, tag in (("last", run.checkpoints.find()), ("best", run.checkpoints.best())):
            if tag is not None and tag in tags:
                _save(out / f"checkpoint_{title}.pt", _renderer_content(run, tag))
        write_logs(run, out)
    elif not single:
        write_text(out / "latest_checkpoint.txt", f"latest_checkpoint: {paths[-1].name}\n")
    print(f"{out}: {', '.join(path.name for path in paths)}")
    return paths


def _renderer_name(run: Run, tag: Tag) -> str:
    return f"checkpoint{tag.epoch}.pt" if tag.update is None else f"checkpoint_{tag.epoch}_{tag.update}.pt"


def _texture_name(run: Run, tag: Tag) -> str:
    updates = int(run.checkpoints.load_state(tag).get("update_count", 0))
    return f"epoch_{tag.epoch:05d}_iteration_{updates:09d}_checkpoint.pt"


def _renderer_content(run: Run, tag: Tag) -> dict[str, Any]:
    state = run.checkpoints.load_state(tag)
    updates = int(state.get("update_count", 0))
    weights = load_tensors(run.checkpoints.path(tag, "renderer"))
    return {
        "args": argparse.Namespace(**renderer_flags(run.config(RendererConfig))),
        # The original reads the canonical pose from transform_tpose.json.
        "model": {key: value for key, value in weights.items() if key != "encoder.canonical_bones"},
        "optimizer_history": [{"num_updates": updates, "optimizer_name": "Adam"}],
        "extra_state": {"epoch": tag.epoch, "num_updates": updates},
        "last_optimizer_state": None,
    }


def renderer_flags(config: RendererConfig) -> dict[str, Any]:
    """The configuration under the original's flag names."""
    sizes = {name: f"{size[0]}x{size[1]}" for name, size in (
        ("view_resolution", config.view_resolution),
        ("valid_view_resolution", config.valid_view_resolution or config.view_resolution),
    )}  # fmt: skip
    network, render = asdict(config.network), asdict(config.render)
    kept = (
        "texture_layers inputs_to_density inputs_to_texture use_texture_encoder texture_encoder_layers "
        "use_local_coordinate texture_to_deformation background_stop_gradient"
    )
    return {
        **{name: network[name] for name in kept.split()},
        **{name: render[name] for name in ("fixed_num_samples", "min_dis_eps", "discrete_regularization")},
        **{name: getattr(config, name) for name in ("train_views", "valid_views", "pixel_per_view", "color_weight")},
        "seed": config.seed,
        "arch": "joint_nerf" if network["fine_field"] else "joint_nerf_coarse",
        **sizes,
        "lr": [config.lr],
        "additional_deform": "pos" if network["additional_deform"] else None,
        "transparent_background": ",".join(map(str, network["background"])),
        "new_tpose": "transform_tpose.json" if config.new_tpose else None,
    }  # fmt: skip


def _texture_content(run: Run, tag: Tag) -> dict[str, Any]:
    config = run.config(TextureConfig)
    if config.generator.mean_picture or not config.spectral_norm:
        raise UserError(
            "was trained with --generator.mean-picture or without --spectral-norm, which the original cannot read",
            path=run.folder,
        )
    files = {name: load_tensors(run.checkpoints.path(tag, name)) for name in ("generator", "average", "discriminator")}
    state = run.checkpoints.load_state(tag)
    iteration = int(state.get("update_count", 0))
    return {
        "net_G": {
            **{f"{TRAINED}{key}": value for key, value in files["generator"].items()},
            **{f"{AVERAGED}{key}": value for key, value in files["average"].items()},
            "module.num_updates_tracked": torch.tensor(iteration),
        },
        "net_D": {f"module.{key}": value for key, value in files["discriminator"].items()},
        "current_epoch": tag.epoch,
        "current_iteration": iteration,
    }


def write_logs(run: Run, out: Path) -> None:
    """Write `train.log` (one JSON object a line, values as text) and `tensorboard/{train_inner,train,valid}`."""
    lines = list(read_log(run.folder / "log.jsonl")) if (run.folder / "log.jsonl").is_file() else []
    steps = run.config(RendererConfig).virtual_epoch_steps
    write_text(out / "train.log", "".join(json.dumps(line) + "\n" for line in log_lines(lines, steps)))
    for name, kind in (("train_inner", "step"), ("train", "epoch"), ("valid", "valid")):
        with SummaryWriter(str(out / "tensorboard" / name)) as writer:
            for line in lines:
                if line["kind"] == kind:
                    for key, value in _measures(line).items():
                        writer.add_scalar(key, value, line["update"])
    with SummaryWriter(str(out / "tensorboard" / "images")) as writer:
        folder = run.images("test")
        for path in list_images(folder) if folder.is_dir() and any(folder.iterdir()) else []:
            stem, _, name = path.stem.partition("_")
            writer.add_image(name, read_image(path).numpy(), int(stem.rpartition("-")[2]))


def log_lines(lines: list[dict], steps: int) -> Iterator[dict[str, Any]]:
    """The log's lines as fairseq writes them: numbers but the epoch's as text, validation's names prefixed."""
    for line in lines:
        if line["kind"] == "step":
            done = line["epoch"] - 1 + (line["update"] - (line["epoch"] - 1) * steps) / steps
            head = {"epoch": line["epoch"], "update": round(done, 3)}
            yield head | _texts(_measures(line)) | {"num_updates": str(line["update"])}
        elif line["kind"] == "valid":
            prefixed = {f"valid_{key}": value for key, value in _measures(line).items()}
            yield {"epoch": line["epoch"], **_texts(prefixed), "valid_num_updates": str(line["update"])}


def _measures(line: Mapping[str, Any]) -> dict[str, float]:
    """Scalars of one line under fairseq's names."""
    values = dict(line["train"] if line["kind"] == "epoch" else line)
    names: dict[str, str] = {"gradient_norm/renderer": "gnorm", "pace": "ups"}
    rates = line.get("lr") or {}
    found = {names.get(str(key), str(key)): value for key, value in values.items() if isinstance(value, float)}
    return {**found, **({"lr": rates["renderer"]} if "renderer" in rates else {})}


def _texts(values: Mapping[str, float]) -> dict[str, str]:
    return {key: f"{value:.6g}" for key, value in values.items()}


def _save(path: Path, content: Mapping[str, Any]) -> Path:
    with atomic_path(path) as temporary:
        torch.save(dict(content), temporary)
    return path
