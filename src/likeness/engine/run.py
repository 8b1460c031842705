"""The run directory: where everything that a training writes has its place."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from likeness.engine.checkpoints import Checkpoints, Tag, load_tensors, load_weights
from likeness.engine.config import EngineConfig, read_config, read_header, write_config
from likeness.errors import UserError
from likeness.files import write_text

C = TypeVar("C", bound=EngineConfig)


@dataclass(frozen=True)
class Run:
    """`experiment_dir/runs/experiment_name/`.

    `config.yaml`, `args.txt`, `checkpoints/`, `images/{train,test}/`, `metrics/` and `tensorboard_paper/`
    (TensorBoard), `losses.pkl`, `log.jsonl`; a method may add files.
    """

    folder: Path

    @classmethod
    def of(cls, config: EngineConfig) -> "Run":
        """The run that `config` names."""
        return cls(config.experiment_dir / "runs" / config.experiment_name)

    @classmethod
    def open(cls, folder: str | Path, method: str | None = None, stage: str | None = None) -> "Run":
        """An existing run, of `method` and `stage` where these are named.

        Raises:
            UserError: `folder` is not a run directory, or one of another method or stage.
        """
        run = cls(Path(folder))
        if not run.config_file.is_file():
            raise UserError(
                "is not a run: expected a folder with config.yaml, as `likeness train` writes it", path=folder
            )
        if method is not None:
            header = run.header()
            found = [str(header.get("method")), str(header.get("stage"))]
            wanted = [method] if stage is None else [method, stage]
            if found[: len(wanted)] != wanted:
                raise UserError(f"is a run of {' '.join(found)}, expected one of {' '.join(wanted)}", path=folder)
        return run

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.folder / "config.yaml"

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        return Checkpoints(self.folder / "checkpoints")

    def images(self, phase: str) -> Path:
        """The folder of pictures of `phase` ("train" or "test")."""
        return self.folder / "images" / phase

    def header(self) -> dict[str, Any]:
        """Method, stage, parents and the plain configuration."""
        return read_header(self.config_file)

    def config(self, kind: type[C]) -> C:
        """The configuration that the run was trained with."""
        return read_config(self.config_file, kind)

    def record(self, method: str, stage: str, parents: tuple[str, ...], config: EngineConfig, argv: list[str]) -> None:
        """Write `config.yaml` and `args.txt`."""
        write_config(self.config_file, {"method": method, "stage": stage, "parents": list(parents)}, config)
        write_text(self.folder / "args.txt", shlex.join(argv) + "\n")

    def load(self, name: str, network: nn.Module, which: str = "last") -> Tag:
        """Fill `network` from checkpoint `which` (`last`, `best` or a tag); returns the tag."""
        tag = self.checkpoints.find(which)
        self.checkpoints.load_network(tag, name, network)
        return tag


def load_network(source: str | Path, name: str, network: nn.Module, which: str = "last") -> None:
    """Fill `network` from a run directory or from a file of its weights.

    Raises:
        UserError: `source` is neither, or holds another architecture.
    """
    source = Path(source)
    if source.is_dir():
        Run.open(source).load(name, network, which)
        return
    load_weights(network, load_tensors(source), source)
