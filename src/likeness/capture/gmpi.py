"""GMPI's data sets: aligned portraits with exact poses as FFHQ's zip, AFHQCat's folder or MetFaces' folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from likeness.capture.expression import draw_expression
from likeness.capture.landmarks import LANDMARK_VERTICES
from likeness.capture.light import draw_light
from likeness.capture.options import CaptureConfig, chosen, claim, contact_sheet
from likeness.capture.performance import Performance, relaxed_arms
from likeness.capture.person import make_person
from likeness.capture.stage import Frame, cropped, orbit_camera, take
from likeness.files import atomic_path
from likeness.formats import portraits
from likeness.geometry.camera import Camera
from likeness.media.image import read_uint8, write_image
from likeness.work import run_all

FOV = np.radians(12.6)
RECONSTRUCTION_DISTANCE = 10.0
"""Where Deep3DFaceRecon puts its camera, in its own unit."""
EG3D_DISTANCE = 2.7
POSE_SPREAD = {"ffhq": (0.289, 0.127), "metfaces": (0.339, 0.133), "afhqcat": (0.19, 0.15)}
"""Standard deviations of yaw and pitch, radians, of each collection."""
ORIGIN = "exact pose of a synthetic portrait"


@dataclass(frozen=True, kw_only=True)
class GmpiCapture(CaptureConfig):
    """Write a portrait collection under OUT, named as in GMPI's `runtime_dataset`."""

    layout: portraits.Layout = "ffhq"
    """ffhq: zip + Deep3DFaceRecon poses; afhqcat: folder + dataset.json; metfaces: folder, mirrored copies, poses."""
    pictures: int | None = None
    """Portraits (presets: 12, 200, 10000)."""
    people: int | None = None
    """Identities (4, 40, 500)."""
    resolution: int = 256
    """Side of the pictures."""
    depth: bool = True
    """Also write depth/*.npy, float16 metres, which no original has."""


@dataclass(frozen=True)
class Portrait:
    """One portrait, and all that its pixels depend on."""

    out: Path
    seed: int
    number: int
    people: int
    resolution: int
    layout: portraits.Layout
    depth: bool

    @property
    def picture_file(self) -> Path:
        """Where the picture waits until all are there."""
        return self.out / ".pictures" / f"{self.number:08d}.png"

    @property
    def truth_file(self) -> Path:
        """Pose and landmarks beside it."""
        return self.picture_file.with_suffix(".npz")


def capture_gmpi(config: GmpiCapture) -> None:
    """Write aligned portraits with exact poses, landmarks and depth."""
    count = chosen(config.pictures, config.preset, 12, 200, 10000)
    people = chosen(config.people, config.preset, 4, 40, 500)
    claim(
        config,
        "gmpi",
        layout=config.layout,
        pictures=count,
        people=people,
        resolution=config.resolution,
        depth=config.depth,
    )
    shots = [
        Portrait(config.out, config.seed, number, people, config.resolution, config.layout, config.depth)
        for number in range(count)
    ]
    run_all(write_portrait, [shot for shot in shots if not shot.picture_file.exists()], config.workers, "portraits")
    {"ffhq": _collect_ffhq, "afhqcat": _collect_afhqcat, "metfaces": _collect_metfaces}[config.layout](
        config.out, shots
    )
    if config.contact_sheet:
        contact_sheet(
            config, [torch.from_numpy(read_uint8(s.picture_file).copy()).movedim(-1, 0) / 255 for s in shots[:32]]
        )
    print(f"{config.out}: {count} portraits with their poses")


def write_portrait(shot: Portrait) -> None:
    """Take one portrait: a pure function of the shot's own numbers."""
    frame, rotation, offset = photograph(shot)
    if shot.depth:
        with atomic_path(shot.out / "depth" / f"{shot.number:08d}.npy") as temporary:
            np.save(temporary, frame.depth[0].numpy().astype(np.float16))
    with atomic_path(shot.truth_file) as temporary:
        np.savez(temporary, rotation=rotation, offset=offset, landmarks=frame.pixels.numpy())
    write_image(shot.picture_file, frame.image, synthetic=True)


def photograph(shot: Portrait, pose: tuple[float, float] | None = None) -> tuple[Frame, np.ndarray, np.ndarray]:
    """The portrait, or the same scene with the camera at another `pose` (yaw, pitch in radians).

    Returns:
        The picture; its rotation (3, 3) from the head's axes to the camera's (both y up, z to the viewer); and how far
        the head's middle lies right and up of the optical axis, in widths of the picture at the head.
    """
    rng = np.random.default_rng([shot.seed, shot.number, 31])
    person = make_person(shot.seed + int(rng.integers(shot.people)))
    gaze = (rng.normal(0, 0.12), rng.normal(0, 0.06))
    act = Performance(draw_expression(rng), gaze=gaze, pose=relaxed_arms())
    spread = POSE_SPREAD[shot.layout]
    drawn = tuple(float(np.clip(rng.normal(0, s), -2 * s, 2 * s)) for s in spread)
    yaw, pitch = drawn if pose is None else pose
    size = (shot.resolution, shot.resolution)
    width = 0.25
    camera = orbit_camera(person.face_center, size, yaw, pitch, width / (2 * np.tan(FOV / 2)), width)
    points = torch.from_numpy(person.with_expression(act.expression)[LANDMARK_VERTICES]).double()
    centre, side = alignment(camera.project(points)[0].numpy())
    camera = cropped(camera, float(centre[0] - side / 2), float(centre[1] - side / 2), float(side), size)
    frame = take(person, act, camera, draw_light(rng), seed=shot.number)
    flip = np.diag([1.0, -1.0, -1.0])
    return frame, flip @ camera.rotation.numpy(), _offset(camera, person.face_center)


def alignment(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre (2,) and side of FFHQ's square about 68 landmarks (68, 2); its slight turn is left out.

    The centre lies a tenth of the way from the eyes to the mouth; the side is the larger of 4 eye distances and 3.6
    times the way from the eyes to the mouth.
    """
    left, right = pixels[36:42].mean(0), pixels[42:48].mean(0)
    eyes, mouth = (left + right) / 2, (pixels[48] + pixels[54]) / 2
    side = max(4.0 * np.linalg.norm(right - left), 3.6 * np.linalg.norm(mouth - eyes))
    return eyes + 0.1 * (mouth - eyes), float(side)


def _offset(camera: Camera, middle: np.ndarray) -> np.ndarray:
    pixel = camera.project(torch.from_numpy(middle)[None])[0][0].numpy()
    return (pixel - camera.size[0] / 2) / camera.size[0] * [1, -1]


def reconstruction_pose(rotation: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`angle` (3,) and `trans` (3,) of Deep3DFaceRecon: R = Rz(a3) Ry(a2) Rx(a1), camera 10 units away."""
    angle = Rotation.from_matrix(rotation).as_euler("xyz")
    width = 2 * RECONSTRUCTION_DISTANCE * np.tan(FOV / 2)
    return angle, np.array([offset[0] * width, offset[1] * width, 0.0])


def eg3d_label(rotation: np.ndarray) -> np.ndarray:
    """EG3D's label (25,): camera to world row by row (OpenCV camera, world y up and z to the viewer), intrinsics."""
    world_to_camera = np.diag([1.0, -1.0, -1.0]) @ rotation
    pose = np.eye(4)
    pose[:3, :3] = world_to_camera.T
    pose[:3, 3] = -EG3D_DISTANCE * world_to_camera[2]
    return np.concatenate([pose.ravel(), [4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1]])


def five_points(pixels: np.ndarray) -> np.ndarray:
    """MTCNN's five points (5, 2): eyes, nose tip, mouth corners, picture's left first."""
    return np.stack([pixels[36:42].mean(0), pixels[42:48].mean(0), pixels[30], pixels[48], pixels[54]])


def _collect_ffhq(out: Path, shots: list[Portrait]) -> None:
    side = shots[0].resolution
    names = portraits.write_ffhq(out / f"ffhq{side}x{side}.zip", (read_uint8(shot.picture_file) for shot in shots))
    poses, detections = out / f"ffhq{side}_deep3dface_coeffs", out / f"mtcnn_ffhq_{side}" / "detections"
    for shot, name in zip(shots, names):
        _write_pose(poses / Path(name).with_suffix(".mat"), shot)
        _write_points(detections / "results" / Path(name).with_suffix(".txt"), shot)
    for folder in (poses, detections):
        portraits.write_fail_list(folder, [])


def _collect_afhqcat(out: Path, shots: list[Portrait]) -> None:
    folder = out / f"afhq_v2_train_cat_{shots[0].resolution}"
    pictures, labels = {}, {}
    for shot in shots:
        plain, label = read_uint8(shot.picture_file), eg3d_label(np.load(shot.truth_file)["rotation"])
        name = f"{shot.number // 1000:05d}/img{shot.number:08d}"
        pictures[f"{name}.png"], labels[f"{name}.png"] = plain, label
        pictures[f"{name}_mirror.png"] = np.ascontiguousarray(plain[:, ::-1])
        labels[f"{name}_mirror.png"] = np.array(portraits.mirrored_label(list(label)))
    portraits.write_afhqcat(folder, pictures, labels)


def _collect_metfaces(out: Path, shots: list[Portrait]) -> None:
    side = shots[0].resolution
    folder, poses = out / f"metfaces{side}x{side}_xflip", out / "metfaces_xflip_deep3dface_coeffs"
    detections = out / "metfaces_detect" / "detections"
    for shot in shots:
        name = f"{shot.number:05d}"
        portraits.write_metfaces(folder, {name: read_uint8(shot.picture_file)})
        for mirrored in (False, True):
            stem = name + portraits.MIRROR_SUFFIX * mirrored
            _write_pose(poses / "coeffs" / f"{stem}.mat", shot, mirrored)
            _write_points(detections / "results" / f"{stem}.txt", shot, mirrored)
    portraits.flip_metfaces(folder)
    for target in (poses, detections):
        portraits.write_fail_list(target, [])


def _write_pose(path: Path, shot: Portrait, mirrored: bool = False) -> None:
    truth = np.load(shot.truth_file)
    angle, trans = reconstruction_pose(truth["rotation"], truth["offset"])
    if mirrored:
        angle, trans = angle * [1, -1, -1], trans * [-1, 1, 1]
    landmarks = truth["landmarks"] * [-1, 1] + [shot.resolution, 0] if mirrored else truth["landmarks"]
    portraits.write_coefficients(path, angle=angle, trans=trans, landmarks=landmarks, origin=ORIGIN)


def _write_points(path: Path, shot: Portrait, mirrored: bool = False) -> None:
    points = five_points(np.load(shot.truth_file)["landmarks"])
    if mirrored:
        points = (points * [-1, 1] + [shot.resolution, 0])[[1, 0, 2, 4, 3]]
    portraits.write_landmarks(path, points)
