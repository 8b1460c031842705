"""Published checkpoints of both kinds: the renderer's `nerf_<name>.pt` and the texture predictor's `vid2vid_<name>.pt`.

Nothing in a file is executed: beside tensors and plain containers only `argparse.Namespace` is admitted.
"""

import argparse
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likeness.engine import load_tensors, load_weights
from likeness.errors import UserError
from likeness.geometry.body import BodyModel
from likeness.methods.neural_actor.networks.actor import ActorNetwork, NetworkConfig
from likeness.methods.neural_actor.networks.texture_encoder import BLOCKS
from likeness.methods.neural_actor.vid2vid.blocks import add_spectral_norm, fold_spectral_norm
from likeness.methods.neural_actor.vid2vid.discriminator import DiscriminatorConfig, TextureDiscriminator
from likeness.methods.neural_actor.vid2vid.generator import DEPTH, FIRST_DEPTH, GeneratorConfig, TextureGenerator

TRAINED, AVERAGED = "module.module.", "module.averaged_model."
BODY = ("vertices", "faces", "face_uv", "weights")
FLAGS = {
    "inputs_to_density": str,
    "inputs_to_texture": str,
    "use_texture_encoder": bool,
    "texture_encoder_layers": int,
    "use_local_coordinate": bool,
    "texture_to_deformation": bool,
    "background_stop_gradient": bool,
}
"""Recorded flags that say what tensors cannot, and their types."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """What a published file holds.

    Raises:
        UserError: absent, truncated, no dictionary, or it holds code or foreign types.
    """
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = load_tensors(path)
    if not isinstance(content, dict):
        raise UserError(f"holds a {type(content).__name__}, expected a checkpoint's dictionary", path=path)
    return content


def load_renderer(path: str | Path, canonical_bones: Tensor | None = None, hierarchical: bool = False) -> ActorNetwork:
    """The published renderer, on the body stored with it.

    Args:
        path: `nerf_<name>.pt`.
        canonical_bones: (J, 4, 4) of `transform_tpose.json`; the file names only a path of its author's machine.
        hierarchical: keep both fields of arch `joint_nerf`; else its second field, where there is one, is the field.

    Raises:
        UserError: no renderer, or `hierarchical` and there is no second field.
    """
    return renderer_of(read_checkpoint(path), path, canonical_bones, hierarchical)


def renderer_of(
    content: Mapping[str, Any], path: str | Path, canonical_bones: Tensor | None = None, hierarchical: bool = False
) -> ActorNetwork:
    """The renderer in what `read_checkpoint` found at `path`."""
    needed = (*(f"encoder.{name}" for name in BODY), "field.renderer.net.0.net.0.weight")
    state = _tensors(content.get("model"), needed, "renderer", path)
    fine = {key.replace("field_fine.", "field.", 1): v for key, v in state.items() if key.startswith("field_fine.")}
    if hierarchical and not fine:
        raise UserError("holds one field only: it is no checkpoint of arch joint_nerf", path=path)
    if not hierarchical:
        state = {key: v for key, v in state.items() if not key.startswith("field_fine.")} | fine
    vertices, faces, face_uv, weights = (state[f"encoder.{name}"] for name in BODY)
    # Our own checkpoints hold the canonical pose, published ones do not.
    stored = state.pop("encoder.canonical_bones", None)
    body = BodyModel(vertices, faces, face_uv, weights, stored if canonical_bones is None else canonical_bones)
    config = renderer_config(state, recorded_flags(content))
    network = ActorNetwork(body, replace(config, fine_field=hierarchical))
    # No output depends on the trunk's deepest level unless five are read, so a file may do without it.
    own = (".layer4.", "encoder.canonical_bones")
    unused = {
        key: v for key, v in network.state_dict().items() if any(part in key for part in own) and key not in state
    }
    load_weights(network, state | unused, path)
    return network.eval()


def recorded_flags(content: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that the renderer was trained with, by their names with underscores; none where none are stored."""
    return vars(content.get("args") or argparse.Namespace())


def renderer_config(state: Mapping[str, Tensor], flags: Mapping[str, Any]) -> NetworkConfig:
    """Sizes read off the tensors; the rest off the recorded flags, where there are any."""
    trunk = "encoder.texture_encoder.model."
    config = NetworkConfig(
        width=len(state["field.feature_field.net.0.net.0.weight"]),
        feature_layers=_count(state, r"field\.feature_field\.net\.(\d+)\."),
        density_width=len(state["field.predictor.hidden_layer.net.0.weight"]),
        texture_layers=_count(state, r"field\.renderer\.net\.(\d+)\.") - 2,
        additional_deform=any(key.startswith("encoder.skinning_deform.") for key in state),
    )
    if f"{trunk}conv1.weight" in state:
        counts = [_count(state, rf"encoder\.texture_encoder\.model\.layer{level}\.(\d+)\.") for level in range(1, 5)]
        blocks = tuple(count for count in counts if count)
        # The fourth level is unused and may be left out of a file; a smaller trunk has fewer than three.
        blocks = (*blocks, BLOCKS[3]) if len(blocks) == 3 else blocks
        config = replace(
            config,
            texture_encoder_width=len(state[f"{trunk}conv1.weight"]),
            texture_encoder_blocks=blocks,
        )
    else:
        config = replace(config, use_texture_encoder=False)
    named = {key: kind(flags[key]) for key, kind in FLAGS.items() if flags.get(key) is not None}
    return replace(config, **named)


@dataclass(frozen=True)
class PublishedTexture:
    """The texture predictor's networks as published."""

    generator: TextureGenerator
    """The average, in evaluation mode, without spectral norm: what inference uses."""
    trained: TextureGenerator | None
    """The generator to go on training from, with spectral norm."""
    discriminator: TextureDiscriminator | None
    """The same; with as many temporal discriminators as the file has."""
    epoch: int
    iteration: int


def load_texture_predictor(path: str | Path, inference: bool = False) -> PublishedTexture:
    """The published texture predictor.

    Args:
        path: `vid2vid_<name>.pt`.
        inference: read the averaged generator only.
    """
    return texture_predictor_of(read_checkpoint(path), path, inference)


def texture_predictor_of(content: Mapping[str, Any], path: str | Path, inference: bool = False) -> PublishedTexture:
    """The texture predictor in what `read_checkpoint` found at `path`."""
    needed = ("label_embedding.conv_first.layers.conv.bias", "fc.layers.conv.weight")
    everything = _tensors(content.get("net_G"), (), "texture predictor", path)
    averaged, trained = _under(everything, AVERAGED), _under(everything, TRAINED)
    state = _tensors(averaged or trained, needed, "texture predictor", path)
    config = generator_config(state, path)
    generator = _empty_generator(config)
    if not averaged:
        add_spectral_norm(generator)
    load_weights(generator, state, path)
    if not averaged:
        fold_spectral_norm(generator)
    going_on, discriminator = None, None
    if not inference and trained:
        going_on = _empty_generator(config)
        add_spectral_norm(going_on)
        load_weights(going_on, trained, path)
    judges = _under(content.get("net_D") or {}, "module.")
    if not inference and judges:
        discriminator = TextureDiscriminator(discriminator_config(judges))
        add_spectral_norm(discriminator)
        load_weights(discriminator, judges, path)
    epoch, iteration = (int(content.get(f"current_{name}", 0)) for name in ("epoch", "iteration"))
    return PublishedTexture(generator.eval(), going_on, discriminator, epoch, iteration)


def generator_config(state: Mapping[str, Tensor], path: str | Path | None = None) -> GeneratorConfig:
    """Sizes read off the tensors of an averaged or trained generator."""
    filters = len(state["label_embedding.conv_first.layers.conv.bias"])
    deepest = len(state[f"label_embedding.down_{DEPTH - 1}.layers.conv.bias"])
    rows, latent = state["fc.layers.conv.weight"].shape
    side = math.isqrt(rows // deepest)
    if side**2 * deepest != rows:
        raise UserError(f"starts from {rows} values, no square of {deepest} channels", path=path)
    stem = next(state[key] for key in state if key.startswith("flow_network_temp.down_lbl.0.layers.conv.weight"))
    return GeneratorConfig(
        size=side * 2**FIRST_DEPTH,
        filters=filters,
        max_filters=deepest,
        latent=latent,
        frames=stem.shape[1] // 3,
        flow_filters=len(stem),
        flow_blocks=_count(state, r"flow_network_temp\.res_flow\.(\d+)\."),
    )


def discriminator_config(state: Mapping[str, Tensor]) -> DiscriminatorConfig:
    """Sizes read off the tensors; temporal discriminators may be absent."""
    image, temporal = r"net_D\.discriminator_", r"net_DT0\.discriminator_"
    config = DiscriminatorConfig(
        image_filters=len(state["net_D.discriminator_0.layer0.0.layers.conv.bias"]),
        image_layers=_count(state, rf"{image}0\.layer(\d+)\.") - 2,
        image_scales=_count(state, rf"{image}(\d+)\."),
        temporal=_count(state, r"net_DT(\d+)\."),
    )
    if not config.temporal:
        return config
    return replace(
        config,
        temporal_filters=len(state["net_DT0.discriminator_0.layer0.0.layers.conv.bias"]),
        temporal_layers=_count(state, rf"{temporal}0\.layer(\d+)\.") - 2,
        temporal_scales=_count(state, rf"{temporal}(\d+)\."),
    )


def _empty_generator(config: GeneratorConfig) -> TextureGenerator:
    # 227 million parameters that are about to be overwritten need no random numbers.
    with torch.device("meta"):
        network = TextureGenerator(config)
    for parameter in network.to_empty(device="cpu").parameters():
        parameter.data.zero_()
    return network


def _tensors(content: Any, needed: tuple[str, ...], kind: str, path: str | Path) -> dict[str, Tensor]:
    state = content if isinstance(content, Mapping) else {}
    state = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    missing = [key for key in needed if key not in state]
    if not state or missing:
        raise UserError(f"holds no {kind}: {missing[0] if missing else 'its state'} is absent", path=path)
    return state


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for key in state if (match := re.match(pattern, key))})
