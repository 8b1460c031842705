"""`likeness doctor`: what this machine has, what is missing, and how to get it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import likeness
from likeness.metrics.inception import PUBLISHED as INCEPTION
from likeness.metrics.lpips import HEADS_INSTALL, PUBLISHED, ST_LPIPS_INSTALL
from likeness.perception import arcface, identity, runtime

EXTRAS = (
    ("mediapipe", "mediapipe", "faces, masks, bodies", runtime.INSTALL),
    ("dlib-bin", "dlib", "identity (CSIM by dlib)", identity.INSTALL),
    ("face-recognition-models", "face_recognition_models", "the weights of dlib's identity network", identity.INSTALL),
    ("lpips", "lpips", "LPIPS: linear calibration", HEADS_INSTALL),
    ("stlpips-pytorch", "stlpips_pytorch", "st-lpips, a perceptual distance without download", ST_LPIPS_INSTALL),
    ("onnx", "onnx", "export to ONNX", 'python -m pip install "likeness[export]"'),
    ("onnxruntime", "onnxruntime", "masks by a model of one's own", 'python -m pip install "likeness[export]"'),
    ("ray", "ray", "extraction over many machines", 'python -m pip install "likeness[ray]"'),
)
"""(distribution, module, what it is for, how to get it)."""

WEIGHTS = (
    ("LPIPS (vgg)", PUBLISHED["vgg"]),
    ("LPIPS (alex)", PUBLISHED["alex"]),
    ("CSIM by ArcFace", arcface.PUBLISHED),
    ("FID, KID", INCEPTION),
)
"""(what, which file): published weights that are never downloaded but given by path."""

REQUIRED = ("torch", "numpy", "av", "opencv-python-headless", "pillow", "warp-lang", "anny", "lightning-fabric")


def doctor() -> None:
    """Say which versions, devices, extras and weights are there, and how to get what is missing."""
    console = Console(soft_wrap=True)
    console.print(f"likeness {likeness.__version__}, Python {platform.python_version()}, {platform.platform()}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    console.print(
        f"{os.cpu_count()} processors (torch computes on {torch.get_num_threads()}), {memory:.1f} GiB memory, "
        f"{free:.1f} GiB free here"
    )
    for line in devices():
        console.print(line)
    packages = _table("required", "version")
    for name in REQUIRED:
        packages.add_row(name, version(name) or "[red]missing[/]: run `make setup` again")
    console.print(packages)
    extras = _table("optional", "version", "for")
    commands = []
    for name, module, purpose, command in EXTRAS:
        found = version(name) if importlib.util.find_spec(module) is not None else None
        extras.add_row(name, found or "[yellow]missing[/]", purpose)
        if not found:
            commands.append(command)
    console.print(extras)
    if commands:
        console.print("What is missing is installed with:")
        for command in dict.fromkeys(commands):  # outside of the table, whose columns would break the line
            console.print(f"  {_escaped(command)}")
    mediapipe = version("mediapipe")
    if mediapipe is not None and mediapipe != runtime.VERSION:
        console.print(
            f"[yellow]mediapipe {mediapipe} brings no models[/], {runtime.VERSION} does: {_escaped(runtime.INSTALL)}"
        )
    weights = _table(
        "published weights", "the file to pass by path; without it another measure is shown under its own name"
    )
    for what, file in WEIGHTS:
        weights.add_row(what, _escaped(file))
    console.print(weights)


def devices() -> list[str]:
    """One line for each accelerator that torch can use, or one that says there is none."""
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(f"cuda:{index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        found.append("mps: Apple GPU")
    return found or ["no GPU that torch can use: everything runs on the CPU"]


def version(distribution: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
