import urllib.request

import numpy as np
import pytest
import trimesh
import viser

from likeness.engine import Run
from likeness.errors import UserError
from likeness.media.image import read_uint8
from likeness.viewer.view import Panel, view
from tests.engine.toy import run_toy


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    run = run_toy(tmp_path_factory.mktemp("viewed"), "r", log_every=1)
    trimesh.creation.box().export(run.folder / "box.ply")
    return run


def test_page_is_served_and_shows_curves_pictures_and_meshes(run):
    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    try:
        page = urllib.request.urlopen(f"http://127.0.0.1:{server.get_port()}", timeout=10).read()
        assert b"<html" in page.lower()
        panel = Panel(server, run)
        assert "valid/fit" in panel.measure.options and "step/d" in panel.measure.options
        panel.measure.value = "step/d"
        panel.refresh()
        assert len(panel.curve.data[0]) == 18 and panel.curve.data[0][-1] == 18
        assert set(panel.name.options) == {"test/points", "train/points"}
        panel.name.value = "test/points"
        panel.moment.value = 0
        panel.refresh()
        assert np.array_equal(panel.picture.image, read_uint8(run.images("test") / "1_points.png"))
    finally:
        server.stop()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run"):
        view(tmp_path)
