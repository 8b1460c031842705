"""One video clip into head crops, landmarks and masks: all of it, or nothing."""

import functools
import itertools
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from likeness.errors import UserError
from likeness.files import write_text
from likeness.formats.heads import SUFFIXES, write_frame
from likeness.geometry.head_crop import crop_head
from likeness.media.image import from_uint8
from likeness.media.video import Frame, read_frames
from likeness.perception.faces import TINY_FACE, MediaPipeFaces
from likeness.perception.protocols import FaceTracker, Segmenter
from likeness.perception.segmentation import MediaPipeSegmenter, ModelSegmenter, erode


@dataclass(frozen=True)
class HeadSettings:
    """What decides a clip's result; a clip is done again when any of it, or its file, has changed."""

    phase: str = "train"
    sampling_rate: int = 1
    image_size: int = 256
    output_segmentation: bool = True
    face: int | None = None
    any_face: bool = False
    segmentation_model: str | None = None


@dataclass(frozen=True)
class Clip:
    """One file to extract."""

    source: str
    name: str
    """`PERSON/VIDEO/SEQUENCE`."""
    data_root: str
    settings: HeadSettings
    device: int | None = None
    """Number of the GPU for `segmentation_model`; None for the CPU."""


@dataclass(frozen=True)
class ClipReport:
    """What became of a clip; stands in `DATA_ROOT/manifest/PHASE/PERSON/VIDEO/SEQUENCE.json`."""

    state: str
    """`started` (killed while its folders were moved), `done`, or `skipped`."""
    source: str
    source_size: int
    source_modified: int
    """Nanoseconds since 1970."""
    settings: dict[str, Any]
    kept: int = 0
    reason: str | None = None
    """Why the clip was skipped, or where a damaged one ended."""
    skipped_frames: dict[str, list[int]] = field(default_factory=dict)
    """Reason -> numbers of the frames left out."""
    seconds: float = 0.0


def extract_clip(clip: Clip) -> ClipReport:
    """Extract `clip`, or find it extracted already.

    The frames are written beside the data set and moved into it when all are there; the report is written last. A clip
    that was killed half-way leaves nothing in the data set and is done from its beginning by the next run.
    """
    path = report_path(clip)
    report = finished_report(clip)
    if report is not None:
        return report
    folders = {part: Path(clip.data_root) / part / clip.settings.phase / clip.name for part in SUFFIXES}
    if not path.exists() and any(folder.exists() for folder in folders.values()):
        report = _report(
            clip, "skipped", reason="its folder in the data set was not made by this command: move it away"
        )
        write_text(path.with_suffix(".refused"), _as_text(report))
        return report
    begin = time.monotonic()
    staging = Path(clip.data_root) / ".extracting" / clip.settings.phase / clip.name
    shutil.rmtree(staging, ignore_errors=True)
    try:
        kept, skipped, reason = _extract(clip, staging)
        state = "done" if kept else "skipped"
        if not kept and reason is None:
            reason = "no frame with a usable face"
        write_text(path, _as_text(_report(clip, "started")))
        for part, folder in folders.items():
            shutil.rmtree(folder, ignore_errors=True)
            made = staging / part / clip.settings.phase / clip.name
            if made.exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                made.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    report = _report(clip, state, kept, reason, skipped, round(time.monotonic() - begin, 3))
    write_text(path, _as_text(report))
    path.with_suffix(".refused").unlink(missing_ok=True)
    return report


def finished_report(clip: Clip) -> ClipReport | None:
    """The report of an earlier run that still holds: same settings, same file, not cut off; else None."""
    try:
        report = ClipReport(**json.loads(report_path(clip).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    now = _report(clip, report.state)
    same = all(getattr(report, name) == getattr(now, name) for name in ("source_size", "source_modified", "settings"))
    return report if same and report.state != "started" else None


def report_path(clip: Clip) -> Path:
    """Where the report of `clip` stands."""
    path = Path(clip.data_root) / "manifest" / clip.settings.phase / clip.name
    return path.with_name(f"{path.name}.json")


def _extract(clip: Clip, staging: Path) -> tuple[int, dict[str, list[int]], str | None]:
    settings = clip.settings
    tracker, segmenter = _tracker(), None
    if settings.output_segmentation:
        segmenter = _segmenter(settings.segmentation_model, clip.device)
    kept = 0
    skipped: dict[str, list[int]] = {}
    try:
        for frame, keypoints, reason in _landmarks(clip, tracker):
            if keypoints is None:
                skipped.setdefault(reason, []).append(frame.index)
                continue
            image, points = crop_head(frame.image, keypoints, settings.image_size)
            mask = None if segmenter is None else erode(segmenter(image))[None]
            name = f"{clip.name}/{frame.index}"
            write_frame(staging, settings.phase, name, from_uint8(image).numpy(), points, mask)
            kept += 1
    except UserError as error:
        if error.path is None or Path(error.path) != Path(clip.source):
            raise  # not the clip's fault: a full disk, missing software
        return kept, skipped, str(error).removeprefix(f"{error.path}: ")
    return kept, skipped, None


def _landmarks(clip: Clip, tracker: FaceTracker) -> Iterator[tuple[Frame, np.ndarray | None, str]]:
    # The tracker walks one copy of the frames, one step ahead of the other.
    frames, ahead = itertools.tee(read_frames(clip.source, clip.settings.sampling_rate))
    images = (frame.image for frame in ahead)
    for face, frame in zip(tracker.follow(images, clip.settings.face, clip.settings.any_face), frames, strict=True):
        if face is None:
            yield frame, None, "no face found"
        elif face.eye_distance < TINY_FACE:
            yield frame, None, f"face smaller than {TINY_FACE} pixels between the outer eye corners"
        else:
            yield frame, face.landmarks, ""


@functools.cache
def _tracker() -> FaceTracker:
    return MediaPipeFaces()


@functools.cache
def _segmenter(model: str | None, device: int | None) -> Segmenter:
    return MediaPipeSegmenter() if model is None else ModelSegmenter(model, device)


def _report(clip: Clip, state: str, kept: int = 0, reason=None, skipped=None, seconds: float = 0.0) -> ClipReport:
    status = Path(clip.source).stat()
    return ClipReport(
        state,
        clip.source,
        status.st_size,
        status.st_mtime_ns,
        asdict(clip.settings),
        kept,
        reason,
        skipped or {},
        seconds,
    )


def _as_text(report: ClipReport) -> str:
    return json.dumps(asdict(report), indent=1) + "\n"


def summary(reports: list[ClipReport]) -> str:
    """A few lines that tell what was kept, and what was left out and why."""
    states = Counter(report.state for report in reports)
    frames = Counter[str]()
    for report in reports:
        frames.update({reason: len(numbers) for reason, numbers in report.skipped_frames.items()})
    lines = [f"{states['done']} clips done, {sum(report.kept for report in reports)} frames kept"]
    lines += [f"  {count} frames left out: {reason}" for reason, count in frames.most_common()]
    lines += [f"  clip skipped: {r.source}: {r.reason}" for r in reports if r.state != "done"]
    lines += [f"  clip cut short: {r.source}: {r.reason}" for r in reports if r.state == "done" and r.reason]
    return "\n".join(lines)
