"""GMPI: a 2-D GAN made 3-D aware by multiplane images (Zhao et al., ECCV 2022)."""

from likeness.engine.method import Method, StageEntry

_HERE = "likeness.methods.gmpi"

METHOD = Method(
    name="gmpi",
    summary="a StyleGAN2 turned into a generator of views from any side (Zhao et al., ECCV 2022)",
    stages={
        "gmpi": StageEntry(f"{_HERE}.method:GMPIStage", f"{_HERE}.config:GMPI_PRESETS"),
        "stylegan2": StageEntry(f"{_HERE}.stylegan2:StyleGAN2Stage", f"{_HERE}.config:STYLEGAN2_PRESETS"),
    },
    verbs={
        "animate": f"{_HERE}.animate:animate",
        "capture": "likeness.capture.gmpi:capture_gmpi",
        "evaluate": f"{_HERE}.evaluate:evaluate",
        "export": f"{_HERE}.animate:export",
        "import": f"{_HERE}.published:import_published",
        "invert": f"{_HERE}.invert:invert",
        "prove": f"{_HERE}.proof:prove",
    },
    commands={
        "extract portraits": f"{_HERE}.extract:extract_portraits",
    },
    compat=f"{_HERE}.compat:rewrite",
    demo=f"{_HERE}.demo:demo",
)
