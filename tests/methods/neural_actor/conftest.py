import pytest

from likeness.capture.neural_actor import NeuralActorCapture, capture_neural_actor


@pytest.fixture(scope="session")
def actor_studio(tmp_path_factory):
    """A synthetic actor's OUT folder: 3 + 2 frames, 4 cameras, 64 pixels, in both forms; tests must not write to it."""
    out = tmp_path_factory.mktemp("actor_studio")
    options = {"frames": 3, "test_frames": 2, "cameras": 4, "size": 64, "texture": 256}
    capture_neural_actor(NeuralActorCapture(out=out, preset="tiny", form="both", **options))
    return out
