"""The driven actor: from a sequence of poses alone to a video, through predicted texture maps."""

import pytest
import torch

from likeness.cli.main import run as command
from likeness.engine import train
from likeness.errors import UserError
from likeness.formats.actor import read_frames, read_transform
from likeness.geometry.body import BodyModel, posed_vertices
from likeness.media.image import read_image, read_uint8
from likeness.media.video import count_frames
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.maps import layout, normal_map
from likeness.methods.neural_actor.vid2vid.config import TextureConfig
from likeness.methods.neural_actor.vid2vid.discriminator import DiscriminatorConfig
from likeness.methods.neural_actor.vid2vid.generator import GeneratorConfig
from likeness.methods.neural_actor.vid2vid.infer import load_generator, predict_sequence
from likeness.methods.neural_actor.vid2vid.method import TextureStage
from tests.methods.neural_actor.stand_in import write_actor, write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An opaque stand-in's run, its data without texture maps beside the poses, and a predictor trained for a step."""
    folder = tmp_path_factory.mktemp("driven")
    data = write_actor(folder / "data")
    renderer = write_run(folder / "run", data, opaque=120.0)
    command(["extract", "normals", str(data), "--size", "256"])
    settings = TextureConfig(
        data=data,
        experiment_dir=folder,
        experiment_name="texture",
        accelerator="cpu",
        epochs=1,
        max_updates=1,
        clip_first=2,
        visuals_every=0,
        generator=GeneratorConfig(size=256, filters=2, max_filters=4, latent=4, flow_filters=2, flow_blocks=1),
        discriminator=DiscriminatorConfig(
            image_filters=2, image_layers=2, temporal_filters=2, temporal_layers=1, max_filters=4
        ),
    )
    texture = train(TextureStage, settings, method="neural_actor", stage="texture", argv=[])
    poses = write_actor(folder / "poses", frames=4, bends=0.3)
    for file in (poses / "tex").iterdir():
        file.unlink()
    return renderer, texture.folder, data, poses


def test_NA20_one_command_leads_from_poses_to_a_video(runs, tmp_path):
    run, texture, _, poses = runs
    line = f"animate neural_actor --run {run} --texture-run {texture} --poses {poses} --out {tmp_path}"
    command([*line.split(), "--resolution", "24", "24"])
    assert len(list((tmp_path / "color").glob("*.png"))) == 4
    assert count_frames(next(tmp_path.glob("full_*.mp4"))) == 4
    textures = [read_image(path) for path in sorted((tmp_path / "tex").iterdir())]
    assert [tuple(each.shape) for each in textures] == [(3, 32, 32)] * 4  # the size that the renderer learned from
    network = Avatar.from_run(run).network.encoder
    body = BodyModel(network.vertices, network.faces, network.face_uv, network.weights)
    where = layout(body.face_uv, 256)
    normals = sorted((tmp_path / "normal").iterdir())
    for path, frame in zip(normals, read_frames(poses, maps=False), strict=True):
        drawn = normal_map(posed_vertices(body, read_transform(frame.transform)), body.faces, where)
        assert (drawn == read_uint8(path)).mean() > 0.999
    predicted = list(predict_sequence(load_generator(texture), (read_image(path) for path in normals)))
    small = torch.nn.functional.interpolate(
        torch.stack(predicted), (32, 32), mode="bicubic", antialias=True, align_corners=False
    )
    torch.testing.assert_close(small.clamp(0, 1), torch.stack(textures), atol=0.01, rtol=0)


def test_NA20_poses_without_textures_and_two_sources_of_them_are_named(runs, tmp_path):
    run, texture, data, poses = runs
    line = f"animate neural_actor --run {run} --poses {poses} --out {tmp_path}".split()
    with pytest.raises(UserError, match="has no texture map beside it"):
        command(line)
    with pytest.raises(UserError, match="give one of them"):
        command([*line, "--texture-run", str(texture), "--textures", str(data / "tex")])
    with pytest.raises(UserError, match="expected one of neural_actor texture"):
        command([*line, "--texture-run", str(run)])
    with pytest.raises(UserError, match="brings neither cameras nor poses"):
        command(["animate", "neural_actor", "--out", str(tmp_path)])
