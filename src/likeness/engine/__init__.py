"""Training of any method: loop, run directory, checkpoints, logs, devices and processes."""

from likeness.engine.batch import collate, count, sample, shared, split, to_device
from likeness.engine.batches import Batches, IndexedBatches, iterate, permutation
from likeness.engine.checkpoints import Checkpoints, Tag, load_tensors, load_weights
from likeness.engine.config import EngineConfig
from likeness.engine.context import Context, noise_seed
from likeness.engine.method import Method, StageEntry
from likeness.engine.run import Run, load_network
from likeness.engine.specs import AverageSpec, OptimizerSpec, UpdateSpec
from likeness.engine.stage import EpochReport, Stage, evaluating
from likeness.engine.trainer import Interrupted, train
from likeness.engine.updates import Updates

__all__ = [
    "AverageSpec",
    "Batches",
    "Checkpoints",
    "Context",
    "EngineConfig",
    "EpochReport",
    "IndexedBatches",
    "Interrupted",
    "Method",
    "OptimizerSpec",
    "Run",
    "Stage",
    "StageEntry",
    "Tag",
    "UpdateSpec",
    "Updates",
    "collate",
    "count",
    "evaluating",
    "iterate",
    "load_network",
    "load_tensors",
    "load_weights",
    "noise_seed",
    "permutation",
    "sample",
    "shared",
    "split",
    "to_device",
    "train",
]
