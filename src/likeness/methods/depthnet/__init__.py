"""DepthNet: the depth of a face's 66 landmarks, learned without depth labels (Moniz et al., NeurIPS 2018)."""

from likeness.engine.method import Method, StageEntry

_HERE = "likeness.methods.depthnet"

METHOD = Method(
    name="depthnet",
    summary="the depth of a face's landmarks, and faces turned and replaced by it (Moniz et al., NeurIPS 2018)",
    stages={
        "depth": StageEntry(f"{_HERE}.method:DepthStage", f"{_HERE}.config:PRESETS"),
        "aign": StageEntry(f"{_HERE}.method:AignStage", f"{_HERE}.config:AIGN_PRESETS"),
    },
    verbs={
        "prepare": f"{_HERE}.prepare:prepare",
        "evaluate": f"{_HERE}.evaluate:evaluate",
        "import": f"{_HERE}.transfer:import_published",
        "animate": f"{_HERE}.animate:animate",
        "figures": f"{_HERE}.figures:figures",
        "export": f"{_HERE}.export:export",
    },
    commands={
        "warp": f"{_HERE}.warp_dataset:warp_dataset",
        "overlay": f"{_HERE}.overlay:overlay_files",
    },
    compat=f"{_HERE}.compat:rewrite",
)
