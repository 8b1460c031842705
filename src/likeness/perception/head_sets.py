"""Tools for data sets of head crops: splitting them, making smaller ones of them, head yaws and keypoint distances."""

import os
import pickle
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from likeness.errors import UserError
from likeness.files import atomic_path, write_bytes
from likeness.formats.heads import (
    SUFFIXES,
    frame_path,
    iterate_frames,
    list_clips,
    list_frames,
    list_videos,
    read_image,
    read_keypoints,
    require_tree,
)
from likeness.perception.head_pose import head_pose

Root = Annotated[Path, tyro.conf.Positional]


def split_frames(data_root: Root, share: float = 0.05, seed: int = 0) -> int:
    """Move a random share of the frames of `train` to `test`.

    Args:
        data_root: the data set.
        share: of the frames, between 0 and 1.
        seed: of the choice.

    Returns:
        How many frames were moved.
    """
    require_tree(data_root, "train", _has_masks(data_root, "train"))
    frames = list(_frames(data_root, "train"))
    chosen = _choose(frames, share, seed)
    for name in chosen:
        _move(data_root, "train", "test", name)
    print(f"{len(chosen)} of {len(frames)} frames moved from train to test")
    return len(chosen)


def hold_out(data_root: Root, share: float = 0.18, seed: int = 0) -> tuple[int, int]:
    """Move a random share of the videos of `train` to `unseen_test`, and one clip of every other one to `test`.

    Videos of a single clip give none to `test`, since nothing would be left to train on.

    Args:
        data_root: the data set.
        share: of the videos, between 0 and 1.
        seed: of the choice.

    Returns:
        How many videos and how many clips were moved.
    """
    require_tree(data_root, "train", _has_masks(data_root, "train"))
    videos = list_videos(data_root, "train")
    unseen = _choose(videos, share, seed)
    for video in unseen:
        for clip in list_clips(data_root, "train", video):
            _move(data_root, "train", "unseen_test", clip)
    random = np.random.default_rng(seed)
    clips = 0
    for video in sorted(set(videos) - set(unseen)):
        present = list_clips(data_root, "train", video)
        if len(present) > 1:
            _move(data_root, "train", "test", present[random.integers(len(present))])
            clips += 1
    print(f"{len(unseen)} of {len(videos)} videos moved to unseen_test, {clips} clips to test")
    return len(unseen), clips


def person_set(data_root: Root, person: Annotated[str, tyro.conf.Positional], out: Root) -> int:
    """Make a data set of one person's videos, phases as they are.

    Args:
        data_root: the data set to take from.
        person: its folder's name, such as id00012.
        out: the new data set.

    Returns:
        How many clips it has.
    """
    phases = sorted(p.name for p in (data_root / "imgs").glob("*") if (p / person).is_dir())
    if not phases:
        people = sorted({p.name for p in (data_root / "imgs").glob("*/*") if p.is_dir()})
        raise UserError(f"holds nobody called {person}, only {', '.join(people)}", path=data_root)
    clips = [
        (phase, clip)
        for phase in phases
        for video in list_videos(data_root, phase)
        if video.split("/")[0] == person
        for clip in list_clips(data_root, phase, video)
    ]
    for phase, clip in clips:
        _copy(data_root, phase, out, phase, clip)
    print(f"{len(clips)} clips of {person} in {out}")
    return len(clips)


def video_set(
    data_root: Root,
    video: Annotated[str, tyro.conf.Positional],
    out: Root,
    phase: Literal["train", "test", "unseen_test"] = "train",
    test_clips: int = 2,
) -> tuple[int, int]:
    """Make a data set of one video: its last clips to test, all others to train.

    Args:
        data_root: the data set to take from.
        video: PERSON/VIDEO.
        out: the new data set.
        phase: where the video stands in `data_root`.
        test_clips: how many of the last clips are held out.

    Returns:
        How many clips train, and how many test.
    """
    clips = list_clips(data_root, phase, video)
    if len(clips) <= test_clips:
        raise UserError(
            f"{video} has {len(clips)} clips, {test_clips} would be held out: lower --test-clips", path=data_root
        )
    for index, clip in enumerate(clips):
        _copy(data_root, phase, out, "train" if index < len(clips) - test_clips else "test", clip)
    print(f"{len(clips) - test_clips} clips to train and {test_clips} to test in {out}")
    return len(clips) - test_clips, test_clips


def metrics_set(
    data_root: Root,
    phase: Literal["train", "test", "unseen_test"] = "test",
    sources: int = 1,
    targets: int = 1,
    seed: int = 0,
) -> int:
    """Fill the phase `metrics` with a few frames of every video of `phase`: what figures are measured on.

    The evaluation takes the first `sources + targets` frames of each video there; they are drawn at random from one
    clip.

    Args:
        data_root: the data set.
        phase: where the frames come from; they stay there too.
        sources: frames of each video that make the avatar.
        targets: frames of each video that it is compared with.
        seed: of the choice.

    Returns:
        How many videos have frames enough.
    """
    masks = _has_masks(data_root, phase)
    require_tree(data_root, phase, masks)
    random = np.random.default_rng(seed)
    count = sources + targets
    made = 0
    for video in list_videos(data_root, phase):
        by_clip: dict[str, list[str]] = {}
        for name in list_frames(data_root, phase, video, masks):
            by_clip.setdefault(name.rsplit("/", 1)[0], []).append(name)
        usable = [frames for frames in by_clip.values() if len(frames) >= count]
        if not usable:
            print(f"left out: {video} has no clip with {count} frames")
            continue
        frames = usable[random.integers(len(usable))]
        for index in sorted(random.choice(len(frames), count, replace=False)):
            _copy(data_root, phase, data_root, "metrics", frames[index])
        made += 1
    print(f"{made} videos in metrics")
    return made


def extract_yaws(data_root: Root, out: Root, phase: str = "train") -> int:
    """Write the head's yaw in every frame: `OUT/PHASE/PERSON/VIDEO/SEQUENCE/FRAME.npy`, float32 (1,), degrees.

    Args:
        data_root: the data set; only its landmarks are used.
        out: the folder of the yaws.
        phase: which part.

    Returns:
        How many frames.
    """
    require_tree(data_root, phase, masks=False)
    count = 0
    sizes: dict[str, int] = {}
    for name in iterate_frames(data_root, phase, masks=False):
        clip = name.rsplit("/", 1)[0]
        if clip not in sizes:
            sizes[clip] = read_image(frame_path(data_root, "imgs", phase, name)).shape[-1]
        pose = head_pose(read_keypoints(frame_path(data_root, "keypoints", phase, name)), (sizes[clip],) * 2)
        with atomic_path(out / phase / f"{name}.npy") as path:
            np.save(path, np.array([pose.yaw], np.float32))
        count += 1
    print(f"yaws of {count} frames in {out / phase}")
    return count


def keypoint_distances(data_root: Root, phase: str = "train") -> int:
    """Write the squared distance of every two frames' landmarks, clip by clip.

    `DATA_ROOT/keypoints/PHASE/PERSON/VIDEO/SEQUENCE/L2_distances.pkl` is a pickled {(frame a, frame b): sum of squared
    differences}, a < b as strings, as the video-conferencing fork reads it; `likeness` computes distances itself.

    Args:
        data_root: the data set.
        phase: which part.

    Returns:
        How many clips.
    """
    require_tree(data_root, phase, masks=False)
    clips: dict[str, list[str]] = {}
    for name in iterate_frames(data_root, phase, masks=False):
        clips.setdefault(name.rsplit("/", 1)[0], []).append(name)
    for clip, names in clips.items():
        points = np.stack([read_keypoints(frame_path(data_root, "keypoints", phase, name)) for name in names])
        flat = points.reshape(len(names), -1).astype(np.float64)
        labels = [name.rsplit("/", 1)[1] for name in names]
        pairs = {
            (labels[i], labels[j]): float(np.square(flat[i] - flat[j]).sum())
            for i in range(len(names))
            for j in range(i + 1, len(names))
        }
        write_bytes(data_root / "keypoints" / phase / clip / "L2_distances.pkl", pickle.dumps(pairs))
    print(f"distances of {len(clips)} clips written")
    return len(clips)


def _has_masks(root: Path, phase: str) -> bool:
    return (root / "segs" / phase).is_dir()


def _frames(root: Path, phase: str) -> Iterable[str]:
    return iterate_frames(root, phase, _has_masks(root, phase))


def _choose(names: list[str], share: float, seed: int) -> list[str]:
    if not 0 < share < 1:
        raise UserError(f"--share is {share:g}, expected a number between 0 and 1")
    count = round(share * len(names))
    return sorted(names[i] for i in np.random.default_rng(seed).choice(len(names), count, replace=False))


def _pairs(root: Path, phase: str, out: Path, to: str, name: str) -> Iterable[tuple[Path, Path]]:
    """Where `name`, a clip or a frame, stands in each tree, and where it goes; the pictures last."""
    for part in ("segs", "keypoints", "imgs"):
        frame = frame_path(root, part, phase, name)
        if name.count("/") == 3:
            source, target = frame, frame_path(out, part, to, name)
        else:
            source, target = root / part / phase / name, out / part / to / name
        if source.exists():
            yield source, target


def _move(root: Path, phase: str, to: str, name: str) -> None:
    for source, target in _pairs(root, phase, root, to, name):
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        for parent in source.parents:  # a video without clips would still be listed
            if parent.name == phase or any(parent.iterdir()):
                break
            parent.rmdir()


def _copy(root: Path, phase: str, out: Path, to: str, name: str) -> None:
    for source, target in _pairs(root, phase, out, to, name):
        files = [source] if source.is_file() else sorted(p for p in source.iterdir() if p.suffix in SUFFIXES.values())
        for file in files:
            place = target if source.is_file() else target / file.name
            with atomic_path(place) as temporary:
                temporary.unlink()
                try:
                    os.link(file, temporary)  # crops never change, so both data sets can share them
                except OSError:
                    shutil.copyfile(file, temporary)
