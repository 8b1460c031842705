"""Textures for poses that nobody filmed: normal maps of the posed body, and what the predictor makes of them."""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from likeness.geometry.body import Pose
from likeness.media.image import from_uint8, resize, write_image
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.maps import layout, normal_map
from likeness.methods.neural_actor.vid2vid.infer import load_generator, predict_sequence


def predict_textures(
    avatar: Avatar, poses: Sequence[Pose], run: Path, out: Path, side: int | None = None, device: str = "cpu"
) -> list[Path]:
    """Write OUT/normal/%06d.png and OUT/tex/%06d.png, one a pose, in order; returns the texture maps.

    Args:
        avatar: whose body is posed.
        poses: successive moments of one motion: a texture continues the one before.
        run: of stage texture.
        out: folder of the maps.
        side: to which texture maps are brought; None keeps the predictor's.
        device: of the predictor.

    Raises:
        UserError: no such run, or poses of another rig.
    """
    generator = load_generator(run, device=device)
    encoder = avatar.network.encoder
    faces = encoder.faces.cpu()
    where = layout(encoder.face_uv.cpu(), generator.config.size)
    normals = []
    for index, pose in enumerate(track(poses, "normal maps", transient=True)):
        body = avatar.pose(pose)
        drawn = normal_map(body.pose.to_world(body.vertices).cpu(), faces, where)
        write_image(out / "normal" / f"{index:06d}.png", drawn, synthetic=True)
        normals.append(drawn)
    paths = [out / "tex" / f"{index:06d}.png" for index in range(len(poses))]
    textures = predict_sequence(generator, (from_uint8(drawn) for drawn in normals))
    for path, texture in zip(track(paths, "textures", transient=True), textures):
        write_image(path, texture if side is None else resize(texture, (side, side)), synthetic=True)
    return paths
