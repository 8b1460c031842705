"""The six networks of the bi-layer head avatars."""

from torch import nn

from likeness.methods.bilayer.networks.discriminator import Discriminator
from likeness.methods.bilayer.networks.identity_embedder import IdentityEmbedder
from likeness.methods.bilayer.networks.inference_generator import InferenceGenerator
from likeness.methods.bilayer.networks.keypoints_embedder import KeypointsEmbedder
from likeness.methods.bilayer.networks.options import NetworkOptions, network_options
from likeness.methods.bilayer.networks.spectral_norm import add_spectral_norm
from likeness.methods.bilayer.networks.texture_enhancer import TextureEnhancer
from likeness.methods.bilayer.networks.texture_generator import TextureGenerator

BASE = ("identity_embedder", "texture_generator", "keypoints_embedder", "inference_generator")
ENHANCER = "texture_enhancer"
DISCRIMINATOR = "discriminator"
ALL = (*BASE, ENHANCER, DISCRIMINATOR)


__all__ = ["ALL", "BASE", "DISCRIMINATOR", "ENHANCER", "NetworkOptions", "build_network", "network_options"]


def build_network(
    name: str,
    options: NetworkOptions,
    *,
    dropout: float = 0.0,
    spectral_norm: bool = True,
    bn_momentum: float = 1.0,
) -> nn.Module:
    """Make one of the networks of `ALL`.

    Args:
        name: which one.
        options: its sizes.
        dropout: acts before the output head of the texture generator or the inference generator.
        spectral_norm: put it on every convolution and linear layer that owns its weight.
        bn_momentum: with 1, running statistics are those of the last batch; standing statistics replace them before
            evaluation.
    """
    makers = {
        "identity_embedder": lambda: IdentityEmbedder(options),
        "texture_generator": lambda: TextureGenerator(options, dropout),
        "keypoints_embedder": lambda: KeypointsEmbedder(options),
        "inference_generator": lambda: InferenceGenerator(options, dropout),
        "texture_enhancer": lambda: TextureEnhancer(options),
        "discriminator": lambda: Discriminator(options),
    }
    network = makers[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = bn_momentum
    return add_spectral_norm(network) if spectral_norm else network
