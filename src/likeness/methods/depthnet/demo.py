"""DepthNet's section of the demo page."""

from pathlib import Path

import numpy as np
from skimage.data import astronaut

from likeness.media.figures import new_figure, save_figure
from likeness.media.image import resize_uint8, write_image
from likeness.media.report import Section
from likeness.media.video import write_video
from likeness.methods.depthnet.animate import RATE, strip, turn_frames
from likeness.methods.depthnet.demo_training import train_experiments
from likeness.methods.depthnet.photo import FacePhoto, open_photo
from likeness.methods.depthnet.published import load_generator
from likeness.methods.depthnet.turning import predict

TRAINING_SHARE = 0.6
QUARTER = np.pi / 4
STRIP = np.array([-1, -0.5, 0, 0.5, 1]) * QUARTER
FRAMES = 48
CLOSE_UP = 320
"""Side of the pictures around the face, pixels."""


def demo(folder: Path, minutes: float, seed: int) -> Section:
    """Train experiments 1 and 3 on synthetic faces, then turn the head of a real photograph, within `minutes`."""
    trained = train_experiments(folder, 60 * minutes * TRAINING_SHARE, seed)
    models: dict[str, Path | None] = {title: run.folder for title, run in trained.runs.items()}
    figures = [*trained.figures, *turned_photograph(folder, {**models, "the shipped model": None})]
    return Section(
        "DepthNet",
        "DepthNet learns the depth of a face's landmarks from pairs of faces, without being told any depth: it looks "
        "for the depths with which one affine camera carries the first face onto the second. Experiment 1 does this "
        "alone, experiment 3 with a critic that has seen true depths.\n\n"
        "The photograph (scikit-image's astronaut, NASA, public domain) is turned by 45 degrees either way: its "
        "landmarks are turned, and the model maps the photograph onto them. The shipped model, trained for longer, "
        "turns the photograph by its own depths alone.",
        figures,
        trained.rows,
    )


def turned_photograph(folder: Path, models: dict[str, Path | None]) -> list[tuple[Path, str]]:
    """A video, a strip and the inferred depth for each model (run folder; None for the shipped weights)."""
    photograph = folder / "photograph.png"
    write_image(photograph, astronaut(), synthetic=False)
    photo = open_photo(photograph)
    swing = np.sin(np.linspace(0, 2 * np.pi, FRAMES, endpoint=False)) * QUARTER
    figures: list[tuple[Path, str]] = []
    depths = {}
    for title, run in models.items():
        generator = load_generator(run)
        depths[title] = predict(generator, photo.points, photo.points[None])[0][0]
        turn = "source" if run is None else "landmarks"
        name = title.lower().replace(" ", "_").replace("+", "and")
        turned = turn_frames(photo, generator, np.concatenate([swing, STRIP]), turn=turn)  # type: ignore[arg-type]
        frames = [_close_up(frame, photo) for frame in turned]
        write_video(folder / f"{name}.mp4", frames[:FRAMES], RATE, synthetic=True)
        write_image(folder / f"{name}_strip.png", strip(frames[FRAMES:]), synthetic=True)
        figures += [
            (folder / f"{name}_strip.png", f"{title}: -45, -22, 0, 22 and 45 degrees."),
            (folder / f"{name}.mp4", f"{title}: the turn."),
        ]
    _depth_figure(folder / "depths.png", photo, depths)
    return [
        *figures,
        (
            folder / "depths.png",
            "The depths that each model infers, dark to bright in its own scale: without a critic, sign and scale are free.",
        ),
    ]


def _close_up(frame: np.ndarray, photo: FacePhoto) -> np.ndarray:
    (left, top), side = photo.corner, photo.side
    return resize_uint8(frame[max(top, 0) : top + side, max(left, 0) : left + side], (CLOSE_UP, CLOSE_UP))


def _depth_figure(path: Path, photo: FacePhoto, depths: dict[str, np.ndarray]) -> None:
    figure = new_figure(3.2 * len(depths), 3.4)
    x, y = (photo.points * photo.side).T
    for index, (title, depth) in enumerate(depths.items(), start=1):
        axes = figure.add_subplot(1, len(depths), index)
        axes.imshow(photo.crop)
        axes.scatter(x, y, c=depth, s=14, cmap="viridis")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    save_figure(figure, path, synthetic=True)
