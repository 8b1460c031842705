"""DepthNet's section of the demo page."""

from pathlib import Path

from likeness.media.report import Section
from likeness.methods.depthnet.demo_training import train_experiments

TRAINING_SHARE = 0.7


def demo(folder: Path, minutes: float, seed: int) -> Section:
    """Train experiments 1 and 3 on synthetic faces within `minutes` and show what they learned."""
    trained = train_experiments(folder, 60 * minutes * TRAINING_SHARE, seed)
    return Section(
        "DepthNet",
        "DepthNet learns the depth of a face's landmarks from pairs of faces, without being told any depth: it looks "
        "for the depths with which one affine camera carries the first face onto the second. Experiment 1 does this "
        "alone, experiment 3 with a critic that has seen true depths.",
        trained.figures,
        trained.rows,
    )
