"""`likeness extract actor`: the published videos of one split into the folder of pictures that training reads."""

import json
import re
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from likeness.errors import UserError
from likeness.files import require_free_space, write_bytes, write_text
from likeness.formats.actor import BODY_FILES, INTRINSIC_FILES, INTRINSIC_FOLDERS
from likeness.media.image import write_image
from likeness.media.synthetic import VIDEO_SUFFIXES, is_marked_synthetic
from likeness.media.video import count_frames, probe, read_frames

MANIFEST = "extracted.json"
WRITERS = 4


@dataclass(frozen=True)
class Video:
    """One video of a split, and where its frames go."""

    path: Path
    place: Callable[[int], Path]
    """Number of a frame -> its picture, relative to the folder written."""
    camera: int | None = None
    """The camera's number, None for a map."""


def extract_actor(
    split_dir: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    frames: str = "all",
    cameras: str = "all",
) -> dict[str, int]:
    """Write OUT/{transform,tex,normal,rgb} from a split's videos and transform.zip, with its cameras and body beside.

    Frame t of every video belongs to member t of the zip, from whichever frame one starts. Pictures that are there
    already are left, so that an interrupted extraction goes on; videos that a split does not have are told.

    Args:
        split_dir: folder with rgb_video/, tex*.avi, normal*.avi and transform.zip, such as `training`.
        out: folder to write.
        frames: `f0,f1`: frames f0 to f1 - 1; `all` takes all.
        cameras: `c0,c1`: cameras c0 to c1 - 1; `all` takes all.
    """
    if not split_dir.is_dir():
        raise UserError("is no folder: name a split such as DATASET/training", path=split_dir)
    transforms = read_transforms(split_dir)
    first, last = half_open(frames, "frames")
    videos = find_videos(split_dir, cameras, [name for name, _ in transforms])
    if not transforms and not videos:
        raise UserError("holds neither transform.zip nor videos: expected DATASET/training or alike", path=split_dir)
    lengths = {str(video.path.relative_to(split_dir)): count_frames(video.path) for video in videos}
    if transforms:
        lengths["transform.zip"] = len(transforms)
    last = check_lengths(split_dir, lengths, first, last)
    claim(split_dir, out, videos)
    counts = {"frames": last - first, "written": 0, "there": 0}
    for name, content in transforms[first:last]:
        write_bytes(out / "transform" / name, content)
    copy_beside(split_dir, out, [video.camera for video in videos if video.camera is not None])
    missing = [(video, [n for n in range(first, last) if not (out / video.place(n)).is_file()]) for video in videos]
    counts["written"] = sum(len(numbers) for _, numbers in missing)
    counts["there"] = (last - first) * len(videos) - counts["written"]
    reserve(out, missing)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("pictures", total=counts["written"])
        for video, numbers in missing:
            for _ in write_pictures(video, numbers, out):
                progress.advance(task)
    seen = [video.camera for video in videos if video.camera is not None]
    print(
        f"{out}: frames {first} to {last - 1} of {len(seen)} cameras and {len(videos) - len(seen)} maps, "
        f"{last - first if transforms else 0} transforms: {counts['written']} pictures written, {counts['there']} were "
        "there"
    )
    return counts


def half_open(text: str, name: str) -> tuple[int, int | None]:
    """`a,b` as (a, b), `all` as (0, None).

    Raises:
        UserError: not of this form, or empty.
    """
    if text == "all":
        return 0, None
    match = re.fullmatch(r"\s*\(?\s*(\d+)\s*,\s*(\d+)\s*\)?\s*", text)
    if match is None or int(match[2]) <= int(match[1]):
        raise UserError(f"--{name} {text!r}: expected first,end with first < end, as in 0,1000 for 0 to 999")
    return int(match[1]), int(match[2])


def read_transforms(split_dir: Path) -> list[tuple[str, bytes]]:
    """(file name, content) of transform.zip's JSON members in the archive's order; none where there is no such file.

    Raises:
        UserError: no zip, two members of one name, or names that are not in order.
    """
    path = split_dir / "transform.zip"
    if not path.is_file():
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                (PurePosixPath(entry.filename.replace("\\", "/")).name, entry)
                for entry in archive.infolist()
                if not entry.is_dir() and entry.filename.lower().endswith(".json")
            ]
            # macOS adds a twin to every member.
            found = [(name, archive.read(entry)) for name, entry in members if not name.startswith("._")]
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"is no whole zip archive ({error}): fetch it again", path=path) from error
    names = [name for name, _ in found]
    if names != sorted(set(names)):
        raise UserError(
            "its members' names repeat or are not in order, so that frame t of the videos has no certain transform: "
            "pack them again, sorted by name",
            path=path,
        )
    return found


def find_videos(split_dir: Path, cameras: str, transforms: list[str]) -> list[Video]:
    """The videos of the chosen cameras and of both maps that are there; missing maps are told.

    Raises:
        UserError: a chosen camera has no video.
    """
    stems = [Path(name).stem for name in transforms]
    paths = _videos(split_dir / "rgb_video", "*")
    numbers = {int(path.stem) for path in paths if path.stem.isdigit()}
    if len(numbers) != len(paths):
        raise UserError(
            f"holds {', '.join(path.name for path in paths)}: videos are named after their cameras' numbers, each "
            "once, as in 000.avi",
            path=split_dir / "rgb_video",
        )
    found = {int(path.stem): path for path in paths}
    if cameras != "all":
        first, end = half_open(cameras, "cameras")
        absent = [f"{number:03d}" for number in range(first, end or 0) if number not in found]
        if absent:
            names = ", ".join(path.stem for path in paths)
            raise UserError(
                f"has no video of camera {', '.join(absent)}; found {names or 'none'}", path=split_dir / "rgb_video"
            )
        found = {number: found[number] for number in range(first, end or 0)}
    videos = [Video(path, _camera_place(number, stems), number) for number, path in sorted(found.items())]
    for kind in ("tex", "normal"):
        maps = _videos(split_dir, f"{kind}*")
        if len(maps) > 1:
            raise UserError(f"has {len(maps)} videos {kind}*: keep one", path=split_dir)
        if not maps:
            print(f"{split_dir} has no video of {kind} maps: {kind}/ is not written")
        videos += [Video(path, _map_place(kind)) for path in maps]
    if not found:
        print(f"{split_dir} has no rgb_video/: rgb/ is not written")
    return videos


def check_lengths(split_dir: Path, lengths: dict[str, int], first: int, last: int | None) -> int:
    """The end of the range of frames, which everything must reach.

    Raises:
        UserError: videos and transforms differ in length and the range does not say which part is meant, or one of
            them ends before it.
    """
    told = ", ".join(f"{name} {count}" for name, count in lengths.items())
    shortest = min(lengths.values())
    if last is None:
        if len(set(lengths.values())) > 1:
            raise UserError(
                f"its videos and transforms differ in length ({told} frames): frame t of one must be frame t of the "
                f"others; if only the ends are missing, give --frames 0,{shortest}",
                path=split_dir,
            )
        last = shortest
    short = [f"{name} has {count}" for name, count in lengths.items() if count < last]
    if short:
        raise UserError(f"frames {first} to {last - 1} are asked for, but {', '.join(short)}", path=split_dir)
    if len(set(lengths.values())) > 1:
        print(f"{split_dir}: lengths differ ({told} frames); frame t of one is taken for frame t of the others")
    return last


def claim(split_dir: Path, out: Path, videos: list[Video]) -> None:
    """Note in OUT where its pictures come from.

    Raises:
        UserError: those that are there come from elsewhere.
    """
    now = {str(video.path.relative_to(split_dir)): video.path.stat().st_size for video in videos}
    path = out / MANIFEST
    document = {"source": str(split_dir.resolve()), "bytes": now}
    if path.is_file():
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            differ = [name for name, size in now.items() if old["bytes"].get(name, size) != size]
            document["bytes"] = old["bytes"] | now
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError("is damaged: remove the folder and extract again", path=path) from error
        if differ or old.get("source") != document["source"]:
            raise UserError(
                f"holds pictures of {old.get('source')}"
                f"{f' when {differ[0]} had another size' if differ else ''}: choose another folder",
                path=out,
            )
    elif out.resolve() != split_dir.resolve() and any((out / name).is_dir() for name in ("rgb", "tex", "normal")):
        raise UserError("holds pictures that this command did not write: choose another folder", path=out)
    write_text(path, json.dumps(document, indent=1) + "\n")


def copy_beside(split_dir: Path, out: Path, cameras: list[int]) -> None:
    """Copy body and cameras, found in the split or beside it, into OUT.

    Of the cameras those of the extracted videos alone: training pairs the i-th picture with the i-th camera.

    Raises:
        UserError: a video's camera is not there.
    """
    for folder in (split_dir, split_dir.parent):
        if folder.resolve() == out.resolve():
            continue
        for name in (*BODY_FILES, *INTRINSIC_FILES):
            if (folder / name).is_file() and not (out / name).is_file():
                write_bytes(out / name, (folder / name).read_bytes())
        for name in (*INTRINSIC_FOLDERS, "pose", "extrinsic"):
            files = sorted((folder / name).glob("*.txt"))
            absent = [number for number in cameras if number >= len(files)]
            if files and absent:
                raise UserError(
                    f"holds {len(files)} cameras, but there are videos of number {absent[0]}", path=folder / name
                )
            for file in [files[number] for number in cameras] if files and cameras else files:
                if not (out / name / file.name).is_file():
                    write_bytes(out / name / file.name, file.read_bytes())


def reserve(out: Path, missing: list[tuple[Video, list[int]]]) -> None:
    """Check that what is missing will find room: about a byte a pixel, as PNG."""
    pixels = 0
    for video, numbers in missing:
        if numbers:
            height, width = probe(video.path).size
            pixels += height * width * len(numbers)
    require_free_space(out, pixels, "the pictures")


def write_pictures(video: Video, numbers: list[int], out: Path) -> Iterator[Path]:
    """Write frames `numbers` (rising) of a video, and yield each picture's path when its frame is handed on."""
    if not numbers:
        return
    wanted = set(numbers)
    synthetic = is_marked_synthetic(video.path)
    with ThreadPoolExecutor(WRITERS) as writers:
        writes: deque[Future] = deque()
        for frame in read_frames(video.path, start=numbers[0]):
            if frame.index in wanted:
                path = out / video.place(frame.index)
                writes.append(writers.submit(write_image, path, frame.image, synthetic=synthetic))
                yield path
            if len(writes) > 4 * WRITERS:
                writes.popleft().result()
            if frame.index >= numbers[-1]:
                break
        for write in writes:
            write.result()


def _videos(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.suffix.lower() in VIDEO_SUFFIXES)


def _camera_place(camera: int, stems: list[str]) -> Callable[[int], Path]:
    # A frame's pictures lie under its transform's name, by which training finds them.
    def place(number: int) -> Path:
        stem = stems[number] if number < len(stems) else f"{number:06d}"
        return Path("rgb") / stem / f"image_c_{camera:03d}.png"

    return place


def _map_place(kind: str) -> Callable[[int], Path]:
    return lambda number: Path(kind) / f"frame_{number:06d}.png"
