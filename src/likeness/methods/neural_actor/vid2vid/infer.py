"""`likeness infer neural_actor`: texture maps predicted from normal maps, frame after frame."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from likeness.engine import Run
from likeness.errors import UserError
from likeness.media.image import list_images, read_image, to_uint8, write_image
from likeness.media.video import VideoWriter
from likeness.methods.neural_actor.vid2vid.clips import LABELS_AND_IMAGES, crop_picture
from likeness.methods.neural_actor.vid2vid.config import TextureConfig
from likeness.methods.neural_actor.vid2vid.generator import TextureGenerator
from likeness.metrics.fid import frechet_distance
from likeness.metrics.inception import features, load_inception
from likeness.metrics.psnr import psnr

VIDEO = "textures.mp4"


@dataclass(frozen=True, kw_only=True)
class InferConfig:
    """Predict texture maps from a sequence of normal maps, as PNG files and a video."""

    run: Path
    """A run of stage texture, trained or imported."""
    data: Path
    """Folder with normal/ (or seg_maps/), one normal map a frame; with tex/ (or images/) the prediction is compared."""
    out: Path
    """Folder to write: a texture map under the name of each normal map, and textures.mp4."""
    which: str = "last"
    """Checkpoint: `last`, `best` or a tag."""
    rate: float = 15.0
    """Frames a second of the video."""
    inception: Path | None = None
    """Published Inception weights: adds the FID between predicted and true texture maps."""
    device: str = "cpu"
    """Such as cuda."""


def infer(config: InferConfig) -> dict[str, float]:
    """Write predicted texture maps; returns (and prints) how near they come to the true ones, where there are any."""
    generator = load_generator(config.run, config.which, config.device)
    labels, truth = label_and_image_files(config.data)
    with VideoWriter(config.out / VIDEO, config.rate, synthetic=True) as video:
        pictures = predict_sequence(generator, (read_image(path) for path in labels))
        for path, picture in zip(track(labels, "textures", transient=True), pictures):
            write_image(config.out / f"{path.stem}.png", picture, synthetic=True)
            video.write(picture)
    print(f"{config.out}: {len(labels)} texture maps of {generator.config.size} pixels, {VIDEO}")
    if not truth:
        return {}
    scores = compare([config.out / f"{path.stem}.png" for path in labels], truth, config.inception)
    print(", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return scores


def load_generator(run: Path, which: str = "last", device: str = "cpu") -> TextureGenerator:
    """The averaged generator of a run of stage texture.

    Raises:
        UserError: not such a run.
    """
    opened = Run.open(run, "neural_actor", "texture")
    generator = TextureGenerator(opened.config(TextureConfig).generator)
    opened.load("average", generator, which)
    return generator.to(device).eval().requires_grad_(False)


@torch.no_grad()
def predict_sequence(generator: TextureGenerator, normal_maps: Iterable[Tensor]) -> Iterator[Tensor]:
    """Texture maps (3, S, S) in [0, 1] of normal maps (3, H, W), in order; only the last frames are kept in mind."""
    size, kept = generator.config.size, generator.config.frames - 1
    device = next(generator.parameters()).device
    labels: list[Tensor] = []
    images: list[Tensor] = []
    for normals in normal_maps:
        label = crop_picture(normals, size, size, np.zeros(2)).unsqueeze(0).to(device)
        history = (torch.stack(labels, 1), torch.stack(images, 1)) if images else ()
        image = generator(label, *history).image
        if kept:
            labels, images = [*labels, label][-kept:], [*images, image][-kept:]
        yield ((image[0] + 1) / 2).clamp(0, 1).cpu()


def label_and_image_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Normal maps of a folder and, where it holds just as many, its texture maps.

    Raises:
        UserError: no normal map.
    """
    for label, image in LABELS_AND_IMAGES:
        if (folder / label).is_dir():
            labels = list_images(folder / label)
            images = list_images(folder / image) if (folder / image).is_dir() else []
            if labels:
                return labels, images if len(images) == len(labels) else []
    raise UserError("holds no normal maps: expected pictures in normal/ or seg_maps/", path=folder)


def compare(predicted: Sequence[Path], truth: Sequence[Path], inception: Path | None = None) -> dict[str, float]:
    """Mean PSNR of predicted texture maps, the true ones brought to their size; FID with Inception weights."""
    made = [read_image(path) for path in predicted]
    side = made[0].shape[-1]
    true = [(crop_picture(read_image(path), side, side, np.zeros(2)) + 1) / 2 for path in truth]
    scores = {"psnr": float(torch.stack([psnr(a[None], b[None])[0] for a, b in zip(made, true)]).mean())}
    if inception is not None:
        network = load_inception(inception)
        sets = [
            features(
                network, [torch.from_numpy(to_uint8(each)).permute(2, 0, 1)[None] for each in group], "pytorch-fid"
            )
            for group in (made, true)
        ]
        scores["fid"] = frechet_distance(*sets)
    return scores
