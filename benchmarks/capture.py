"""CPU time of a head under every hair style, of a body, of a person from the cache, of faces without pictures."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import Row
from likeness.capture.depthnet import write_landmark_tree
from likeness.capture.expression import expression
from likeness.capture.hair import STYLES
from likeness.capture.light import studio
from likeness.capture.performance import Performance
from likeness.capture.person import Person, make_person
from likeness.capture.scene import assemble
from likeness.capture.stage import body_camera, portrait_camera, take
from likeness.render.rasterise import rasterise

FACES = 300


def main() -> list[Row]:
    """Measure in process CPU time: other work on the machine then distorts less."""
    torch.set_num_threads(1)
    person = make_person(3)
    head, body, act = portrait_camera(person), body_camera(person), Performance(expression("grin"))
    scene = assemble(person, act, head.position.numpy(), 1e-3)
    vertices, depth = head.project(torch.from_numpy(scene.vertices).double())
    places = torch.column_stack([vertices, depth]).float()[None]
    triangles = torch.from_numpy(scene.triangles)
    visibility = _cpu(lambda: rasterise(places, triangles, (256, 256)))
    heads = {style: _head(make_person(3, style)) for style in STYLES}
    body_time = _cpu(lambda: take(person, act, body, studio(), floor=True))
    cached = _cpu(lambda: make_person(3))
    what = f"visibility alone ({len(triangles)} triangles)"
    with tempfile.TemporaryDirectory() as folder:
        faces = _cpu(lambda: write_landmark_tree(Path(folder), FACES, 0, 0, 0), 2) / FACES
    morph = _cpu(lambda: person.with_expression(np.ones(52)))
    return [
        *(
            Row(f"256x256 head, {style}, and all truth, CPU time", seconds, "bald", heads["bald"], "<= 0.15 s")
            for style, seconds in heads.items()
        ),
        Row("256x256 body, floor and all truth, CPU time", body_time, what, visibility, "<= 0.2 s"),
        Row("a person from the cache, CPU time", cached, "all 52 expressions at once", morph, "<= 0.1 s"),
        Row("a face without picture, files written, CPU time", faces, "all 52 expressions at once", morph, "<= 5 ms"),
    ]


def _head(person: Person) -> float:
    act, camera, light = Performance(expression("grin")), portrait_camera(person), studio()
    return _cpu(lambda: take(person, act, camera, light))


def _cpu(function: Callable[[], object], repeats: int = 5) -> float:
    function()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times)
