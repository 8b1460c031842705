"""A method as the command line knows it: its stages, presets and verbs, by name."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from likeness.engine.config import EngineConfig
from likeness.engine.stage import Stage


def resolve(target: str) -> Any:
    """Import `"package.module:name"`."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class StageEntry:
    """Where a stage's class and its presets are; each a `"module:name"`."""

    stage: str
    """A `Stage` subclass."""
    presets: str
    """A mapping of preset name to configuration; the first is the default."""

    def load(self) -> type[Stage]:
        """The stage's class."""
        return resolve(self.stage)

    def load_presets(self) -> Mapping[str, EngineConfig]:
        """Preset name -> configuration."""
        return resolve(self.presets)


@dataclass(frozen=True)
class Method:
    """One method; everything is imported on first use only, so that the command line starts quickly."""

    name: str
    summary: str
    """One line for the overview."""
    stages: Mapping[str, StageEntry]
    """Stage name -> entry; the first is the default of `likeness train`."""
    verbs: Mapping[str, str] = field(default_factory=dict)
    """`likeness VERB <method>` -> a function whose signature is the command line."""
    commands: Mapping[str, str] = field(default_factory=dict)
    """`likeness COMMAND`: verbs that only this method has."""
    compat: str | None = None
    """A function (verb, arguments) -> arguments that rewrites the original's flag lines to ours."""
    demo: str | None = None
    """A function (folder, minutes, seed) -> section of the demo page."""
