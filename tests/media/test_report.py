from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from likeness.errors import UserError
from likeness.media.figures import image_strip, plot_bars, plot_curves
from likeness.media.image import read_image, write_image
from likeness.media.report import Section, write_report
from likeness.media.synthetic import is_marked_synthetic
from likeness.media.video import write_video


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name == "src"]

    def handle_data(self, data):
        self.cells.append(data)


def test_page_links_pictures_and_videos_relatively(tmp_path):
    outside = tmp_path / "elsewhere" / "c d.png"
    write_image(outside, torch.rand(3, 8, 8), synthetic=True)
    page = tmp_path / "page"
    write_image(page / "a.png", torch.rand(3, 8, 8), synthetic=True)
    write_video(page / "clips" / "b.mp4", [torch.rand(3, 16, 16)], synthetic=True)
    (page / "turn.html").write_text("<p>a page of its own</p>")
    section = Section(
        "Faces <& more>",
        "One.\n\nTwo.",
        figures=[
            (page / "a.png", "a"),
            (page / "clips" / "b.mp4", "b"),
            (outside, 'c "quoted"'),
            (page / "turn.html", "d"),
        ],
        rows=[("PSNR", 31.41592), ("faces", 12)],
    )
    write_report(page / "index.html", "Demo", [section])
    text = (page / "index.html").read_text()
    links = _Links()
    links.feed(text)
    assert links.sources == ["a.png", "clips/b.mp4", "figures/0_c%20d.png", "turn.html"]
    assert '<iframe src="turn.html"' in text
    assert all((page / source.replace("%20", " ")).is_file() for source in links.sources)
    assert "31.42" in links.cells
    assert "12" in links.cells
    assert "Faces <& more>" in links.cells
    assert "http" not in text.replace("http-equiv", "")


def test_missing_figure_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.png"):
        write_report(tmp_path / "index.html", "Demo", [Section("s", figures=[(tmp_path / "none.png", "")])])
    assert not (tmp_path / "index.html").exists()


def test_charts_and_strips_are_written(tmp_path):
    plot_curves(tmp_path / "curve.png", {"loss": ([1, 2, 3], [3.0, 2.0, 1.5])}, "epoch", "loss", log=True)
    plot_bars(tmp_path / "bars.png", {"plain": 1.0, "GAN": 2.0}, "DepthCorr")
    strip = [torch.rand(3, 8, 8), torch.rand(1, 8, 8), np.random.default_rng(0).random((8, 8))]
    image_strip(tmp_path / "strip.png", strip, ["rgb", "mask", "depth"], synthetic=True)
    for name in ("curve", "bars", "strip"):
        assert read_image(tmp_path / f"{name}.png").std() > 0.01
    assert is_marked_synthetic(tmp_path / "strip.png")
    assert not is_marked_synthetic(tmp_path / "curve.png")
