"""Published checkpoints of both kinds, synthesised in their layout."""

import argparse
import json
import pathlib

import pytest
import torch

from likeness.errors import UserError
from likeness.geometry.body import BodyModel
from likeness.methods.neural_actor.networks.actor import ActorNetwork, NetworkConfig
from likeness.methods.neural_actor.published import load_renderer, load_texture_predictor
from likeness.methods.neural_actor.vid2vid.blocks import add_spectral_norm
from likeness.methods.neural_actor.vid2vid.discriminator import DiscriminatorConfig, TextureDiscriminator
from likeness.methods.neural_actor.vid2vid.generator import GeneratorConfig, TextureGenerator

SMALL = GeneratorConfig(size=256, filters=2, max_filters=8, latent=5, flow_filters=2, flow_blocks=2)
SMALL_JUDGES = DiscriminatorConfig(
    image_filters=4, image_layers=2, temporal=2, temporal_filters=4, temporal_layers=1, temporal_scales=2
)


def stand_in(shape, dtype="float32"):
    """A tensor of any shape that takes no room in a file."""
    return torch.zeros((), dtype=getattr(torch, dtype)).expand(shape)


def layout(parity_dir, name):
    keys = json.loads((parity_dir / "neural_actor" / "keys.json").read_text())[name]
    sizes = {"N": 6, "J": 3, "F": 4, "M": 4}
    return {key: stand_in([sizes.get(side, side) for side in shape], dtype) for key, (shape, dtype) in keys.items()}


def test_NA25_renderer_in_the_published_layout(parity_dir, tmp_path):
    state = layout(parity_dir, "neural_actor")
    state["encoder.faces"] = torch.zeros(4, 3, dtype=torch.int64)
    state["field.bg_color.bg_color"] = torch.tensor([1.0, 0.5, -1.0])
    flags = argparse.Namespace(
        inputs_to_texture=NetworkConfig().inputs_to_texture, use_local_coordinate=True, mesh="/home/author/c.obj"
    )
    path = tmp_path / "nerf_x.pt"
    torch.save({"args": flags, "model": state, "optimizer_history": [], "extra_state": {"epoch": 3}}, path)
    network = load_renderer(path, canonical_bones=torch.eye(4).expand(3, 4, 4))
    assert network.config == NetworkConfig()
    assert network.field.background.tolist() == [1.0, 0.5, -1.0]
    assert network.encoder.vertices.shape == (6, 3) and not network.training


def small_renderer():
    body = BodyModel(
        torch.rand(4, 3), torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.rand(2, 3, 2), torch.full((4, 2), 0.5)
    )
    config = NetworkConfig(
        width=8,
        density_width=4,
        texture_layers=1,
        inputs_to_texture="feat:0:8,attnout:0:8,texture:0:8,ray:4:3:b",
        texture_encoder_layers=2,
        texture_encoder_width=4,
        texture_encoder_blocks=(1, 1, 1, 1),
        use_local_coordinate=False,
    )
    return ActorNetwork(body, config)


def test_NA25_renderer_weights_arrive_without_the_unused_level_and_with_the_fine_field(tmp_path):
    network = small_renderer()
    state = {key: value for key, value in network.state_dict().items() if ".layer4." not in key}
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    coarse = {key: value + 1 for key, value in state.items() if key.startswith("field.")}
    fine = {key.replace("field.", "field_fine.", 1): v for key, v in state.items() if key.startswith("field.")}
    names = ("inputs_to_texture", "texture_encoder_layers", "use_local_coordinate")
    flags = argparse.Namespace(**{name: getattr(network.config, name) for name in names})
    path = tmp_path / "nerf_x.pt"
    torch.save({"args": flags, "model": state | coarse | fine}, path)
    read = load_renderer(path)
    assert read.config.texture_layers == 1 and not read.config.use_local_coordinate
    for key, value in read.state_dict().items():
        if key in state:
            torch.testing.assert_close(value, state[key])


def texture_checkpoint(temporal=True, averaged=True):
    generator, judges = TextureGenerator(SMALL), TextureDiscriminator(SMALL_JUDGES)
    state = {f"module.averaged_model.{k}": v.clone() for k, v in generator.state_dict().items()} if averaged else {}
    plain = TextureGenerator(SMALL)
    plain.load_state_dict(generator.state_dict())
    add_spectral_norm(plain), add_spectral_norm(judges)
    state |= {f"module.module.{key}": value for key, value in plain.state_dict().items()}
    state["module.num_updates_tracked"] = torch.tensor(7)
    kept = {f"module.{k}": v for k, v in judges.state_dict().items() if temporal or not k.startswith("net_DT")}
    return generator, {"net_G": state, "net_D": kept, "opt_G": {}, "current_epoch": 4, "current_iteration": 90}


@pytest.mark.parametrize("temporal", [True, False])
def test_NA25_texture_predictor_with_and_without_temporal_discriminators(tmp_path, temporal):
    generator, content = texture_checkpoint(temporal)
    path = tmp_path / "vid2vid_x.pt"
    torch.save(content, path)
    read = load_texture_predictor(path)
    assert read.generator.config == SMALL and (read.epoch, read.iteration) == (4, 90)
    for key, value in read.generator.state_dict().items():
        torch.testing.assert_close(value, generator.state_dict()[key])
    assert read.discriminator.temporal == (2 if temporal else 0)
    assert {f"module.{key}" for key in read.discriminator.state_dict()} == set(content["net_D"])
    trained = {f"module.module.{key}": value for key, value in read.trained.state_dict().items()}
    assert all(torch.equal(content["net_G"][key], value) for key, value in trained.items())
    only = load_texture_predictor(path, inference=True)
    assert only.trained is None and only.discriminator is None


def test_NA25_texture_predictor_without_an_average_is_folded(tmp_path):
    _, content = texture_checkpoint(averaged=False)
    path = tmp_path / "vid2vid_x.pt"
    torch.save(content, path)
    read = load_texture_predictor(path)
    label = torch.rand(1, 3, 256, 256) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(read.generator(label).image, read.trained.eval()(label).image, atol=1e-5, rtol=0)


def test_NA25_texture_predictor_in_the_published_layout(parity_dir, tmp_path):
    state = {f"module.averaged_model.{k}": v for k, v in layout(parity_dir, "vid2vid.net_G.averaged_model").items()}
    path = tmp_path / "vid2vid_x.pt"
    torch.save({"net_G": state, "net_D": {}, "current_epoch": 80}, path)
    assert load_texture_predictor(path, inference=True).generator.config == GeneratorConfig()


class Trap:
    """Runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


@pytest.mark.parametrize("load", [load_renderer, load_texture_predictor])
def test_NA25_files_that_hold_code_or_something_else_are_refused(tmp_path, load):
    mark, path = tmp_path / "ran", tmp_path / "x.pt"
    torch.save({"model": {}, "net_G": {}, "args": Trap(mark)}, path)
    with pytest.raises(UserError, match="not only tensors"):
        load(path)
    assert not mark.exists()
    torch.save({"model": {"a": torch.zeros(1)}, "net_G": {"module.averaged_model.a": torch.zeros(1)}}, path)
    with pytest.raises(UserError, match="holds no"):
        load(path)
    torch.save([1], path)
    with pytest.raises(UserError, match="expected a checkpoint's dictionary"):
        load(path)
