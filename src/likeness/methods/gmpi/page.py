"""A multiplane image as a page that a browser shows with live parallax: transparent layers, CSS only, no server.

`parallax.html#yaw=0.3&pitch=-0.1` opens at that pose (radians).
"""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from likeness.files import write_text
from likeness.methods.gmpi.networks import MPI
from likeness.methods.gmpi.scene import Scene
from likeness.render.multiplane import INSET

TEMPLATE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Multiplane image</title>
<style>
body {{ margin: 0; background: #111; color: #ccc; font: 14px system-ui, sans-serif; text-align: center; }}
#view {{ position: relative; width: {side}px; height: {side}px; margin: 2rem auto 1rem; overflow: hidden;
  background: #000; cursor: grab; touch-action: none; }}
#view img {{ position: absolute; transform-origin: 0 0; left: 0; top: 0; image-rendering: auto; }}
</style>
<div id="view"></div><p>Move the pointer over the picture. Synthetic portrait, {count} planes.</p>
<script>
const scene = {scene};
const layers = {layers};
const view = document.getElementById("view");
const pictures = layers.map((source, index) => {{
  const picture = new Image(); picture.src = source; picture.dataset.plane = index; picture.draggable = false;
  picture.style.width = scene.side + "px"; picture.style.height = scene.side + "px";
  return picture;
}});
for (let index = pictures.length - 1; index >= 0; index--) view.appendChild(pictures[index]);
function show(yaw, pitch) {{
  const c = Math.cos(yaw), s = Math.sin(yaw), d = Math.cos(pitch), e = Math.sin(pitch), r = scene.radius;
  const right = [c, 0, s], down = [e * s, d, -e * c], forward = [-d * s, e, d * c];
  const eye = [r * d * s, -r * e, r - r * d * c];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  scene.planes.forEach(([z, tall, wide], index) => {{
    const height = tall * scene.reach, width = wide * scene.reach;
    // The texture's pixel (u, v) lies at corner + u * across + v * below in the world; a picture pixel is a homography.
    const corner = [-width / 2 - eye[0], -height / 2 - eye[1], z - eye[2]];
    const rows = [right, down, forward].map(axis => [
      dot(axis, [width / scene.side, 0, 0]), dot(axis, [0, height / scene.side, 0]), dot(axis, corner)]);
    const [x, y, w] = rows, f = scene.focal, h = scene.side / 2;
    const a = x.map((value, k) => f * value + h * w[k]), b = y.map((value, k) => f * value + h * w[k]);
    const matrix = [a[0], b[0], 0, w[0], a[1], b[1], 0, w[1], 0, 0, 1, 0, a[2], b[2], 0, w[2]];
    pictures[index].style.transform = "matrix3d(" + matrix.map(value => (value / w[2]).toFixed(9)).join(",") + ")";
  }});
  view.dataset.yaw = yaw; view.dataset.pitch = pitch;
}}
view.addEventListener("pointermove", event => {{
  const box = view.getBoundingClientRect();
  show(((event.clientX - box.left) / box.width * 2 - 1) * scene.yaw,
       (1 - (event.clientY - box.top) / box.height * 2) * scene.pitch);
}});
const asked = new URLSearchParams(location.hash.slice(1));
show(Number(asked.get("yaw")), Number(asked.get("pitch")));
</script></html>
"""


def layered(mpi: MPI, planes: Tensor) -> list[bytes]:
    """One RGBA PNG a plane of the first multiplane image, nearest first."""
    files = []
    for rgba in mpi.dense()[0].cpu():
        stream = io.BytesIO()
        pixels = np.round(rgba.clamp(0, 1).movedim(0, -1).numpy() * 255).astype(np.uint8)
        Image.fromarray(pixels, "RGBA").save(stream, format="PNG", optimize=True)
        files.append(stream.getvalue())
    return files


def write_page(
    path: str | Path, mpi: MPI, planes: Tensor, scene: Scene, side: int = 512, *, align_corners: bool = True
) -> None:
    """Write one self-contained `.html` file.

    Args:
        mpi: its first multiplane image is shown.
        planes: (P, 3) depth, height, width.
        scene: the camera.
        side: of the picture on the page, in CSS pixels.
        align_corners: see `render`.
    """
    # A browser draws a picture from its texels' outer edges; on a plane they lie beyond its corners.
    texels = mpi.alpha.shape[-1]
    reach = texels / (texels - 1) if align_corners else 1 / INSET
    focal = float(scene.cameras(planes.new_zeros(1), planes.new_zeros(1), side).intrinsics[0, 0])
    description = {
        "side": side,
        "focal": focal,
        "radius": scene.radius,
        "yaw": scene.yaw_std * scene.truncation,
        "pitch": scene.pitch_std * scene.truncation,
        "planes": planes.tolist(),
        "reach": reach,
    }
    layers = ["data:image/png;base64," + base64.b64encode(file).decode() for file in layered(mpi, planes)]
    page = TEMPLATE.format(side=side, count=len(planes), scene=json.dumps(description), layers=json.dumps(layers))
    write_text(path, page)
