"""`likeness import neural_actor`: a published checkpoint becomes a run to render, infer or train from."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import nn

from likeness.engine import EngineConfig, OptimizerSpec, Run, Tag, Updates, UpdateSpec
from likeness.errors import UserError
from likeness.formats.actor import BodyFiles, read_canonical_bones, write_body
from likeness.geometry.body import BodyModel
from likeness.methods.neural_actor.config import PRESETS, RendererConfig, parse_views
from likeness.methods.neural_actor.networks.actor import ActorNetwork
from likeness.methods.neural_actor.published import (
    PublishedTexture,
    read_checkpoint,
    recorded_flags,
    renderer_of,
    texture_predictor_of,
)
from likeness.methods.neural_actor.vid2vid.blocks import add_spectral_norm, initialise
from likeness.methods.neural_actor.vid2vid.config import PRESETS as TEXTURE_PRESETS
from likeness.methods.neural_actor.vid2vid.discriminator import TextureDiscriminator


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Bring a published `nerf_<name>.pt` or `vid2vid_<name>.pt` into a run, without running anything it holds."""

    file: Annotated[Path, tyro.conf.Positional]
    """The checkpoint; its content says which kind it is."""
    out: Path
    """The run's folder, which must not exist."""
    data: Path | None = None
    """The actor's folder, which the run will read; needed to train on, and for transform_tpose.json."""
    tpose: Path | None = None
    """transform_tpose.json, where it is not in `data`: the checkpoint does not hold it."""
    hierarchical: bool = False
    """Keep both fields of arch joint_nerf; else its second one, where there is one, takes the place of the first."""


def import_published(config: ImportConfig) -> None:
    """Write the run: networks, configuration, and the number of finished updates; moments of Adam start anew."""
    if config.out.exists():
        raise UserError("exists already: choose another --out", path=config.out)
    content = read_checkpoint(config.file)
    if "net_G" in content:
        _import_texture(config, texture_predictor_of(content, config.file))
    else:
        _import_renderer(config, content)


def _import_renderer(config: ImportConfig, content: Mapping[str, Any]) -> None:
    tpose = config.tpose or (None if config.data is None else config.data / "transform_tpose.json")
    bones = read_canonical_bones(tpose) if tpose is not None and (config.tpose or tpose.is_file()) else None
    network = renderer_of(content, config.file, bones, config.hierarchical)
    flags = recorded_flags(content)
    if bones is None and flags.get("new_tpose"):
        print(
            f"trained with {flags['new_tpose']}, which the checkpoint does not hold: without it pictures will be "
            "wrong; give --data (a folder with transform_tpose.json) or --tpose"
        )
    ours = renderer_settings(config, network, flags)
    write_stored_body(config.out / "body", network)
    updates = _finished_updates(content)
    optimizer = OptimizerSpec(lambda p: torch.optim.Adam(p, lr=ours.lr, betas=ours.adam_betas), ("renderer",))
    epoch, position = divmod(updates, ours.virtual_epoch_steps)
    _write(config, "renderer", ours, {"renderer": network}, {"renderer": optimizer}, epoch + 1, position, updates)
    print(
        f"{config.out}: renderer after {updates} updates, {len(network.encoder.vertices)} vertices, "
        f"{network.encoder.weights.shape[1]} joints"
    )


def renderer_settings(config: ImportConfig, network: ActorNetwork, flags: Mapping[str, Any]) -> RendererConfig:
    """The run's configuration: sizes of `network`, and the recorded flags that count at rendering and training."""
    ours = PRESETS["joint_nerf" if network.config.fine_field else "paper"]
    render = replace(
        ours.render,
        fixed_num_samples=int(flags.get("fixed_num_samples") or ours.render.fixed_num_samples),
        min_dis_eps=float(flags.get("min_dis_eps") or ours.render.min_dis_eps),
        discrete_regularization=bool(flags.get("discrete_regularization", True)),
    )
    named: dict[str, Any] = {}
    for name in ("train_views", "valid_views"):
        if isinstance(flags.get(name), str):
            parse_views(flags[name], name)
            named[name] = flags[name]
    size = str(flags.get("view_resolution", "")).split("x")
    if len(size) == 2 and all(part.isdigit() for part in size):
        named["view_resolution"] = (int(size[0]), int(size[1]))
    red, green, blue = (round(value, 6) for value in network.field.background.tolist())
    body = config.out / "body"
    stored = BodyFiles(
        body / "canonical.obj",
        body / "uvmapping.obj",
        body / "skinning_weight.txt",
        None if network.encoder.canonical_bones is None else body / "transform_tpose.json",
    )
    return replace(
        ours,
        **named,
        **_place(config),
        data=config.data or body,
        body=stored,
        new_tpose=stored.tpose is not None,
        network=replace(network.config, background=(red, green, blue)),
        render=render,
    )


def write_stored_body(folder: Path, network: ActorNetwork) -> None:
    """Write the body that a checkpoint's buffers hold as the four files of an actor's folder."""
    encoder = network.encoder
    uv, index = encoder.face_uv.flatten(0, 1).unique(dim=0, return_inverse=True)
    model = BodyModel(encoder.vertices, encoder.faces, encoder.face_uv, encoder.weights, encoder.canonical_bones)
    write_body(folder, model, uv, index.view(-1, 3))


def _import_texture(config: ImportConfig, published: PublishedTexture) -> None:
    average, generator, judges = published.generator, published.trained, published.discriminator
    ours = replace(TEXTURE_PRESETS["paper"], **_place(config), generator=average.config)
    if config.data is not None:
        ours = replace(ours, data=config.data)
    if generator is None:
        print("the file holds no generator to train on: the average takes its place")
        generator = copy.deepcopy(average)
        add_spectral_norm(generator.requires_grad_(True))
    if judges is None:
        print("the file holds no discriminator: training on would start with a new one")
        judges = TextureDiscriminator(ours.discriminator)
        initialise(judges)
        add_spectral_norm(judges)
    ours = replace(ours, discriminator=judges.config)
    networks = {"generator": generator, "discriminator": judges, "average": average}
    rates = {"generator": ours.lr_generator, "discriminator": ours.lr_discriminator}
    optimizers = {
        name: OptimizerSpec(lambda p, rate=rate: torch.optim.Adam(p, lr=rate, betas=(0.0, 0.999)), (name,))  # type: ignore[misc]
        for name, rate in rates.items()
    }
    _write(config, "texture", ours, networks, optimizers, published.epoch + 1, 0, published.iteration)
    print(f"{config.out}: texture predictor after {published.epoch} epochs, {average.config.size} pixels")


def _place(config: ImportConfig) -> dict[str, Any]:
    """Training on goes into the imported run where it lies under a folder `runs`, as runs do."""
    parent = config.out.parent
    return {
        "experiment_dir": parent.parent if parent.name == "runs" else parent,
        "experiment_name": config.out.name,
    }


def _write(
    config: ImportConfig,
    stage: str,
    ours: EngineConfig,
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, OptimizerSpec],
    epoch: int,
    position: int,
    updates: int,
) -> None:
    run = Run(config.out)
    argv = ["likeness", "import", "neural_actor", str(config.file), "--out", str(config.out)]
    run.record("neural_actor", stage, (str(config.file),), ours, argv)
    fresh = Updates(networks, optimizers, {name: UpdateSpec((name,)) for name in optimizers})
    state = {
        "epoch": epoch,
        "position": position,
        "update_count": updates,
        "optimizers": fresh.state_dict(),
        "refreshes": {},
        "stage": {},
        "sums": {},
        "counts": {},
        "rejections": {},
        "best": None,
        "history": {},
        "spent": 0.0,
    }
    run.checkpoints.save(Tag(epoch, updates) if position else Tag(epoch - 1), networks, state)
    run.checkpoints.index(None)


def _finished_updates(content: Mapping[str, Any]) -> int:
    """Updates that the file's optimiser has made, 0 where it does not say."""
    history = content.get("optimizer_history")
    last = history[-1] if isinstance(history, list) and history else {}
    return int(last.get("num_updates", 0)) if isinstance(last, dict) else 0
