"""On held-out clips of synthetic people an avatar beats the source frame left as it is, and the mean frame.

The protocol is fixed beforehand: the source is the first frame of a person's training clips, the targets are spread
over a clip of the same person that was not trained on, under another camera and with another performance (four frames a
second, so that heads turn and mouths open between frames); all pictures have a black background.
"""

import pytest

from likeness.capture.bilayer import BilayerCapture, capture_bilayer
from likeness.cli.main import run as command
from likeness.methods.bilayer.evaluate import EvaluateConfig, evaluate


def _heads(out, people, seed):
    capture_bilayer(
        BilayerCapture(
            out=out, people=people, videos=1, sequences=4, frames=10, rate=4.0, size=64, mp4=False, seed=seed
        )
    )
    return out


def _measured(run, data):
    return evaluate(
        EvaluateConfig(
            run=run,
            data_root=data,
            source_phase="train",
            out=data / "evaluation",
            identity=False,
            lpips=False,
            pose=False,
        )
    )


def _beats_both(means):
    for baseline in ("source", "mean"):
        assert means["avatar"]["L1"] < means[baseline]["L1"]
        assert means["avatar"]["SSIM"] > means[baseline]["SSIM"]


@pytest.mark.slow
def test_proof_the_shipped_avatar_beats_source_and_mean_frame_on_held_out_clips(tmp_path):
    _beats_both(_measured("shipped", _heads(tmp_path / "heads", 8, 5000)))


@pytest.mark.slow
def test_proof_training_from_scratch_beats_source_and_mean_frame_on_held_out_clips(tmp_path):
    data = _heads(tmp_path / "heads", 8, 9000)
    command(
        ["train", "bilayer", "--preset", "tiny", "--data-root", str(data), "--experiment-dir", str(tmp_path)]
        + ["--experiment-name", "proof"]
    )
    _beats_both(_measured(tmp_path / "runs" / "proof", data))
