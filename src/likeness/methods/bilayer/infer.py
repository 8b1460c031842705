"""`likeness infer bilayer`: one target frame from one source frame, in the three ways of the fork's `infer_test`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from likeness.errors import UserError
from likeness.formats import heads
from likeness.media.image import write_image
from likeness.methods.bilayer import stickman
from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.prepare import Head, Preparer


@dataclass(frozen=True)
class InferConfig:
    """Predict one target frame: from two frames of a video, two pictures, or two frames of a data set."""

    experiment_name: str
    """The run's name."""
    experiment_dir: Path = Path()
    """Folder that holds `runs/`."""
    which_epoch: str = "last"
    """Checkpoint of the run."""
    preprocess: bool = True
    """Find landmarks and mask of pictures; otherwise read prepared frames from `dataset_root`."""
    from_video: bool = False
    """Take both pictures from `video_path`."""
    video_path: Path | None = None
    """Video for `preprocess` with `from_video`."""
    source_frame_num: int = 0
    """Source frame of the video, from 0 in decoding order."""
    target_frame_num: int = 10
    """Target frame of the video."""
    source_img_path: Path | None = None
    """Source picture for `preprocess` without `from_video`."""
    target_img_path: Path | None = None
    """Target picture."""
    dataset_root: Path | None = None
    """Data set of prepared frames."""
    source_relative_path: str | None = None
    """Source frame in it without a suffix, such as `train/ID/VIDEO/SEQ/0`."""
    target_relative_path: str | None = None
    """Target frame in it."""
    results: Path = Path("results")
    """Folder of the written pictures."""
    number: int = 0
    """Number in the pictures' names."""


def infer(config: InferConfig) -> None:
    """Predict, and write the prediction with the pictures, stickmen and masks it was made from.

    Raises:
        UserError: a path of the chosen way is missing, a frame does not exist, or shows no face.
    """
    avatar = Avatar.from_run(config.experiment_dir / "runs" / config.experiment_name, config.which_epoch)
    size = avatar.options.image_size
    if not config.preprocess and config.from_video:
        print("--from-video needs --preprocess True: prepared frames are read from --dataset-root")
    source, target = _stored(config, size) if not config.preprocess else _prepared(config, Preparer(size))
    picture = avatar.identify([source.image], [source.keypoints], [source.mask]).drive(target.pose)
    suffix = f"{config.number}_{config.preprocess}_{config.from_video}"
    write_image(config.results / f"pred_target_{suffix}.jpg", picture.over(), synthetic=True)
    write_image(config.results / f"pred_target_segs_{suffix}.png", picture.mask.expand(3, -1, -1), synthetic=True)
    for name, head in (("source", source), ("target", target)):
        drawn = (stickman.draw(head.pose, size, avatar.thickness) + 1) / 2
        pictures = {"imgs": head.image, "stickmen": drawn, "segs": np.repeat(head.mask, 3, 0)}
        for kind, values in pictures.items():
            write_image(
                config.results / f"{name}_{kind}_{suffix}.png",
                torch.from_numpy(np.ascontiguousarray(values)),
                synthetic=False,
            )
    print(f"written: {config.results}/pred_target_{suffix}.jpg")


def _prepared(config: InferConfig, preparer: Preparer) -> tuple[Head, Head]:
    if config.from_video:
        if config.video_path is None:
            raise UserError("--preprocess True --from-video True needs --video-path")
        return (
            preparer.from_file(config.video_path, config.source_frame_num),
            preparer.from_file(config.video_path, config.target_frame_num),
        )
    if config.source_img_path is None or config.target_img_path is None:
        raise UserError("--preprocess True --from-video False needs --source-img-path and --target-img-path")
    return preparer.from_file(config.source_img_path), preparer.from_file(config.target_img_path)


def _stored(config: InferConfig, size: int) -> tuple[Head, Head]:
    if config.dataset_root is None or not config.source_relative_path or not config.target_relative_path:
        raise UserError("--preprocess False needs --dataset-root, --source-relative-path and --target-relative-path")
    found = []
    for relative in (config.source_relative_path, config.target_relative_path):
        phase, _, name = relative.partition("/")
        frame = heads.read_frame(config.dataset_root, phase, name, size)
        assert frame.mask is not None
        found.append(Head(frame.image, frame.keypoints, frame.mask))
    return found[0], found[1]
