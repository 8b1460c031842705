"""66 landmarks to 68 and back, against the recorded maps."""

import numpy as np

from likeness.geometry.face_landmarks import to_66, to_68


def test_row_18_66_to_68_and_back(recorded):
    want = recorded("geometry")
    np.testing.assert_allclose(to_68(want["k66"]), want["k68"], atol=1e-6)
    np.testing.assert_allclose(to_68(want["z66"][:, None])[:, 0], want["z68"], atol=1e-6)
    assert np.array_equal(to_66(want["k68"]), want["k66"])
    assert np.array_equal(to_66(to_68(want["k66"])), want["k66"])
    assert np.array_equal(np.delete(want["k68"], (60, 64), axis=0), to_66(want["k68"]))
