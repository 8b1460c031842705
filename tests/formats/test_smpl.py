"""Body models read without running what their files hold."""

import pathlib
import pickle

import numpy as np
import pytest
import scipy.sparse

from likeness.errors import UserError
from likeness.formats.smpl import read_rig


def smpl(**changes):
    rng = np.random.default_rng(0)
    weights = rng.random((8, 3))
    content = {
        "v_template": rng.random((8, 3)),
        "f": np.array([[0, 1, 2], [2, 3, 4], [5, 6, 7]], np.uint32),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([[4294967295, 0, 1], [0, 1, 2]], np.uint32),
        "J_regressor": np.eye(3, 8),
        "shapedirs": rng.random((8, 3, 4)),
        "bs_style": "lbs",
    }
    return content | changes


class Ch:
    """Stands for chumpy's class while a test file is written."""

    def __init__(self, **state):
        self.__dict__.update(state)


Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"


def dumped(content):
    """Pickle bytes in which `Ch` belongs to chumpy, as in the published files."""
    import sys
    import types

    module = types.ModuleType("chumpy.ch")
    module.Ch = Ch
    sys.modules["chumpy"], sys.modules["chumpy.ch"] = types.ModuleType("chumpy"), module
    try:
        return pickle.dumps(content, protocol=2)
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]


def test_NA18_smpl_as_npz_and_as_old_pickle(tmp_path):
    content = smpl()
    np.savez(tmp_path / "a.npz", **content)
    directions = content["shapedirs"]
    old = content | {
        "J_regressor": scipy.sparse.csc_matrix(content["J_regressor"]),
        "v_template": Ch(x=content["v_template"], dterms=("x",)),
        "shapedirs": Ch(a=Ch(x=directions), idxs=np.arange(directions.size), preferred_shape=directions.shape),
        "posedirs": Ch(something="else"),
    }
    (tmp_path / "b.pkl").write_bytes(dumped(old))
    first, second = read_rig(tmp_path / "a.npz"), read_rig(tmp_path / "b.pkl")
    assert first.parents == second.parents == (-1, 0, 1)
    for name in ("vertices", "faces", "weights", "joints", "shape_directions"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert np.allclose(first.joints, content["v_template"][:3])
    betas = first.joints.new_tensor([0.5, -1.0])
    expected = content["v_template"] + content["shapedirs"][..., :2] @ np.array([0.5, -1.0])
    assert np.allclose(first.shaped(betas).vertices, expected, atol=1e-6)
    assert np.allclose(first.shaped(betas).joints, expected[:3], atol=1e-6)
    with pytest.raises(UserError, match="5 shape numbers for a body model with 4"):
        first.shaped(betas.new_ones(5))


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def test_NA18_pickles_cannot_run_anything(tmp_path):
    mark = tmp_path / "ran"
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(smpl(v_template=Trap(mark))))
    with pytest.raises(UserError, match=r"trap.pkl.*cannot be read safely.*names"):
        read_rig(tmp_path / "trap.pkl")
    objects = np.array([Trap(mark), None], dtype=object)
    (tmp_path / "objects.pkl").write_bytes(pickle.dumps(smpl(weights=objects)))
    with pytest.raises(UserError, match="cannot be read safely"):
        read_rig(tmp_path / "objects.pkl")
    np.savez(tmp_path / "objects.npz", **smpl(weights=objects))
    with pytest.raises(UserError, match="lacks weights"):
        read_rig(tmp_path / "objects.npz")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": np.full((7, 3), 1 / 3)}, r"`weights` leads to shape \(7, 3\), expected \(8, 3\)"),
        ({"weights": np.full((8, 3), 1.0)}, "do not sum to 1"),
        ({"f": np.array([[0, 1, 9]])}, "names vertex 9 of 8"),
        ({"v_template": np.full((8, 3), np.nan)}, "not finite"),
        ({"kintree_table": np.array([[-1, 2, 0], [0, 1, 2]])}, "comes before its parent"),
        ({"v_template": np.array(["a"])}, "holds no numbers"),
    ],
)
def test_NA18_models_that_do_not_fit_are_named(tmp_path, changes, words):
    np.savez(tmp_path / "a.npz", **smpl(**changes))
    with pytest.raises(UserError, match=words):
        read_rig(tmp_path / "a.npz")


def test_NA18_files_that_are_no_models_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", other=np.zeros(3))
    with pytest.raises(UserError, match=r"lacks vertices.*it has other"):
        read_rig(tmp_path / "a.npz")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match="holds a list"):
        read_rig(tmp_path / "b.pkl")
    (tmp_path / "c.pkl").write_bytes(b"\x80")
    with pytest.raises(UserError, match="cannot be read safely"):
        read_rig(tmp_path / "c.pkl")
    with pytest.raises(UserError, match="no such file"):
        read_rig(tmp_path / "d.pkl")
