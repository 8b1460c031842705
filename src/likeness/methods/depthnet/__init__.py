"""DepthNet: the depth of a face's 66 landmarks, learned without depth labels (Moniz et al., NeurIPS 2018)."""

from likeness.engine.method import Method, StageEntry

_HERE = "likeness.methods.depthnet"

METHOD = Method(
    name="depthnet",
    summary="the depth of a face's landmarks, and faces turned and replaced by it (Moniz et al., NeurIPS 2018)",
    stages={
        "depth": StageEntry(f"{_HERE}.method:DepthStage", f"{_HERE}.config:PRESETS"),
        "aign": StageEntry(f"{_HERE}.method:AignStage", f"{_HERE}.config:AIGN_PRESETS"),
        "repair": StageEntry(f"{_HERE}.repair.method:RepairStage", f"{_HERE}.repair.config:PRESETS"),
    },
    verbs={
        "capture": "likeness.capture.depthnet:capture_faces",
        "prepare": f"{_HERE}.prepare:prepare",
        "animate": f"{_HERE}.animate:animate",
        "evaluate": f"{_HERE}.evaluate:evaluate",
        "import": f"{_HERE}.transfer:import_published",
        "figures": f"{_HERE}.figures:figures",
        "export": f"{_HERE}.transfer:export_layout",
        "export single": f"{_HERE}.export:export_single",
        "export multi": f"{_HERE}.export:export_multi",
        "export anim": f"{_HERE}.export:export_animation",
    },
    commands={
        "warp": f"{_HERE}.warp_dataset:warp_dataset",
        "overlay": f"{_HERE}.overlay:overlay",
        "repair data": f"{_HERE}.repair.build:repair_data",
        "repair train": f"{_HERE}.repair.apply:repair_train",
        "repair test": f"{_HERE}.repair.apply:repair_test",
        "repair apply": f"{_HERE}.repair.apply:repair_apply",
    },
    compat=f"{_HERE}.compat:rewrite",
    demo=f"{_HERE}.demo:demo",
)
