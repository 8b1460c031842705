"""Checkpoints: whole or not there, found by name, read with tensors only."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from likeness.errors import UserError
from likeness.files import atomic_path, require_free_space, write_text
from likeness.media.image import IMAGE_SUFFIXES

_STATE = re.compile(r"^(\d+)(?:-(\d+))?_state\.pth$")


@dataclass(frozen=True)
class Tag:
    """Which moment of a run a checkpoint is: after `epoch` epochs, or within that epoch after `update` updates."""

    epoch: int
    update: int | None = None

    def __str__(self) -> str:
        return f"{self.epoch}" if self.update is None else f"{self.epoch}-{self.update}"

    @property
    def position(self) -> tuple[int, float]:
        """Order in time: an epoch's end comes after every update within it."""
        return self.epoch, float("inf") if self.update is None else self.update


def parse_tag(text: str) -> Tag:
    """`"12"` or `"12-3400"` as a tag."""
    epoch, _, update = text.partition("-")
    return Tag(int(epoch), int(update) if update else None)


class Checkpoints:
    """The folder `checkpoints/` of a run.

    A checkpoint is one `<tag>_<network>.pth` a network and, written last, `<tag>_state.pth`, whose presence is the
    mark that it is whole.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def whole(self) -> list[Tag]:
        """Finished checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [_STATE.match(path.name) for path in self.folder.iterdir()]
        tags = [Tag(int(match[1]), int(match[2]) if match[2] else None) for match in found if match]
        return sorted(tags, key=lambda tag: tag.position)

    def best(self) -> Tag | None:
        """The best checkpoint by the stage's measure, if one is marked and still there."""
        text = self._index().get("best")
        tag = None if text is None else parse_tag(text)
        return tag if tag in self.whole() else None

    def find(self, which: str = "last") -> Tag:
        """`last`, `best`, or a tag such as `12` or `12-3400`.

        Raises:
            UserError: there is no such finished checkpoint.
        """
        whole = self.whole()
        if which == "last" and whole:
            return whole[-1]
        if which == "best":
            best = self.best()
            if best is not None:
                return best
        if re.fullmatch(r"\d+(-\d+)?", which) and parse_tag(which) in whole:
            return parse_tag(which)
        names = ", ".join(map(str, whole[-10:])) or "none"
        raise UserError(f"has no finished checkpoint {which!r}; found: {names}", path=self.folder)

    def path(self, tag: Tag, network: str) -> Path:
        """The file of one network (or of `state`)."""
        return self.folder / f"{tag}_{network}.pth"

    def save(self, tag: Tag, networks: Mapping[str, nn.Module], state: Mapping[str, Any]) -> None:
        """Write a checkpoint; the state file comes last and makes it whole."""
        contents = {name: network.state_dict() for name, network in networks.items()}
        size = sum(_bytes(content) for content in [*contents.values(), state])
        require_free_space(self.folder, int(1.05 * size) + 2**20, "a checkpoint")
        for name, content in contents.items():
            with atomic_path(self.path(tag, name)) as temporary:
                torch.save(content, temporary)
        with atomic_path(self.path(tag, "state")) as temporary:
            torch.save(dict(state), temporary)

    def index(self, best: Tag | None) -> None:
        """Write `index.json`, which names `last` and `best` for readers that do not list the folder."""
        last = self.whole()[-1]
        document = {"last": str(last), "best": None if best is None else str(best)}
        write_text(self.folder / "index.json", msgspec.json.encode(document).decode())

    def retain(self, keep_last: int | None, keep_every: int | None, best: Tag | None) -> None:
        """Remove checkpoints beyond the newest `keep_last`, but never the best nor multiples of `keep_every`."""
        whole = self.whole()
        if keep_last is None or len(whole) <= keep_last:
            return
        for tag in whole[: len(whole) - keep_last]:
            number = tag.epoch if tag.update is None else tag.update
            if tag == best or (keep_every and number % keep_every == 0):
                continue
            # The mark of wholeness goes first: an interrupted removal leaves no checkpoint that looks whole.
            self.path(tag, "state").unlink()
            for path in self.folder.glob(f"{tag}_*.pth"):
                path.unlink()

    def load_state(self, tag: Tag) -> dict[str, Any]:
        """What `save` was given as `state`."""
        return load_tensors(self.path(tag, "state"))

    def load_network(self, tag: Tag, name: str, network: nn.Module) -> None:
        """Fill `network` from its file of checkpoint `tag`."""
        path = self.path(tag, name)
        load_weights(network, load_tensors(path), path)

    def _index(self) -> dict[str, Any]:
        try:
            return msgspec.json.decode((self.folder / "index.json").read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return {}


def load_tensors(path: str | Path) -> Any:
    """Read a `.safetensors` or torch file that holds tensors and plain containers, and nothing that could run.

    Raises:
        UserError: no such file, truncated, not a weights file, or one that holds code or foreign types.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError("no such checkpoint: give a run's folder or a file of weights", path=path) from error
    except IsADirectoryError as error:
        raise UserError("is a folder: give a checkpoint file", path=path) from error
    except pickle.UnpicklingError as error:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            raise UserError("is a picture: give a run's folder or a file of weights", path=path) from error
        reason = str(error)
        if "weights_only" in reason or "Unsupported" in reason or "GLOBAL" in reason.upper():
            blocked = re.search(r"GLOBAL ([\w.]+)|global ([\w.]+)|class ([\w.]+)", reason)
            named = next((group for group in blocked.groups() if group), "code") if blocked else "code"
            raise UserError(
                f"holds {named}, not only tensors, and was not opened: ask its author for a file of plain tensors",
                path=path,
            ) from error
        raise UserError(f"is not a weights file ({_first_line(error)}): download it again", path=path) from error
    except (RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, safetensors.SafetensorError) as error:
        raise UserError(
            f"is truncated or not a weights file ({_first_line(error)}): download it again", path=path
        ) from error


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Fill `network` from `weights`, names and shapes checked; a missing `num_batches_tracked` is tolerated.

    Raises:
        UserError: the weights are of another architecture; says which names or shapes differ.
    """
    expected = network.state_dict()
    missing = [name for name in expected if name not in weights and not name.endswith("num_batches_tracked")]
    surplus = [name for name in weights if name not in expected]
    shapes = [
        f"{name} is {tuple(weights[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if missing or surplus or shapes:
        found = [f"{len(missing)} missing (such as {missing[0]})"] if missing else []
        found += [f"{len(surplus)} unknown (such as {surplus[0]})"] if surplus else []
        found += [f"{len(shapes)} of another shape ({shapes[0]})"] if shapes else []
        raise UserError(
            f"holds weights of another architecture than {type(network).__name__}: {', '.join(found)}; "
            "give a checkpoint of this architecture or the configuration it was trained with",
            path=path,
        )
    network.load_state_dict(weights, strict=False)


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(_bytes(inner) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_bytes(inner) for inner in value)
    return 16


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
