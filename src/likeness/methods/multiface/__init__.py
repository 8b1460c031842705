"""Multiface: a deep appearance model of one person from a multi-view studio capture (arXiv 2207.11243)."""

from likeness.engine import Method, StageEntry

_HERE = "likeness.methods.multiface"

METHOD = Method(
    name="multiface",
    summary="deep appearance model: a mesh and a view-dependent texture from one latent code a frame",
    stages={"avatar": StageEntry(f"{_HERE}.method:AvatarStage", f"{_HERE}.config:PRESETS")},
    verbs={
        "capture": "likeness.capture.multiface:capture_multiface",
        "download": f"{_HERE}.download:download",
        "evaluate": f"{_HERE}.evaluate:evaluate",
        "animate": f"{_HERE}.animate:animate",
        "export": f"{_HERE}.export:export",
        "import": f"{_HERE}.published:import_weights",
        "check": f"{_HERE}.check:check",
    },
    compat=f"{_HERE}.compat:rewrite",
    demo=f"{_HERE}.demo:demo",
)
