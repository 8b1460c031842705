import multiprocessing

import numpy as np

from likeness.capture.assets import load_assets
from likeness.capture.cache import cached, clear


def _build(value=1.0):
    return {"a": np.full(1000, value)}


def test_a_damaged_entry_is_built_again(empty_cache):
    cached("x", _build)
    path = empty_cache / "x.bin"
    content = bytearray(path.read_bytes())
    content[-40] ^= 255
    path.write_bytes(content)
    np.testing.assert_array_equal(cached("x", lambda: _build(2.0))["a"], np.full(1000, 2.0))
    path.write_bytes(path.read_bytes()[:50])
    np.testing.assert_array_equal(cached("x", lambda: _build(3.0))["a"], np.full(1000, 3.0))


def test_what_was_used_longest_ago_goes_first(empty_cache):
    for i in range(4):
        cached(f"n{i}", _build, limit_bytes=20_000)
    assert sorted(path.stem for path in empty_cache.glob("*.bin")) == ["n2", "n3"]
    assert clear() > 16_000
    assert not list(empty_cache.glob("*.bin"))


def _count_builds(counter):
    def build():
        with counter.get_lock():
            counter.value += 1
        return _build()

    cached("shared", build)


def test_processes_that_start_at_once_build_once(empty_cache):
    context = multiprocessing.get_context("fork")
    counter = context.Value("i", 0)
    processes = [context.Process(target=_count_builds, args=(counter,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.value == 1
    assert [process.exitcode for process in processes] == [0] * 4


def test_assets_are_baked_from_nothing(empty_cache):
    assets = load_assets()
    assert assets.vertices.shape == (19158, 3)
    assert len(assets.bones) == 53
    assert len(assets.targets) == 452
    np.testing.assert_allclose(assets.skin_weights.sum(1), 1, atol=1e-6)
    assert (assets.parents[1:] < np.arange(1, 53)).all()
