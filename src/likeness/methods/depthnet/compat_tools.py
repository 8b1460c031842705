"""The flag lines of the original exporters, `warp_dataset.py` and the CycleGAN launcher, rewritten to ours."""

from collections.abc import Sequence
from pathlib import Path

from likeness.errors import UserError

DROPPED = {
    "export": {
        "network": "the checkpoint says which network it is",
        "learn_m": "the checkpoint says whether the affine is learned",
        "cpu": "exports run on the CPU",
    },
    "warp": {"server_exec": "faces are painted without a server"},
    "repair train": {
        "dataset": "--data names the archives",
        "mode": "training and testing are commands of their own",
        "model_save_path": "checkpoints lie in the run",
        "network": "--task says how many channels the domains have",
        "cpu": "",
    },
}
"""Command -> flags of the original that it has no use for -> why."""

SWITCHES = {"learn_m", "cpu"}
RENAMED = {"name": "experiment-name", "save_path": "experiment-dir"}
TASKS = {"block9_a6b3": "background", "block9_a3b3": "faceswap"}
DATASETS = {"depthnet_bg_vs_frontal": "background", "depthnet_bg_vs_all": "background"}


def rewrite_tools(command: str, arguments: Sequence[str]) -> list[str]:
    """Rewrite the words after `likeness COMMAND`; lines of ours come back as they are.

    Raises:
        UserError: a flag asks for what another command does.
    """
    words: list[str] = []
    rest = list(arguments)
    task: str | None = None
    while rest:
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if not word.startswith("--") or name not in DROPPED[command]:
            new = RENAMED.get(name) if command == "repair train" and word.startswith("--") else None
            words.append(word if new is None else f"--{new}{equals}{value}")
            continue
        if name not in SWITCHES and not equals:
            if not rest:
                raise UserError(f"--{name} needs a value")
            value = rest.pop(0)
        if command == "repair train":
            task = _repair_task(name, value) or task
            if name == "cpu":
                words += ["--accelerator", "cpu"]
                continue
        print(f"--{name}: dropped, {DROPPED[command][name]}")
    if task is not None and not any(word.startswith("--task") for word in words):
        words += ["--task", task]
    return words


def _repair_task(name: str, value: str) -> str | None:
    if name == "mode" and value in ("test", "vis"):
        raise UserError(f"--mode {value} does not train: use `likeness repair test --run RUN --out DIR`")
    if name == "dataset":
        if value == "depthnet_bg_vs_all":
            print("--dataset depthnet_bg_vs_all: its archive was never published; name yours by --data")
        return DATASETS.get(value)
    return TASKS.get(Path(value).stem) if name == "network" else None
