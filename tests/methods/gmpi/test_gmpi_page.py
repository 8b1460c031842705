"""The parallax page in a browser, against our own renderer."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from likeness.methods.gmpi.networks import MPI
from likeness.methods.gmpi.page import write_page
from likeness.methods.gmpi.scene import FFHQ
from likeness.render.multiplane import render

SIDE, MARGIN = 256, 32
"""Pixels of the picture, and above it (2rem)."""


@pytest.fixture(scope="module")
def browser():
    """Chromium: $CHROMIUM, or Debian's package `chromium`."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium: install Debian's package chromium, or name one in $CHROMIUM")
    return path


@pytest.fixture(scope="module")
def sample():
    """A ball before a patterned wall, on nine planes of 64 x 64 texels."""
    planes = FFHQ.planes(9)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    height = (1 - (x.square() + y.square()) / 0.5).clamp(min=0).sqrt()  # 1 at the nearest point, 0 on the wall
    index = torch.arange(9)[:, None, None] - (1 - height) * 8
    alpha = (index + 1).clamp(0, 1) * 0.9
    alpha[-1] = 1
    stripes = torch.stack([0.5 + 0.5 * (7 * x).sin(), 0.5 + 0.5 * (5 * y).sin(), 0.5 + 0.3 * x])
    return MPI(stripes[None], stripes.flip(0)[None] * 0.5, alpha[None]), planes


def run(browser: str, page: str, *options: str) -> str:
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-extensions",
               "--force-device-scale-factor=1", "--window-size=400,600", *options, page]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def picture(browser: str, page: Path, hash_: str, out: Path) -> torch.Tensor:
    run(browser, f"file://{page}{hash_}", f"--screenshot={out}", "--virtual-time-budget=5000")
    screen = np.asarray(Image.open(out).convert("RGB"))
    left = (screen.shape[1] - SIDE) // 2
    shown = screen[MARGIN : MARGIN + SIDE, left : left + SIDE]
    return torch.from_numpy(shown.copy()).movedim(-1, 0).float() / 255


@pytest.mark.browser
@pytest.mark.parametrize("pose", [(0.0, 0.0), (0.4, -0.15), (-0.5, 0.2)])
@pytest.mark.parametrize("align_corners", [True, False])
def test_the_browser_shows_what_the_renderer_shows(browser, sample, tmp_path, pose, align_corners):
    mpi, planes = sample
    write_page(tmp_path / "p.html", mpi, planes, FFHQ, SIDE, align_corners=align_corners)
    found = picture(browser, tmp_path / "p.html", f"#yaw={pose[0]}&pitch={pose[1]}", tmp_path / "p.png")
    cameras = FFHQ.cameras(torch.tensor(pose[:1]), torch.tensor(pose[1:]), SIDE)
    expected = render(mpi.colours, mpi.alpha, planes, cameras, align_corners=align_corners).image[0]
    assert (found - expected).abs().mean() < 0.01
    frontal = render(mpi.colours, mpi.alpha, planes, FFHQ.cameras(torch.zeros(1), torch.zeros(1), SIDE)).image[0]
    if pose != (0.0, 0.0):
        assert (frontal - expected).abs().mean() > 0.05  # what a page that does not move would be off by


@pytest.mark.browser
def test_the_pointer_moves_every_plane_where_the_camera_sees_it(browser, sample, tmp_path):
    mpi, planes = sample
    write_page(tmp_path / "p.html", mpi, planes, FFHQ, SIDE)
    moved = """<script>
    const box = view.getBoundingClientRect();
    view.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + 0.75 * box.width, clientY: box.top}));
    document.body.dataset.found = JSON.stringify(
      [Number(view.dataset.yaw), Number(view.dataset.pitch), pictures.map(p => p.style.transform)]);
    </script>"""
    text = (tmp_path / "p.html").read_text().replace("</html>", moved + "</html>")
    (tmp_path / "moved.html").write_text(text)
    answer = re.search(r"data-found=\"(.*?)\"", run(browser, f"file://{tmp_path}/moved.html", "--dump-dom"))[1]
    yaw, pitch, transforms = json.loads(answer.replace("&quot;", '"'))
    assert yaw == pytest.approx(0.5 * 2 * 0.289)
    assert pitch == pytest.approx(2 * 0.127)
    camera = FFHQ.cameras(torch.tensor([yaw]), torch.tensor([pitch]), SIDE)
    for transform, (z, height, width) in zip(transforms, planes.tolist(), strict=True):
        values = [float(v) for v in transform.removeprefix("matrix3d(").removesuffix(")").split(",")]
        matrix = np.array(values).reshape(4, 4).T
        for u, v in ((0.5, 0.5), (63.5, 0.5), (10, 50)):  # texels; the first centres lie on the plane's corners
            x, y, _, w = matrix @ [u * SIDE / 64, v * SIDE / 64, 0, 1]
            point = torch.tensor([[[((u - 0.5) / 63 - 0.5) * width, ((v - 0.5) / 63 - 0.5) * height, z]]])
            expected = camera.project(point)[0][0, 0]
            assert np.allclose([x / w, y / w], expected.numpy(), atol=0.02)
