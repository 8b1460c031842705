"""The section of the demo page: a head from the synthetic stage, trained, measured and turned within its minutes."""

import dataclasses
import time
from pathlib import Path

from likeness.capture.multiface import MultifaceCapture, capture_multiface
from likeness.engine import train
from likeness.formats.multiface import Entity, read_krt, read_picture
from likeness.media.image import write_image
from likeness.media.report import Section
from likeness.methods.multiface.animate import AnimateConfig, animate, list_frames
from likeness.methods.multiface.config import PRESETS
from likeness.methods.multiface.evaluate import EvaluateConfig, evaluate
from likeness.methods.multiface.export import ExportConfig, export
from likeness.methods.multiface.method import AvatarStage

HELD_OUT = "EXP_ROM07_Facial_Expressions"
TIMED_STEPS = 10
"""By which the pace is found, after two in which everything is loaded and compiled."""
MOST_STEPS = 400


def demo(folder: Path, minutes: float, seed: int) -> Section:
    """Capture a synthetic head, train its avatar for some 60 % of what is left of `minutes` then, and show it.

    Writes into `folder`; the number of steps follows from the time that the capture and the first steps took.
    """
    started = time.monotonic()
    data = folder / "data"
    capture_multiface(MultifaceCapture(out=data, preset="tiny", seed=seed, segments=5, frames=12))
    entity = Entity(next(path for path in data.iterdir() if path.is_dir()))
    camera = next(iter(read_krt(entity.krt)))
    segment, frame = list_frames(entity, HELD_OUT)[0]
    photo = read_picture(entity.photo(segment, camera, frame))
    config = dataclasses.replace(
        PRESETS["tiny"],
        experiment_dir=folder,
        experiment_name="multiface",
        seed=seed,
        data_dir=entity.root,
        test_segments=(HELD_OUT,),
        resolution=photo.shape[:2],
        max_updates=2,
        epochs=10_000,
        save_every=100_000,
        accelerator="cpu",
    )
    train(AvatarStage, config, method="multiface", stage="avatar", argv=["likeness", "demo"])
    begun = time.monotonic()
    timed = dataclasses.replace(config, max_updates=2 + TIMED_STEPS)
    run = train(AvatarStage, timed, method="multiface", stage="avatar", argv=["likeness", "demo"])
    pace = (time.monotonic() - begun) / TIMED_STEPS
    left = 0.6 * (60 * minutes - (time.monotonic() - started))
    steps = 2 + TIMED_STEPS + max(0, min(MOST_STEPS, int(left / pace)))
    longer = dataclasses.replace(config, max_updates=steps)
    train(AvatarStage, longer, method="multiface", stage="avatar", argv=["likeness", "demo"])
    figures = evaluate(EvaluateConfig(run=run.folder, rendered=True, lpips=False, batch_size=4))
    write_image(folder / "photograph.png", photo, synthetic=True)
    shown = {
        "orbit": AnimateConfig(
            run=run.folder, out=folder / "orbit.mp4", orbit=35, scale=1.0, raw_colours=True,
            between=(f"{segment}/{frame}", f"{segment}/{list_frames(entity, HELD_OUT)[-1][1]}"), steps=45,
        ),
        "error": AnimateConfig(
            run=run.folder, out=folder / "error.mp4", view="error", segment=HELD_OUT, scale=1.0, raw_colours=True
        ),
        "wireframe": AnimateConfig(
            run=run.folder, out=folder / "wireframe.mp4", view="wireframe", segment=HELD_OUT, scale=1.0,
            raw_colours=True,
        ),
    }  # fmt: skip
    videos = {name: animate(entry) for name, entry in shown.items()}
    mesh = export(ExportConfig(run=run.folder, out=folder / "mesh", segment=HELD_OUT, frame=frame, raw_colours=True))
    return Section(
        "Multiface",
        f"One latent code a frame gives a mesh and a texture for each view. Trained here for {steps} steps on "
        f"the stage's head; the expression {HELD_OUT} was held out. Everything shown is synthetic. "
        f"The decoded mesh with its texture: {mesh[0].name}.",
        figures=[
            (folder / "photograph.png", "a photograph of the held-out expression"),
            (videos["orbit"], "the decoded head from a swinging camera, between two codes"),
            (videos["error"], "photograph, decoded view, their difference (held out)"),
            (videos["wireframe"], "the decoded mesh over the decoded view"),
        ],
        rows=[
            ("mesh error, held-out expression (mm)", figures["mesh_mm"]),
            ("mesh error of the mean face (mm)", figures["mean_face_mesh_mm"]),
            ("times better than the mean face", figures["mesh_factor"]),
            ("texture error, held-out expression (grey levels)", figures["texture_grey"]),
            ("texture error of the mean face (grey levels)", figures["mean_face_texture_grey"]),
            ("times better than the mean texture", figures["texture_factor"]),
            ("PSNR of held-out views over covered pixels (dB)", figures["psnr_covered"]),
        ],
    )
