"""Training on the synthetic stage, by the documented commands, beats the mean face on what it never saw."""

import json

import pytest

from likeness.cli.main import run as likeness
from likeness.methods.multiface.evaluate import EvaluateConfig, evaluate

CAMERAS = [f"{400002 + index}" for index in range(8)]
NEW_CAMERAS = ("400004", "400007")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Folder of a capture, its camera split, and an avatar trained on it."""
    folder = tmp_path_factory.mktemp("proof")
    words = f"capture multiface {folder}/head --preset tiny --segments 5 --frames 12 --cameras 8 --texture 256"
    likeness(words.split())
    train = [name for name in CAMERAS if name not in NEW_CAMERAS]
    (folder / "split.json").write_text(json.dumps({"full": {"train": train, "test": CAMERAS}}))
    learn(folder, "default", "--max-updates", "425")
    return folder


def learn(folder, name, *more):
    words = (
        f"train multiface --preset tiny --data-dir {folder}/head/m--20180227--0000--0000000--GHS --test-segments "
        f"EXP_ROM --camera-split {folder}/split.json --resolution 256 166 --experiment-dir {folder} "
        f"--experiment-name {name}"
    )
    likeness([*words.split(), *more])


def figures(folder, name):
    return evaluate(EvaluateConfig(run=folder / "runs" / name, rendered=True, lpips=False))


def test_training_beats_the_mean_face_on_new_expressions_and_new_cameras(stage):
    found = figures(stage, "default")
    assert found["mesh_factor"] > 2.5
    assert found["texture_factor (trained cameras)"] > 1.35
    assert found["texture_factor (new cameras)"] > 1.2


def test_the_screen_loss_improves_the_view_of_new_cameras(stage):
    start = ("--max-updates", "150", "--lr", "3e-4", "--start-from", str(stage / "runs" / "default"))
    learn(stage, "without", *start)
    learn(stage, "with", *start, "--lambda-screen", "0.4")
    without, with_screen = figures(stage, "without"), figures(stage, "with")
    assert with_screen["psnr_covered (new cameras)"] > without["psnr_covered (new cameras)"]
