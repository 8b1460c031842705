"""The four terms of the training loss and the measures derived from them."""

from torch import Tensor

from likeness.methods.multiface.networks import Code
from likeness.methods.multiface.passes import masked_square_error, weighted_square_error


def vertex_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """() mean squared error of normalised vertices (B, V, 3): mm^2 over the vertex variance."""
    return (predicted - truth).square().mean()


def texture_loss(predicted: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """() mean over all texels, seen or not, of the squared masked error of normalised textures (B, 3, S, S).

    The mask (B, 3, S, S) in [0, 1] enters squared. Times the texture variance it is in grey levels squared.
    """
    return masked_square_error(predicted, truth, mask)


def screen_loss(predicted: Tensor, photo: Tensor, weight: Tensor, tex_var: float) -> Tensor:
    """() weighted squared error of pictures (B, 3, H, W) in [0, 1], in grey levels squared over the texture variance.

    `weight` (B, 3 or 1, H, W) is the rendered loss weight, 0 outside the silhouette; the mean runs over all pixels.
    """
    return weighted_square_error(predicted, photo, weight) * (255.0**2 / tex_var)


def kl_divergence(code: Code) -> Tensor:
    """() divergence of the codes from the standard normal, a mean over batch and latent dimensions."""
    return 0.5 * ((2 * code.logstd).exp() + code.mean.square() - 1 - 2 * code.logstd).mean()
