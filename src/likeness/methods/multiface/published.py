"""Published weights: a flat state dict with the prefix `module.`, in two colour layouts, without configuration."""

import dataclasses
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from likeness.engine import Checkpoints, Run, Tag, load_tensors, load_weights
from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.methods.multiface.colour import Colour, DiagonalColour, MatrixColour, as_matrix
from likeness.methods.multiface.config import MultifaceConfig
from likeness.methods.multiface.model import TEMPLATE_NAME, Template
from likeness.methods.multiface.networks import BASE_SCALE, Architecture, Avatar
from likeness.methods.multiface.recording import Capture

PREFIX = "module."


@dataclass(frozen=True)
class Published:
    """A published file: settings read off its tensors, and the two state dicts."""

    architecture: Architecture
    tex_size: int
    latent: int
    vertices: int
    cameras: int
    layout: str
    avatar: dict[str, Tensor]
    colour: dict[str, Tensor]


def read_published(path: str | Path) -> Published:
    """Read a published weight file; nothing in it is executed.

    Raises:
        UserError: it is no file of tensors, or not of this method.
    """
    path = Path(path)
    try:
        state = load_tensors(path)
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise UserError(f"is no file of weights that can be read safely ({error})", path=path) from error
    return parse_published(state, path)


def parse_published(state: Mapping[str, Tensor], path: str | Path | None = None) -> Published:
    """Recognise architecture and sizes by the keys of a state dict, with or without the prefix `module.`."""
    flat = {key.removeprefix(PREFIX): value for key, value in state.items() if isinstance(value, Tensor)}
    needed = ("enc.texture_fc.weight", "dec.z_fc.weight", "dec.mesh_fc.weight")
    missing = [key for key in needed if key not in flat]
    if missing:
        raise UserError(
            f"holds no deep appearance model ({', '.join(missing)} are absent; found {', '.join(list(flat)[:3])} ...)",
            path=path,
        )
    colour = {key.removeprefix("cc."): value for key, value in flat.items() if key.startswith("cc.")}
    if "weights" not in colour and "weight" not in colour:
        raise UserError("holds no colour correction: neither cc.weights nor cc.weight", path=path)
    matrix = "weights" in colour
    side = int((flat["enc.texture_fc.weight"].shape[1] / 128) ** 0.5)
    return Published(
        architecture=_architecture(flat),
        tex_size=BASE_SCALE * side,
        latent=flat["dec.z_fc.weight"].shape[1],
        vertices=flat["dec.mesh_fc.weight"].shape[0] // 3,
        cameras=len(colour["weights"]) if matrix else len(colour["weight"]) + 1,
        layout="matrix" if matrix else "diagonal",
        avatar={key: value for key, value in flat.items() if not key.startswith("cc.")},
        colour=colour,
    )


def networks_of(published: Published) -> tuple[Avatar, Colour]:
    """Networks with the published values."""
    avatar = Avatar(published.architecture, published.tex_size, published.latent, published.vertices)
    colour: Colour = (MatrixColour if published.layout == "matrix" else DiagonalColour)(published.cameras)
    load_weights(avatar, published.avatar, "the published weights")
    load_weights(colour, published.colour, "the published weights")
    return avatar, colour


def load_weights_into(source: Path, avatar: Avatar, colour: Colour, trained: Sequence[str]) -> None:
    """Fill networks from a run or a published file (colour rows in KRT order).

    The colour rows of a run that was trained with other cameras are left out, which is told.

    Raises:
        UserError: sizes or colour rows do not fit.
    """
    if source.is_dir():
        Run.open(source).load("avatar", avatar)
        # A run that was imported without its data knows no cameras: its rows follow KRT.
        known = Template.load(source).trained if (source / TEMPLATE_NAME).is_file() else tuple(trained)
        if known == tuple(trained):
            Run.open(source).load("colour", colour)
        else:
            print(
                f"the colour rows of {source} belong to the cameras {', '.join(known)}, the data now gives "
                f"{', '.join(trained)}: colour correction starts anew"
            )
        return
    published = read_published(source)
    load_weights(avatar, published.avatar, source)
    if published.cameras != colour.cameras:
        raise UserError(
            f"has {published.cameras} colour rows, the data {len(trained)} cameras ({', '.join(trained)}): published "
            "rows follow the KRT file, so give a KRT with exactly those cameras",
            path=source,
        )
    values = published.colour
    if published.layout == "diagonal" and isinstance(colour, MatrixColour):
        diagonal = DiagonalColour(published.cameras)
        diagonal.load_state_dict(values)
        values = as_matrix(diagonal).state_dict()
    load_weights(colour, values, source)


def import_weights(weights: Path, out: Path, data_dir: Path | None = None, camera_split: Path | None = None) -> None:
    """Import a published weight file into a run.

    Args:
        weights: best_model.pth or <entity>_model.pth.
        out: folder of the new run (`<experiment_dir>/runs/<name>`).
        data_dir: the entity's folder; colour rows are named after the cameras of its KRT, in its order. Without it the
            run holds the networks only.
        camera_split: split whose `train` cameras the rows belong to, for weights that were not trained on all.
    """
    if (out / "config.yaml").exists():
        raise UserError("is a run already: choose another --out", path=out)
    published = read_published(weights)
    avatar, colour = networks_of(published)
    if out.parent.name != "runs":
        out = out / "runs" / "imported"
    config = MultifaceConfig(
        experiment_dir=out.parent.parent,
        experiment_name=out.name,
        architecture=published.architecture,
        tex_size=published.tex_size,
        latent=published.latent,
        colour_layout="matrix" if published.layout == "matrix" else "diagonal",
        data_dir=data_dir or Path("dataset"),
        camera_split=camera_split,
    )
    run = Run.of(config)
    if data_dir is not None:
        capture = Capture(dataclasses.replace(config, test_segments=()))
        names = capture.cameras["train"]
        if len(names) != published.cameras:
            raise UserError(
                f"names {len(names)} cameras to train with, the weights have {published.cameras} colour rows: rows "
                "follow the KRT file the model was trained with; use that one, or its --camera-split",
                path=camera_split or capture.krt_path,
            )
        template = capture.template(capture.samples("train"))
        if len(template.statistics.vert_mean) != published.vertices:
            raise UserError(
                f"has {len(template.statistics.vert_mean)} vertices, the weights {published.vertices}", path=data_dir
            )
        template.save(run.folder)
    run.record("multiface", "avatar", (str(weights),), config, ["likeness", "import", "multiface", str(weights)])
    checkpoints = Checkpoints(run.folder / "checkpoints")
    tag = Tag(0)
    checkpoints.save(tag, {"avatar": avatar, "colour": colour}, {"imported": str(weights)})
    checkpoints.index(tag)
    print(
        f"imported {published.architecture}, texture {published.tex_size}, latent {published.latent}, "
        f"{published.vertices} vertices, {published.cameras} cameras ({published.layout} colours) into {run.folder}"
    )


def export_original(run: Path, path: Path, which: str = "last") -> None:
    """Write a checkpoint of a run as the original's flat file with its `module.` prefix."""
    opened = Run.open(run)
    tag = opened.checkpoints.find(which)
    state: dict[str, Tensor] = {}
    for name, prefix in (("avatar", PREFIX), ("colour", PREFIX + "cc.")):
        tensors = load_tensors(opened.checkpoints.path(tag, name))
        state |= {prefix + key: value.contiguous() for key, value in tensors.items()}
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def _architecture(flat: Mapping[str, Tensor]) -> Architecture:
    block = "dec.texture_decoder.upsample.0.conv1."
    if any(key.startswith("warp.") for key in flat):
        return "warp"
    if any(".res1." in key for key in flat):
        return "res"
    if flat[block + "bias"].shape[-1] == 1:
        return "non"
    return "bilinear" if flat[block + "deconv.weight"].shape[-1] == 3 else "base"
