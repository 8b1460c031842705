"""DepthNet's data set: a 3DFAW tree of synthetic faces, with or without pictures."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from likeness.capture.expression import draw_expression
from likeness.capture.faces import Faces, FaceView, draw_view, synthetic_faces
from likeness.capture.landmarks import KEPT_66, LANDMARK_VERTICES
from likeness.capture.light import draw_light
from likeness.capture.options import CaptureConfig, chosen, claim, contact_sheet
from likeness.capture.performance import Performance, relaxed_arms
from likeness.capture.person import Person, make_person
from likeness.capture.stage import Frame, cropped, orbit_camera, take
from likeness.files import write_text
from likeness.formats.depthnet3dfaw import (
    ORIENTATIONS,
    SPLIT_FILE,
    LandmarkArchive,
    SplitRow,
    save_archive,
    write_landmarks,
    write_split_list,
)
from likeness.geometry.camera import Camera
from likeness.media.image import read_image, resize, write_image
from likeness.work import run_all

CHUNK = 500
WRITERS = 16
SIZES_FILE = "picture_sizes.csv"
"""One line `id,height,width` a face: what the landmark files' pixels refer to where there are no pictures."""


@dataclass(frozen=True, kw_only=True)
class DepthnetCapture(CaptureConfig):
    """Write a 3DFAW tree: OUT/{train,valid}_{img,lm}, OUT/list_valid_test.txt."""

    train: int | None = None
    """Faces to train on (presets: 24, 400, 13671; without pictures 200, 4000, 13671)."""
    valid: int | None = None
    """Faces to validate on (9, 90, 4500)."""
    test: int | None = None
    """Faces to test on, a third each turned left, not and right (9, 90, 225)."""
    pictures: bool = True
    """Without pictures the tree holds landmark files, picture_sizes.csv and the prepared archives, in seconds."""
    people: int | None = None
    """Identities that the pictures show (4, 40, 300); without pictures every face is somebody else."""
    size: int = 256
    """Shorter side of the pictures."""


@dataclass(frozen=True)
class Part:
    """One of the three parts of the tree: faces `start` to `start + count` of the stream that the seed stands for."""

    name: str
    folder: str
    start: int
    count: int


@dataclass(frozen=True)
class Shot:
    """One picture of the tree, and all that its pixels depend on."""

    out: Path
    seed: int
    part: Part
    number: int
    people: int
    size: int

    @property
    def id(self) -> str:
        """Name in the tree."""
        return face_id(self.part, self.number)

    @property
    def image_file(self) -> Path:
        """Where its picture lies; it is written last."""
        return self.out / f"{self.part.folder}_img" / f"{self.id}.jpg"

    @property
    def orientation(self) -> str | None:
        """The side that a test face is turned to."""
        return ORIENTATIONS[self.number % 3] if self.part.name == "test" else None


def capture_faces(config: DepthnetCapture) -> None:
    """Write faces with exact landmarks in three dimensions."""
    train = chosen(config.train, config.preset, *((24, 400, 13671) if config.pictures else (200, 4000, 13671)))
    valid = chosen(config.valid, config.preset, 9, 90, 4500)
    test = chosen(config.test, config.preset, 9, 90, 225)
    people = chosen(config.people, config.preset, 4, 40, 300)
    shown = {"people": people, "size": config.size} if config.pictures else {}
    claim(config, "depthnet", train=train, valid=valid, test=test, pictures=config.pictures, **shown)
    if not config.pictures:
        write_landmark_tree(config.out, train, valid, test, config.seed)
        print(f"{config.out}: landmarks of {train + valid + test} faces, and their archives")
        return
    write_pictures(config.out, parts(train, valid, test), people, config.size, config.seed, config.workers)
    if config.contact_sheet:
        files = sorted((config.out / "train_img").glob("*.jpg"))[:32]
        contact_sheet(config, [resize(read_image(file), (160, 160)) for file in files])
    print(f"{config.out}: pictures and landmarks of {train + valid + test} faces")


def write_pictures(out: Path, wanted: list[Part], people: int, size: int, seed: int, workers: int = 1) -> None:
    """Write the pictures, landmark files and split list of a 3DFAW tree; pictures that are there are kept."""
    shots = [Shot(out, seed, part, number, people, size) for part in wanted for number in range(part.count)]
    run_all(write_shot, [shot for shot in shots if not shot.image_file.exists()], workers, "faces")
    rows = [SplitRow(shot.id, shot.part.name, shot.orientation) for shot in shots if shot.part.name != "train"]
    write_split_list(out / SPLIT_FILE, rows)


def write_shot(shot: Shot) -> None:
    """Write one face: a pure function of the shot's own numbers."""
    frame = photograph_face(shot)
    write_landmarks(shot.out / f"{shot.part.folder}_lm" / f"{shot.id}_lm.csv", frame.landmarks_66.numpy())
    write_image(shot.image_file, frame.image, synthetic=True)


def photograph_face(shot: Shot) -> Frame:
    """The picture and truth of one face."""
    rng = np.random.default_rng([shot.seed, shot.part.start + shot.number, 21])
    person = make_person(shot.seed + int(rng.integers(shot.people)))
    act = Performance(draw_expression(rng), gaze=(rng.normal(0, 0.15), rng.normal(0, 0.08)), pose=relaxed_arms())
    view = draw_view(rng, shot.orientation)
    longer = 2 * round(shot.size * rng.uniform(1, 1.4) / 2)
    size = (shot.size, longer) if rng.random() < 0.5 else (longer, shot.size)
    box = min(size) * rng.uniform(0.35, 0.55)
    centre = np.array([size[1], size[0]]) / 2 + rng.uniform(-0.1, 0.1, 2) * min(size)
    camera = face_camera(person, act, view, box, centre, size)
    return take(person, act, camera, draw_light(rng), seed=shot.number)


def face_camera(
    person: Person, act: Performance, view: FaceView, box: float, centre: np.ndarray, size: tuple[int, int]
) -> Camera:
    """A camera that sees the face from `view`, the box about its 66 points `box` pixels large and at `centre`."""
    camera = orbit_camera(person.face_center, size, -view.yaw, view.pitch, 0.1 * view.distance, 0.4)
    roll = torch.from_numpy(Rotation.from_rotvec([0, 0, view.roll]).as_matrix())
    camera = replace(camera, rotation=roll @ camera.rotation, translation=roll @ camera.translation)
    points = person.with_expression(act.expression)[LANDMARK_VERTICES[KEPT_66]]
    pixels = camera.project(torch.from_numpy(points).double())[0].numpy()
    low, high = pixels.min(0), pixels.max(0)
    scale = box / (high - low).max()
    left, top = (low + high) / 2 - centre / scale
    return cropped(camera, float(left), float(top), size[0] / scale, size)


def parts(train: int, valid: int, test: int) -> list[Part]:
    """Where each part's faces come from; `valid` and `test` share the folder `valid_*`."""
    return [
        Part("train", "train", 0, train),
        Part("valid", "valid", train, valid),
        Part("test", "valid", train + valid, test),
    ]


def face_id(part: Part, number: int) -> str:
    """Name of a face in the tree."""
    return f"{part.name}_{number:06d}"


def write_landmark_tree(out: Path, train: int, valid: int, test: int, seed: int) -> None:
    """Landmark files, split list and prepared archives of a 3DFAW tree, without pictures.

    The prepared archives hold what `likeness prepare depthnet` would make of the tree: the files' own, rounded numbers
    divided by the picture sizes. Test faces are a third left, center and right each.
    """
    rows: list[SplitRow] = []
    sizes: list[str] = []
    for part in parts(train, valid, test):
        planes, depths = [], []
        names: list[str] = []
        sides: list[str] = []
        for number, faces in part_faces(part, seed):
            rounded = Faces(np.round(faces.landmarks, 6), faces.sizes, faces.orientations)
            ids = [face_id(part, number + i) for i in range(len(rounded.landmarks))]
            files = [out / f"{part.folder}_lm" / f"{name}_lm.csv" for name in ids]
            # Every file is synced to the disk; threads wait for that together.
            with ThreadPoolExecutor(WRITERS) as pool:
                list(pool.map(write_landmarks, files, rounded.landmarks))
            names += ids
            sizes += [f"{name},{height},{width}\n" for name, (height, width) in zip(ids, rounded.sizes)]
            plane, depth = rounded.normalised()
            planes.append(plane)
            depths.append(depth)
            sides.extend(rounded.orientations)
        if part.name != "train":
            rows += [
                SplitRow(name, part.name, str(side) if part.name == "test" else None)
                for name, side in zip(names, sides)
            ]
        if not names:
            continue
        archive = LandmarkArchive(
            np.concatenate(planes),
            np.concatenate(depths),
            None if part.name == "train" else np.array(names),
            np.array(sides) if part.name == "test" else None,
        )
        save_archive(out / f"{part.name}.npz", archive)
    write_text(out / SIZES_FILE, "".join(sizes))
    write_split_list(out / SPLIT_FILE, rows)


def part_faces(part: Part, seed: int) -> Iterator[tuple[int, Faces]]:
    """(number of the first, faces) in chunks, so that memory stays flat."""
    for number in range(0, part.count, CHUNK):
        count = min(CHUNK, part.count - number)
        turned = [ORIENTATIONS[(number + i) % 3] for i in range(count)] if part.name == "test" else None
        yield number, synthetic_faces(count, seed, crop=False, start=part.start + number, orientations=turned)
