"""Neural Actor: a filmed person from any view in any pose (Liu et al., SIGGRAPH Asia 2021)."""

from likeness.engine.method import Method, StageEntry

_HERE = "likeness.methods.neural_actor"

METHOD = Method(
    name="neural_actor",
    summary="a filmed person from any view: a radiance field around a skinned body (Liu et al., SIGGRAPH Asia 2021)",
    stages={
        "renderer": StageEntry(f"{_HERE}.method:RendererStage", f"{_HERE}.config:PRESETS"),
        "texture": StageEntry(f"{_HERE}.vid2vid.method:TextureStage", f"{_HERE}.vid2vid.config:PRESETS"),
    },
    verbs={
        "animate": f"{_HERE}.animate:animate",
        "capture": "likeness.capture.neural_actor:capture_neural_actor",
        "check": f"{_HERE}.check:check",
        "evaluate": f"{_HERE}.evaluate:evaluate",
        "export": f"{_HERE}.export:export",
        "evaluate scores": f"{_HERE}.scores:scores",
        "prepare": f"{_HERE}.prepare:prepare",
        "import": f"{_HERE}.import_run:import_published",
        "infer": f"{_HERE}.vid2vid.infer:infer",
        "prove": f"{_HERE}.proof:prove",
        "prove driven": f"{_HERE}.proof_driven:prove_driven",
    },
    commands={
        "extract actor": f"{_HERE}.extract:extract_actor",
        "extract normals": f"{_HERE}.extract_maps:extract_normals",
        "extract textures": f"{_HERE}.extract_maps:extract_textures",
    },
    compat=f"{_HERE}.compat:rewrite",
    demo=f"{_HERE}.demo:demo",
)
