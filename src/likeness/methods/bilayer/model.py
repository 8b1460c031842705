"""The forward passes of training and of standing statistics, from a typed batch to typed outputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likeness.engine import sample as per_sample
from likeness.methods.bilayer.networks import NetworkOptions
from likeness.methods.bilayer.networks.inference_generator import Frame, InferenceGenerator, compose
from likeness.methods.bilayer.networks.texture_enhancer import compose_enhanced
from likeness.methods.bilayer.networks.warp import masked


@dataclass(frozen=True)
class Pairs:
    """B samples of N source and T target frames."""

    source_imgs: Tensor = per_sample()
    """(B, N, 3, S, S) in [-1, 1]."""
    source_poses: Tensor = per_sample()
    """(B, N, 136)."""
    source_stickmen: Tensor = per_sample()
    """(B, N, 3, S, S) in [-1, 1]."""
    source_segs: Tensor = per_sample()
    """(B, N, 1, S, S) in [0, 1]."""
    target_imgs: Tensor = per_sample()
    """(B, T, 3, S, S) in [-1, 1]."""
    target_poses: Tensor = per_sample()
    """(B, T, 136)."""
    target_stickmen: Tensor = per_sample()
    """(B, T, 3, S, S) in [-1, 1]."""
    target_segs: Tensor = per_sample()
    """(B, T, 1, S, S) in [0, 1]."""


@dataclass(frozen=True)
class BaseOutput:
    """What the base networks make of a batch; frames are flattened, person-major."""

    texture: Tensor
    """(B, 3, S, S)."""
    target: Frame
    """B * T frames."""
    source: Frame | None
    """B * N frames, never masked; only when asked for."""
    target_imgs: Tensor
    """(B * T, 3, S, S) ground truth, masked as the prediction is."""


def forward_base(
    networks: Mapping[str, nn.Module], options: NetworkOptions, batch: Pairs, *, predict_source: bool = False
) -> BaseOutput:
    """Embed the sources, predict texture and target frames."""
    embeds = networks["identity_embedder"](batch.source_imgs, batch.source_stickmen, batch.source_segs)
    texture = networks["texture_generator"](embeds)
    generator = networks["inference_generator"]
    assert isinstance(generator, InferenceGenerator)
    predicted = generator.project(embeds)

    def frames(poses: Tensor, apply_masks: bool) -> Frame:
        layers = generator(networks["keypoints_embedder"](poses.flatten(0, 1)), predicted)
        return compose(layers, texture.repeat_interleave(poses.shape[1], 0), generator.identity_grid, apply_masks)

    target = frames(batch.target_poses, options.inf_apply_masks)
    source = frames(batch.source_poses, False) if predict_source else None
    truth = batch.target_imgs.flatten(0, 1)
    if options.inf_apply_masks:
        truth = masked(truth, target.segs.detach())
    return BaseOutput(texture, target, source, truth)


@dataclass(frozen=True)
class EnhancedOutput:
    """What the texture enhancer adds; frames are flattened, person-major."""

    base: BaseOutput
    texture: Tensor
    """(B, 3, S, S), not bounded."""
    imgs: Tensor
    """(B * T, 3, S, S), masked as often as the published training masks."""
    hf_rgbs: Tensor
    """(B * T, 3, S, S)."""
    base_imgs: Tensor
    """(B * T, 3, S, S) without the enhancer, masked a second time."""
    target_imgs: Tensor
    """(B * T, 3, S, S) ground truth, masked a second time."""


def forward_enhancer(networks: Mapping[str, nn.Module], options: NetworkOptions, batch: Pairs) -> EnhancedOutput:
    """The base pass in evaluation mode without gradients, then the enhanced texture on the target frames."""
    with torch.no_grad():
        base = forward_base(networks, options, batch, predict_source=True)
    assert base.source is not None
    enhancer = networks["texture_enhancer"]
    texture = enhancer(base.texture, base.source, batch.source_imgs.flatten(0, 1))
    repeated = texture.repeat_interleave(batch.target_imgs.shape[1], 0)
    imgs, hf = compose_enhanced(base.target, repeated, options.enh_apply_masks)
    base_imgs, truth = base.target.imgs, base.target_imgs
    if options.enh_apply_masks:
        base_imgs, truth = masked(base_imgs, base.target.segs), masked(truth, base.target.segs)
    return EnhancedOutput(base, texture, imgs, hf, base_imgs, truth)


def standing_statistics(networks: Mapping[str, nn.Module], options: NetworkOptions, batches: Iterable[Pairs]) -> int:
    """Replace BatchNorm's running statistics by their plain mean over batches; returns how many there were.

    Only BatchNorm is in training mode meanwhile, so spectral norms stay as they are.
    """
    layers = [m for n in networks.values() for m in n.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    modes = [(m, m.training) for n in networks.values() for m in n.modules()]
    for module, _ in modes:
        module.training = isinstance(module, nn.BatchNorm2d)
    for layer in layers:
        layer.momentum = 1.0
    names = ("running_mean", "running_var")
    sums = [[torch.zeros_like(layer.get_buffer(name)) for name in names] for layer in layers]
    count = 0
    try:
        with torch.no_grad():
            for batch in batches:
                forward_base(networks, options, batch)
                count += 1
                for total, layer in zip(sums, layers, strict=True):
                    total[0] += layer.get_buffer("running_mean")
                    total[1] += layer.get_buffer("running_var")
    finally:
        for module, mode in modes:
            module.training = mode
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for total, layer in zip(sums, layers, strict=True):
        for name, value in zip(names, total, strict=True):
            if count:
                layer.get_buffer(name).copy_(value / count)
    return count
