"""`likeness extract heads`: videos of people into the tree of head crops, over processes or machines."""

import contextlib
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from likeness.errors import UserError
from likeness.files import require_free_space
from likeness.media.synthetic import VIDEO_SUFFIXES
from likeness.perception.head_clip import Clip, ClipReport, HeadSettings, extract_clip, finished_report, summary
from likeness.perception.runtime import solution
from likeness.work import results, resumable

RAY_INSTALL = 'python -m pip install "likeness[ray]"'

BYTES_PER_FRAME = 40_000
"""Upper estimate of a frame's three files at 256 pixels."""


def extract_heads(
    video_root: Annotated[Path, tyro.conf.Positional],
    data_root: Annotated[Path, tyro.conf.Positional],
    phase: Literal["train", "test", "unseen_test", "metrics"] = "train",
    sampling_rate: int = 1,
    batch_size: int = 1,
    output_segmentation: bool = True,
    image_size: int = 256,
    face: int | None = None,
    any_face: bool = False,
    segmentation_model: Path | None = None,
    num_gpus: int = 0,
    workers: int = 1,
    ray: str | None = None,
) -> list[ClipReport]:
    """Turn videos into head crops with landmarks and masks, as training of the bi-layer avatars reads them.

    Run it again after an interruption, or with more videos: finished clips are kept. What was left out, and why, stands
    in DATA_ROOT/manifest and is printed at the end.

    Args:
        video_root: folder of PERSON/VIDEO/SEQUENCE.mp4 (or .mov, .mkv, .webm, .avi, .m4v).
        data_root: the data set's folder: imgs, keypoints, segs and manifest are made in it.
        phase: which part of the data set to write.
        sampling_rate: keep frames 0, N, 2 N, ... of every video.
        batch_size: clips given to a worker at a time; more saves a little time with many very short clips.
        output_segmentation: write masks too.
        image_size: side of the crops in pixels.
        face: which face to follow, counted from the left from 1, in the first frame that has so many; default: the
            largest.
        any_face: also follow what a second detector does not take for a human face.
        segmentation_model: an ONNX matting or parsing model to use for the masks (see docs/perception.md).
        num_gpus: GPUs that `segmentation_model` runs on, dealt out to the workers.
        workers: processes that extract clips at the same time.
        ray: address of a Ray cluster ("auto" for the one this machine belongs to) to spread the clips over; all its
            machines must see both folders under the same path.

    Returns:
        One report for each clip, sorted by name.
    """
    if min(sampling_rate, batch_size, workers, image_size) < 1:
        raise UserError("--sampling-rate, --batch-size, --workers and --image-size must be 1 or more")
    solution("face_mesh")  # a missing MediaPipe is told once, before any process is started
    settings = HeadSettings(
        phase, sampling_rate, image_size, output_segmentation, face, any_face,
        None if segmentation_model is None else str(segmentation_model.resolve()),
    )  # fmt: skip
    clips = find_clips(video_root, data_root, settings, num_gpus)
    done = {clip.name: report for clip in clips if (report := finished_report(clip)) is not None}
    left = [clip for clip in clips if clip.name not in done]
    require_free_space(data_root, len(left) * 100 * BYTES_PER_FRAME, "extraction")
    console = Console(stderr=True)
    if done:
        console.print(f"{len(done)} of {len(clips)} clips are there already")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("clips"))
    reported = _over_ray(left, ray) if ray is not None else _over_processes(left, workers, batch_size)
    with (
        Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress,
        resumable(),
        contextlib.closing(reported),
    ):
        bar = progress.add_task("extracting", total=len(left))
        for clip, report in reported:
            done[clip.name] = report
            progress.update(bar, advance=1, description=f"extracting {clip.name}")
    reports = [done[name] for name in sorted(done)]
    print(summary(reports))
    return reports


def find_clips(video_root: Path, data_root: Path, settings: HeadSettings, num_gpus: int = 0) -> list[Clip]:
    """All clips under `video_root`, sorted by name.

    Raises:
        UserError: no such folder, no video in it, videos elsewhere than at PERSON/VIDEO/SEQUENCE, or two that would
            get one name.
    """
    if not video_root.is_dir():
        raise UserError("is no folder: name the folder that holds PERSON/VIDEO/SEQUENCE.mp4", path=video_root)
    files = sorted(p for p in video_root.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
    clips: dict[str, Clip] = {}
    for path in files:
        relative = path.relative_to(video_root)
        if len(relative.parts) != 3:
            raise UserError(
                "lies elsewhere than PERSON/VIDEO/SEQUENCE: put each video two folders below VIDEO_ROOT", path=path
            )
        name = relative.with_suffix("").as_posix()
        if name in clips:
            raise UserError(f"would get the same name as {clips[name].source}: rename one of them", path=path)
        device = len(clips) % num_gpus if num_gpus else None
        clips[name] = Clip(str(path.resolve()), name, str(data_root.resolve()), settings, device)
    if not clips:
        raise UserError(f"holds no video ({', '.join(sorted(VIDEO_SUFFIXES))})", path=video_root)
    return list(clips.values())


def _extract_batch(clips: list[Clip]) -> list[tuple[Clip, ClipReport]]:
    return [(clip, extract_clip(clip)) for clip in clips]


def _over_processes(clips: list[Clip], workers: int, batch_size: int) -> Generator[tuple[Clip, ClipReport]]:
    batches = [clips[start : start + batch_size] for start in range(0, len(clips), batch_size)]
    with contextlib.closing(results(_extract_batch, batches, workers)) as done:
        for _, reports in done:
            yield from reports


def _over_ray(clips: Iterable[Clip], address: str) -> Generator[tuple[Clip, ClipReport]]:
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--ray needs Ray; install it with:\n  {RAY_INSTALL}") from error
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=address, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"no Ray cluster at {address!r} ({error}): start one with `ray start --head`") from error
    try:
        # A clip whose machine dies is given to another one; extraction is all or nothing, so nothing is doubled.
        remote = ray.remote(num_cpus=1, max_retries=-1)(extract_clip)
        waiting = {remote.remote(clip): clip for clip in clips}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            for reference in ready:
                clip = waiting.pop(reference)
                try:
                    report = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, UserError) else error from error
                yield clip, report
    finally:
        if started:
            ray.shutdown()
