"""`likeness extract portraits`: pictures of people into a portrait collection in FFHQ's layout, with poses.

Source of the square: Karras et al., "Progressive Growing of GANs", ICLR 2018, appendix C, and FFHQ's own alignment.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tyro
from scipy.spatial.transform import Rotation

from likeness.capture.gmpi import FOV, five_points, reconstruction_pose
from likeness.errors import UserError
from likeness.files import write_text
from likeness.formats import portraits
from likeness.media.image import IMAGE_SUFFIXES, list_images, read_uint8
from likeness.perception.faces import MediaPipeFaces, find_face
from likeness.perception.head_pose import head_pose
from likeness.perception.protocols import FaceTracker

ORIGIN = "likeness extract portraits: MediaPipe's landmarks, pose by perspective-n-point"
SOURCES_FILE = "sources.json"
MIRROR_ORDER = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
     41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
)  # fmt: skip
"""Which of the 68 points takes the place of each when a face is mirrored."""
FLIP = np.diag([1.0, -1.0, -1.0])
"""Between OpenCV's axes and Deep3DFaceRecon's (y up, z to the viewer)."""

TILT = 0.136
"""Radians by which the mean face of `head_pose` looks further up than the stage's upright head: the mean difference of
pitch over eight synthetic portraits (their spread is 0.04).

The stage's upright head is Deep3DFaceRecon's to 0.065 radians of pitch: so much further up do its people look (mean of
24, whose spread is 0.07) when their eyes, nose and mouth corners are laid on that model's five standard points.
"""


def extract_portraits(
    images: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    resolution: int = 256,
    layout: Literal["ffhq", "metfaces"] = "ffhq",
    aligned: bool = False,
    any_face: bool = False,
) -> None:
    """Turn a folder of pictures into the portrait collection that `likeness train gmpi` reads.

    Writes into OUT what the data set FFHQ has: ffhq<R>x<R>.zip, the poses in ffhq<R>_deep3dface_coeffs and the five
    points in mtcnn_ffhq_<R>/detections, all marked with their origin, and sources.json, which says what came from
    where and what was left out. With `--layout metfaces` what MetFaces has: metfaces<R>x<R>_xflip with every portrait
    and its mirror image, metfaces_xflip_deep3dface_coeffs and metfaces_detect/detections.

    Args:
        images: folder of pictures, sub-folders included, with one person each (of several faces the largest is taken).
        out: folder to write; name it with `--data` in training.
        resolution: side of the portraits.
        layout: whose folders and names to write.
        aligned: the pictures are square portraits aligned as FFHQ's already: they are resized, not cropped. Those
            without a face then stay in the zip and are named in fail_list.txt.
        any_face: also take what a second detector does not take for a human face.
    """
    if resolution < 8 or resolution & (resolution - 1):
        raise UserError(f"--resolution {resolution}: expected a power of two, such as 256")
    if not images.is_dir():
        raise UserError("is no folder: name a folder of pictures", path=images)
    nested = sorted({path.parent for path in images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES})
    files = [path for folder in nested or [images] for path in list_images(folder)]
    tracker = MediaPipeFaces()
    used: list[Path] = []
    found: list[np.ndarray | None] = []
    left_out: dict[str, str] = {}

    def pictures() -> Iterator[np.ndarray]:
        for path in files:
            try:
                picture, points = portrait(path, resolution, aligned, any_face, tracker)
            except UserError as error:
                left_out[str(path.relative_to(images))] = str(error)
                continue
            used.append(path)
            found.append(points)
            yield picture

    writer = {"ffhq": _write_ffhq, "metfaces": _write_metfaces}[layout]
    images_root, names, failed = writer(out, resolution, pictures(), found)
    told = {
        "origin": ORIGIN,
        "pictures": {name: str(path.relative_to(images)) for name, path in zip(names, used, strict=True)},
        "left_out": left_out,
    }
    write_text(out / SOURCES_FILE, json.dumps(told, indent=1) + "\n")
    print(f"{images_root}: {len(names)} portraits, {failed} of them without a face; {len(left_out)} pictures left out")


def _write_ffhq(
    out: Path, resolution: int, pictures: Iterator[np.ndarray], found: list[np.ndarray | None]
) -> tuple[Path, list[str], int]:
    """The zip, its members' names, and how many of them have no face; `found` fills as `pictures` are drawn."""
    archive = out / f"ffhq{resolution}x{resolution}.zip"
    names = portraits.write_ffhq(archive, pictures)
    poses, detections = out / f"ffhq{resolution}_deep3dface_coeffs", out / f"mtcnn_ffhq_{resolution}" / "detections"
    failed = [name for name, points in zip(names, found, strict=True) if points is None]
    for name, points in zip(names, found, strict=True):
        if points is not None:
            pose, landmarks = (Path(name).with_suffix(suffix) for suffix in (".mat", ".txt"))
            _write_face(poses / pose, detections / "results" / landmarks, points, resolution)
    for folder in (poses, detections):
        portraits.write_fail_list(folder, failed)
    return archive, names, len(failed)


def _write_metfaces(
    out: Path, resolution: int, pictures: Iterator[np.ndarray], found: list[np.ndarray | None]
) -> tuple[Path, list[str], int]:
    """As `_write_ffhq`, with every portrait's mirror image beside it."""
    folder = out / f"metfaces{resolution}x{resolution}_xflip"
    names: list[str] = []
    for picture in pictures:
        names.append(f"{len(names):05d}.png")
        portraits.write_metfaces(folder, {Path(names[-1]).stem: picture})
    portraits.flip_metfaces(folder)
    poses, detections = out / "metfaces_xflip_deep3dface_coeffs", out / "metfaces_detect" / "detections"
    failed = []
    for name, points in zip(names, found, strict=True):
        for suffix, seen in (("", points), (portraits.MIRROR_SUFFIX, mirrored(points, resolution))):
            stem = Path(name).stem + suffix
            if seen is None:
                failed.append(f"{stem}.png")
            else:
                landmarks = detections / "results" / f"{stem}.txt"
                _write_face(poses / "coeffs" / f"{stem}.mat", landmarks, seen, resolution)
    for place in (poses, detections):
        portraits.write_fail_list(place, failed)
    return folder, names, len(failed) // 2


def _write_face(pose: Path, landmarks: Path, points: np.ndarray, resolution: int) -> None:
    angle, trans = pose_of_landmarks(points, resolution)
    portraits.write_coefficients(pose, angle=angle, trans=trans, landmarks=points, origin=ORIGIN)
    portraits.write_landmarks(landmarks, five_points(points))


def mirrored(points: np.ndarray | None, resolution: int) -> np.ndarray | None:
    """Landmarks (68, 2) of the mirrored portrait: left and right change places."""
    return None if points is None else (points * [-1, 1] + [resolution, 0])[MIRROR_ORDER]


def portrait(
    path: Path, resolution: int, aligned: bool, any_face: bool, tracker: FaceTracker
) -> tuple[np.ndarray, np.ndarray | None]:
    """The portrait (R, R, 3) uint8 in a picture and its 68 landmarks (68, 2) in the portrait's pixels.

    Raises:
        UserError: unreadable, without a face (landmarks are None instead where it is aligned), or not square.
    """
    picture = read_uint8(path)
    height, width = picture.shape[:2]
    if not aligned:
        points = find_face(picture, any_face=any_face, tracker=tracker, path=path).landmarks
        square = aligned_square(points)
    else:
        if height != width:
            raise UserError(f"is {width}x{height}, expected a square aligned portrait", path=path)
        square = np.array([[0, 0], [width, 0], [0, width]], np.float64)
        try:
            points = find_face(picture, any_face=any_face, tracker=tracker, path=path).landmarks
        except UserError:
            return cut_square(picture, square, resolution), None
    return cut_square(picture, square, resolution), into_square(points, square, resolution)


def aligned_square(points: np.ndarray) -> np.ndarray:
    """FFHQ's square about landmarks (68, 2): its top left, top right and bottom left corner, (3, 2) pixels."""
    left, right = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    eyes, mouth = (left + right) / 2, (points[48] + points[54]) / 2
    across, down = right - left, mouth - eyes
    # The square's axis: the eyes' line, and the line from the eyes to the mouth turned by a right angle.
    axis = across + np.array([down[1], -down[0]])
    axis = axis / np.linalg.norm(axis) * max(2.0 * np.linalg.norm(across), 1.8 * np.linalg.norm(down))
    side = np.array([-axis[1], axis[0]])
    centre = eyes + 0.1 * down
    return np.stack([centre - axis - side, centre + axis - side, centre - axis + side])


def cut_square(picture: np.ndarray, square: np.ndarray, resolution: int) -> np.ndarray:
    """(R, R, 3): the square of `aligned_square` out of a picture, mirrored at the picture's edges."""
    # At the picture's own size first, and then averaged: warping straight to a smaller one would skip pixels.
    factor = max(1, int(np.ceil(np.linalg.norm(square[1] - square[0]) / resolution)))
    side = resolution * factor
    corners = np.array([[0, 0], [side, 0], [0, side]], np.float32)
    # OpenCV puts pixel centres at whole numbers.
    matrix = cv2.getAffineTransform(corners - 0.5, (square - 0.5).astype(np.float32))
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    large = cv2.warpAffine(picture, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.resize(large, (resolution, resolution), interpolation=cv2.INTER_AREA))


def into_square(points: np.ndarray, square: np.ndarray, resolution: int) -> np.ndarray:
    """Points (K, 2) of a picture in the pixels of its cut square."""
    axes = np.stack([square[1] - square[0], square[2] - square[0]], axis=1)  # columns: right, down
    return (points - square[0]) @ np.linalg.inv(axes).T * resolution


def pose_of_landmarks(points: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Deep3DFaceRecon's `angle` (3,) and `trans` (3,) of a portrait with landmarks (68, 2), seen by GMPI's camera."""
    focal = resolution / (2 * np.tan(FOV / 2))
    pose = head_pose(points, (resolution, resolution), focal)
    middle = pose.translation[:2] / pose.translation[2] * focal / resolution
    upright = Rotation.from_euler("x", -TILT).as_matrix()
    return reconstruction_pose(FLIP @ pose.rotation @ FLIP @ upright, middle * [1, -1])
