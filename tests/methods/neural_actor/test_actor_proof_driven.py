"""The measures of the driven actor's proof, and (slow) the proof itself."""

import numpy as np
import pytest
import torch

from likeness.media.image import write_image
from likeness.methods.neural_actor.proof_driven import (
    ProveDrivenConfig,
    masked_psnr,
    nearest_poses,
    prove_driven,
    rows,
)


def test_driven_proof_counts_the_texels_that_a_camera_saw():
    truth = torch.zeros(3, 2, 2)
    made = truth.clone()
    made[:, 0, 0], made[:, 1, 1] = 0.1, 1.0
    mask = torch.tensor([[True, False], [False, False]])
    assert masked_psnr(made, truth, mask) == pytest.approx(20.0, abs=1e-4)


def test_driven_proof_finds_the_nearest_training_pose(tmp_path):
    for folder, levels in (("training", (10, 100, 200)), ("testing", (190, 20))):
        for index, level in enumerate(levels):
            write_image(tmp_path / folder / f"{index:06d}.png", np.full((4, 4, 3), level, np.uint8), synthetic=True)
    assert nearest_poses(tmp_path / "testing", tmp_path / "training") == [2, 0]


def test_driven_proof_keeps_trained_and_new_motions_apart():
    scores = torch.tensor([[30.0, 40.0, 20.0, 25.0]] * 4 + [[10.0, 20.0, 0.0, 5.0]] * 4)
    whole, trained, new = rows(scores, with_truth=True)
    assert (whole.predicted, trained.true, new.nearest, new.mean) == (20.0, 40.0, 5.0, 0.0)
    assert rows(scores, with_truth=False)[0].true is None


@pytest.mark.slow
def test_NA20_the_driven_actor_beats_the_mean_texture_in_new_poses(tmp_path):
    proof = prove_driven(ProveDrivenConfig(out=tmp_path))
    assert proof.textures.predicted >= proof.textures.mean + 2, proof
    assert proof.pictures.predicted >= proof.pictures.mean, proof
