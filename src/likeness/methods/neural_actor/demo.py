"""Neural Actor's section of the demo page: the shipped actor from new views and in new poses."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from likeness.capture.neural_actor import NeuralActorCapture, capture_neural_actor
from likeness.formats.actor import ActorCamera, read_cameras, read_frames, read_transform
from likeness.media.image import read_image, resize, write_image
from likeness.media.report import Section
from likeness.media.video import write_video
from likeness.methods.neural_actor.animate import AnimateConfig, plan_shots
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.extract_maps import extract_textures
from likeness.methods.neural_actor.proof import OTHER, SEED, TEXTURE
from likeness.methods.neural_actor.shots import Shot, ShotOptions, draw_shots
from likeness.methods.neural_actor.viewpoints import CameraPath, Viewpoint, studio_distance
from likeness.methods.neural_actor.yardstick import box_psnr

SIZE = (128, 128)
LARGE = 3
"""Enlargement of the pictures on the page."""
SECONDS_A_PICTURE = 0.8
"""On one idle core."""
RATE = 8
MIDDLE = 1
"""Camera of the studio that stands at the actor's side: 30 degrees from the nearest that training saw."""


def demo(folder: Path, minutes: float, seed: int) -> Section:
    """Film the shipped actor in motions that it was not trained on, and render it, within `minutes`."""
    started = time.monotonic()
    testing = filmed(folder / "studio", SEED)
    avatar = Avatar.from_run(None)
    other = filmed(folder / "other", OTHER)
    left = max(60 * minutes - (time.monotonic() - started), 0)
    pictures = min(max(int(0.6 * left / SECONDS_A_PICTURE), 4), 48)
    poses, rows = new_poses(avatar, testing, folder / "new_poses.png")
    transfer = carried_over(avatar, testing, other, folder / "transfer.png")
    views = around(avatar, testing, folder / "new_views.mp4", pictures)
    return Section(
        "Neural Actor",
        "A person filmed by five cameras becomes a radiance field around a skinned body: each sample near the posed "
        "body is carried back to one canonical pose, and a texture map, unwrapped from the pictures, tells how cloth "
        "lies and light falls in this pose. The shipped actor learned from 32 frames of 128 x 128 pixels for a few "
        "minutes on one core.\n\n"
        "None of these poses and none of these cameras was seen in training; the transferred motion is that of another "
        "person with other proportions.",
        [poses, views, transfer],
        rows,
    )


def filmed(out: Path, seed: int) -> Path:
    """Film a person from four sides; returns the folder of the motions that training does not show."""
    capture_neural_actor(
        NeuralActorCapture(out=out, preset="tiny", seed=seed, frames=1, test_frames=4, cameras=4, maps=False)
    )
    extract_textures(out / "testing", size=TEXTURE)
    return out / "testing"


def new_poses(avatar: Avatar, data: Path, path: Path) -> tuple[tuple[Path, str], list[tuple[str, object]]]:
    """Each frame from a new camera beside the truth: a figure and a row of figures."""
    frames = read_frames(data)
    camera = Viewpoint(read_cameras(data)[MIDDLE], SIZE)
    shots = [
        Shot(read_transform(frame.transform), frame.texture, camera) for frame in frames if frame.texture is not None
    ]
    truth = [read_image(frame.pictures[MIDDLE]) for frame in frames]
    ours = drawn(avatar, shots)
    write_image(path, enlarged(torch.cat([torch.cat(truth, -1), torch.cat(ours, -1)], -2)), synthetic=True)
    score = sum(box_psnr(a, b) for a, b in zip(ours, truth)) / len(truth)
    white = sum(box_psnr(torch.ones_like(b), b) for b in truth) / len(truth)
    return (
        (path, "New poses from a new camera: the truth above, rendered below."),
        [("new poses from a new camera, PSNR in the body's box (dB)", score), ("an empty picture, the same", white)],
    )


def around(avatar: Avatar, data: Path, path: Path, pictures: int) -> tuple[Path, str]:
    """A video that goes round the first frame."""
    frame = read_frames(data)[0]
    assert frame.texture is not None
    pose, studio = read_transform(frame.transform), read_cameras(data)
    x, y, z = pose.joints.mean(0).tolist()
    radius, height = studio_distance(studio, pose.joints.mean(0), "y")
    circle = CameraPath(at=(x, y, z), radius=radius, h=height)
    angles = [360 * index / pictures for index in range(pictures)]
    cameras = [ActorCamera(studio[0].intrinsics, circle.camera_to_world(angle)) for angle in angles]
    shots = [Shot(pose, frame.texture, Viewpoint(camera, SIZE)) for camera in cameras]
    write_video(path, [enlarged(each) for each in drawn(avatar, shots)], RATE, synthetic=True)
    return path, f"Around the actor in {pictures} views."


def carried_over(avatar: Avatar, data: Path, driver: Path, path: Path) -> tuple[Path, str]:
    """The motion of another person on the actor's bones, in the texture of the actor's first frame."""
    shots = plan_shots(avatar, AnimateConfig(out=path.parent, data=data, driver=driver, views="0"))
    theirs = [read_image(frame.pictures[0]) for frame in read_frames(driver, maps=False)]
    write_image(
        path, enlarged(torch.cat([torch.cat(theirs, -1), torch.cat(drawn(avatar, shots), -1)], -2)), synthetic=True
    )
    return path, "Transfer: another person above, the actor in the same motion below."


def drawn(avatar: Avatar, shots: Sequence[Shot]) -> list[Tensor]:
    """(3, H, W) a shot."""
    return [each.pictures["color"] for each in draw_shots(avatar, shots, ShotOptions(size=SIZE))]


def enlarged(picture: Tensor) -> Tensor:
    """The picture at the page's size."""
    height, width = picture.shape[-2:]
    return resize(picture, (LARGE * height, LARGE * width))
