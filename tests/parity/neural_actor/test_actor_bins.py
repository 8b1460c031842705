"""Importance sampling against recorded bins."""

import torch

from likeness.methods.neural_actor.sampling import importance_samples
from tests.parity.neural_actor.test_actor_networks import load


def test_NA6_NA26_importance_samples_of_recorded_bins(parity_dir):
    recorded = load(parity_dir, "ops")
    edges = torch.cat([recorded["bins_min"], recorded["bins_max"][:, -1:]], dim=-1)
    depths, lengths = importance_samples(edges, recorded["bins_probs"], int(recorded["bins_steps"]))
    assert (recorded["bins_idx"] >= 0).all()  # no padding in this recording
    torch.testing.assert_close(depths, recorded["bins_depth"], atol=1e-5, rtol=0)
    torch.testing.assert_close(lengths, recorded["bins_dists"], atol=1e-5, rtol=0)
