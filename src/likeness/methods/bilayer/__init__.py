"""Bi-layer head avatars: one photograph, driven by landmarks (Zakharov et al., ECCV 2020)."""

from likeness.engine.method import Method, StageEntry

METHOD = Method(
    name="bilayer",
    summary="one photograph becomes a head avatar that landmarks drive",
    stages={
        "base": StageEntry("likeness.methods.bilayer.method:BaseStage", "likeness.methods.bilayer.config:PRESETS"),
        "enhancer": StageEntry(
            "likeness.methods.bilayer.method:EnhancerStage", "likeness.methods.bilayer.config:ENHANCER_PRESETS"
        ),
    },
    verbs={
        "capture": "likeness.capture.bilayer:capture_bilayer",
        "animate": "likeness.methods.bilayer.animate:animate",
        "evaluate": "likeness.methods.bilayer.evaluate:evaluate",
        "import": "likeness.methods.bilayer.published:import_published",
        "infer": "likeness.methods.bilayer.infer:infer",
        "export": "likeness.methods.bilayer.export:export",
        "export weights": "likeness.methods.bilayer.export_weights:export_weights",
    },
    commands={"personalize": "likeness.methods.bilayer.personalize:personalize"},
    compat="likeness.methods.bilayer.compat:rewrite",
    demo="likeness.methods.bilayer.demo:demo",
)
