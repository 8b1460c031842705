import pytest

from likeness.capture import assets


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("LIKENESS_CACHE", str(tmp_path / "cache"))
    assets.load_assets.cache_clear()
    yield tmp_path / "cache"
    assets.load_assets.cache_clear()
