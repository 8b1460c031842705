"""CPU time of a head, of a body, of a person from the cache, of faces without pictures; time of a whole data set."""

import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import Row
from likeness.capture.bilayer import BilayerCapture, capture_bilayer
from likeness.capture.depthnet import write_landmark_tree
from likeness.capture.expression import expression
from likeness.capture.light import studio
from likeness.capture.performance import Performance
from likeness.capture.person import make_person
from likeness.capture.scene import assemble
from likeness.capture.stage import body_camera, portrait_camera, take
from likeness.render.rasterise import rasterise

FACES = 300
FRAMES_OF_A_PERSON = 40
SMALL_SET, LARGE_SET = 80, 320
"""Frames of the two measured sets; what a frame costs is their difference, so that starting processes is not counted
10,000 / 320 times."""


def main() -> list[Row]:
    """Measure in process CPU time: other work on the machine then distorts less."""
    torch.set_num_threads(1)
    person = make_person(3)
    act = Performance(expression("grin"))
    head, body = portrait_camera(person), body_camera(person)
    scene = assemble(person, act, head.position.numpy(), 1e-3)
    vertices, depth = head.project(torch.from_numpy(scene.vertices).double())
    places = torch.column_stack([vertices, depth]).float()[None]
    triangles = torch.from_numpy(scene.triangles)
    visibility = _cpu(lambda: rasterise(places, triangles, (256, 256)))
    head_time = _cpu(lambda: take(person, act, head, studio()))
    body_time = _cpu(lambda: take(person, act, body, studio(), floor=True))
    cached = _cpu(lambda: make_person(3))
    what = f"visibility alone ({len(triangles)} triangles)"
    with tempfile.TemporaryDirectory() as folder:
        faces = _cpu(lambda: write_landmark_tree(Path(folder), FACES, 0, 0, 0), 2) / FACES
    morph = _cpu(lambda: person.with_expression(np.ones(52)))
    return [
        Row("256x256 head, hair and all truth, CPU time", head_time, what, visibility, "<= 0.15 s"),
        Row("256x256 body, floor and all truth, CPU time", body_time, what, visibility, "<= 0.2 s"),
        Row("a person from the cache, CPU time", cached, "all 52 expressions at once", morph, "<= 0.1 s"),
        *_data_set(),
        Row("a face without picture, files written, CPU time", faces, "all 52 expressions at once", morph, "<= 5 ms"),
    ]


def _data_set() -> list[Row]:
    """A set of 10,000 frames of the head avatars, from the frames of two smaller ones; people come from the cache."""
    for seed in range(LARGE_SET // FRAMES_OF_A_PERSON):
        make_person(seed)
    (wall, cpu), (large_wall, large_cpu) = _write_set(SMALL_SET), _write_set(LARGE_SET)
    frames = LARGE_SET - SMALL_SET
    wall_frame, cpu_frame = (large_wall - wall) / frames, (large_cpu - cpu) / frames
    what = f"10,000-frame bilayer set with videos, two workers, from {frames} frames, load {os.getloadavg()[0]:.1f}"
    return [
        Row(what + ", wall time", wall + 10_000 * wall_frame, "its CPU time on two idle cores", 5_000 * cpu_frame),
        Row("a frame of that set, 384x384 with its crop, files written, CPU time", cpu_frame, "wall time", wall_frame),
    ]


def _write_set(frames: int) -> tuple[float, float]:
    """Wall and CPU seconds of a set with two clips a person."""
    with tempfile.TemporaryDirectory() as folder:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        config = BilayerCapture(
            out=Path(folder) / "set",
            people=frames // FRAMES_OF_A_PERSON,
            videos=1,
            sequences=2,
            frames=FRAMES_OF_A_PERSON // 2,
            workers=2,
        )
        capture_bilayer(config)
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime


def _cpu(function: Callable[[], object], repeats: int = 5) -> float:
    function()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times)
