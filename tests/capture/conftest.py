import os

import pytest

from likeness.capture import assets


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_tests(tmp_path_factory):
    """A cache folder that all tests share, so that the user's own is left alone."""
    if "LIKENESS_CACHE" in os.environ:
        yield
        return
    os.environ["LIKENESS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ["LIKENESS_CACHE"]


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("LIKENESS_CACHE", str(tmp_path / "cache"))
    assets.load_assets.cache_clear()
    yield tmp_path / "cache"
    assets.load_assets.cache_clear()
