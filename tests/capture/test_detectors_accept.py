"""Detectors that were not made by us accept the stage's people: prints the tables of docs/capture.md (run with -s)."""

import numpy as np
import pytest

from likeness.capture.assets import load_assets
from likeness.capture.expression import draw_expression
from likeness.capture.light import draw_light
from likeness.capture.motion import MOTIONS, body_clip, grounded
from likeness.capture.performance import Performance, relaxed_arms
from likeness.capture.person import make_person
from likeness.capture.stage import body_camera, portrait_camera, take
from likeness.media.image import to_uint8

PEOPLE, VIEWS = 60, 5
BODIES = 100
GROUPS = {
    "jaw": range(17),
    "brows": range(17, 27),
    "nose": range(27, 36),
    "eyes": range(36, 48),
    "mouth": range(48, 68),
}
JOINTS = {
    11: "upperarm_l", 12: "upperarm_r", 13: "lowerarm_l", 14: "lowerarm_r", 15: "hand_l", 16: "hand_r",
    23: "thigh_l", 24: "thigh_r", 25: "calf_l", 26: "calf_r", 27: "foot_l", 28: "foot_r",
}  # fmt: skip


@pytest.mark.slow
def test_faces_are_found_where_they_are():
    faces = pytest.importorskip("likeness.perception.faces")
    tracker = faces.MediaPipeFaces()
    rows = []
    for seed in range(PEOPLE):
        person = make_person(1000 + seed)
        for view in range(VIEWS):
            rng = np.random.default_rng([seed, view, 71])
            yaw = np.radians(rng.uniform(*[(0, 15), (0, 15), (15, 30), (30, 45), (45, 60)][view])) * rng.choice([-1, 1])
            act = Performance(draw_expression(rng), pose=relaxed_arms())
            camera = portrait_camera(person, yaw=yaw, pitch=rng.normal(0, 0.08))
            frame = take(person, act, camera, draw_light(rng), seed=view)
            found = tracker.detect(to_uint8(frame.image), any_face=True)
            truth = frame.pixels.numpy()
            scale = np.linalg.norm(truth[45] - truth[36])
            errors = np.full(68, np.nan)
            if found:
                errors = np.linalg.norm(max(found, key=lambda f: f.eye_distance).landmarks - truth, axis=1) / scale
            rows.append((abs(np.degrees(yaw)), bool(found), errors))
    yaws, hits, errors = (np.array([row[k] for row in rows]) for k in range(3))
    print(f"\n{len(rows)} heads of {PEOPLE} identities\n| yaw | n | found | 68 points | 51 points |")
    medians = {}
    for low, high in ((0, 15), (15, 30), (30, 45), (45, 60)):
        chosen = (yaws >= low) & (yaws < high)
        inner = np.nanmedian(errors[chosen][:, 17:].mean(1))
        medians[low] = inner
        whole = np.nanmedian(errors[chosen].mean(1))
        print(f"| {low}-{high} | {chosen.sum()} | {hits[chosen].mean():.1%} | {whole:.2%} | {inner:.2%} |")
    near = errors[yaws < 15]
    print("by group, yaw < 15: " + ", ".join(f"{k} {np.nanmedian(near[:, list(v)]):.1%}" for k, v in GROUPS.items()))
    print("by point, yaw < 15 (%): " + " ".join(f"{k}:{100 * v:.1f}" for k, v in enumerate(np.nanmedian(near, 0))))
    assert hits.mean() >= 0.99
    assert medians[0] <= 0.05
    assert medians[15] <= 0.055


@pytest.mark.slow
def test_bodies_are_found_where_they_are():
    bodies = pytest.importorskip("likeness.perception.bodies")
    tracker = bodies.MediaPipeBodies()
    bones = list(load_assets().bones)
    errors, found = [], 0
    for i in range(BODIES):
        rng = np.random.default_rng([i, 72])
        person = make_person(1000 + i % 20)
        act = grounded(person, body_clip(MOTIONS[i % len(MOTIONS)], 30, rng)[int(rng.integers(30))])
        camera = body_camera(person, (384, 384), yaw=rng.uniform(-1.0, 1.0))
        frame = take(person, act, camera, draw_light(rng), seed=i, floor=True)
        body = tracker.detect(to_uint8(frame.image))
        if body is None:
            continue
        found += 1
        truth = camera.project(frame.joints)[0].numpy()
        top, bottom = camera.project(frame.vertices[:13380].double())[0][:, 1].aminmax()
        height = float(bottom - top)
        errors.append(
            [np.linalg.norm(body.joints[k] - truth[bones.index(name)]) / height for k, name in JOINTS.items()]
        )
    errors = np.array(errors)
    print(f"\nbodies found {found} of {BODIES}; median joint error {np.median(errors):.2%} of the body's height")
    print(", ".join(f"{name} {value:.1%}" for name, value in zip(JOINTS.values(), np.median(errors, 0))))
    assert found >= 0.95 * BODIES
    assert np.median(errors) <= 0.05
