"""A run in the browser: its curves, its pictures over time, its meshes."""

import re
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import trimesh
import tyro
import viser
import viser.uplot

from likeness.engine.logs import read_log
from likeness.engine.run import Run
from likeness.errors import UserError
from likeness.media.image import read_uint8

MESHES = (".ply", ".obj", ".glb")


def view(
    run: Annotated[Path, tyro.conf.Positional], host: str = "127.0.0.1", port: int = 8080, seconds: float | None = None
) -> None:
    """Show a run in the browser, and follow it while it trains.

    Args:
        run: a run's folder.
        host: address to serve on; 0.0.0.0 lets other machines look.
        port: port to serve on.
        seconds: stop after this time; without it, at Ctrl-C.
    """
    opened = Run.open(run)
    server = viser.ViserServer(host=host, port=port, verbose=False)
    print(f"open http://{host}:{server.get_port()} in a browser; Ctrl-C ends")
    panel = Panel(server, opened)
    started = time.monotonic()
    try:
        while seconds is None or time.monotonic() - started < seconds:
            time.sleep(min(2.0, seconds or 2.0))
            panel.refresh()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


class Panel:
    """The page: header, curves, pictures and meshes of one run."""

    def __init__(self, server: viser.ViserServer, run: Run):
        self.server, self.run = server, run
        header = run.header()
        lines = "".join(f"- {name}: `{value}`\n" for name, value in header["config"].items())
        gui = server.gui
        gui.add_markdown(f"## {header['method']} / {header['stage']}\n`{run.folder.name}`")
        with gui.add_folder("configuration", expand_by_default=False):
            gui.add_markdown(lines)
        self.measure = gui.add_dropdown("curve", self._measures() or ("none yet",))
        blank = (np.arange(2.0), np.zeros(2))
        series = (viser.uplot.Series(label="update"), viser.uplot.Series(label="value", stroke="#3a7", width=2))
        self.curve = gui.add_uplot(data=blank, series=series, scales={"x": viser.uplot.Scale(time=False)}, aspect=1.6)
        self.name = gui.add_dropdown("picture", self._names() or ("none yet",))
        self.moment = gui.add_slider("moment", 0, 1, 1, 0)
        self.picture = gui.add_image(np.zeros((8, 8, 3), np.uint8))
        self.measure.on_update(lambda _: self.refresh())
        self.name.on_update(lambda _: self.refresh())
        self.moment.on_update(lambda _: self._show_picture())
        self._add_meshes()
        self.refresh()

    def refresh(self) -> None:
        """Read what the run has written since."""
        for dropdown, found in ((self.measure, self._measures()), (self.name, self._names())):
            if found and tuple(dropdown.options) != found:
                dropdown.options = found
        points = self._points(self.measure.value)
        if len(points) > 1:
            self.curve.data = (points[:, 0].copy(), points[:, 1].copy())
        moments = self._moments(self.name.value)
        if len(moments) > 1 and self.moment.max != len(moments) - 1:
            self.moment.max = len(moments) - 1
            self.moment.value = len(moments) - 1  # type: ignore[misc]
        self._show_picture()

    def _measures(self) -> tuple[str, ...]:
        names = {f"{line['kind']}/{name}": None for line in self._lines() for name in self._scalars(line)}
        return tuple(sorted(names))

    def _points(self, measure: str) -> np.ndarray:
        kind, _, name = measure.partition("/")
        found = [
            (line["update"], self._scalars(line)[name])
            for line in self._lines()
            if line["kind"] == kind and name in self._scalars(line)
        ]
        return np.asarray(found, dtype=float).reshape(-1, 2)

    def _lines(self) -> list[dict]:
        path = self.run.folder / "log.jsonl"
        return [line for line in read_log(path) if line["kind"] != "epoch"] if path.is_file() else []

    @staticmethod
    def _scalars(line: dict) -> dict[str, float]:
        skipped = {"kind", "epoch", "update", "lr", "pace"}
        return {name: value for name, value in line.items() if name not in skipped and isinstance(value, float)}

    def _names(self) -> tuple[str, ...]:
        files = [path for phase in ("test", "train") for path in self.run.images(phase).glob("*.png")]
        return tuple(sorted({f"{path.parent.name}/{path.stem.partition('_')[2]}" for path in files}))

    def _moments(self, name: str) -> list[Path]:
        phase, _, stem = name.partition("/")
        files = self.run.images(phase).glob(f"*_{stem}.png") if stem else []
        return sorted(
            (path for path in files if path.stem.partition("_")[2] == stem),
            key=lambda path: [int(part) for part in re.findall(r"\d+", path.stem.partition("_")[0])],
        )

    def _show_picture(self) -> None:
        moments = self._moments(self.name.value)
        if moments:
            chosen = moments[min(int(self.moment.value), len(moments) - 1)]
            self.picture.image = read_uint8(chosen)
            self.picture.label = chosen.name

    def _add_meshes(self) -> None:
        for path in sorted(path for path in self.run.folder.rglob("*") if path.suffix in MESHES)[:20]:
            try:
                mesh = trimesh.load_scene(path).to_mesh()
            except (ValueError, IndexError) as error:
                raise UserError(
                    f"is not a mesh that can be shown ({error}): remove it or mend it", path=path
                ) from error
            self.server.scene.add_mesh_trimesh(f"/{path.relative_to(self.run.folder)}", mesh)
