"""Parts of the texture predictor: sizes, gradients, flow estimators, perceptual loss."""

import cv2
import numpy as np
import pytest
import torch

from likeness.errors import UserError
from likeness.methods.neural_actor.vid2vid.blocks import add_spectral_norm, fold_spectral_norm, initialise
from likeness.methods.neural_actor.vid2vid.discriminator import triple
from likeness.methods.neural_actor.vid2vid.flow import ScriptedFlow, dis_flow
from likeness.methods.neural_actor.vid2vid.flow_network import warp
from likeness.methods.neural_actor.vid2vid.generator import GeneratorConfig, TextureGenerator
from likeness.methods.neural_actor.vid2vid.losses import Vgg19, flow_confidence, perceptual_loss

SMALL = GeneratorConfig(size=256, filters=2, max_filters=8, latent=5, flow_filters=2, flow_blocks=1)


def test_generator_trains_on_every_kind_of_frame_and_folds():
    network = add_spectral_norm(initialise(TextureGenerator(SMALL), gain=1.0)).train()
    labels, images = torch.rand(1, 3, 3, 256, 256) * 2 - 1, []
    for t in range(3):
        history = (labels[:, :t], torch.stack(images, dim=1).detach()) if t else ()
        made = network(labels[:, t], *history)
        made.image.mean().backward()
        images.append(made.image)
    assert images[-1].shape == (1, 3, 256, 256) and made.flow.shape == (1, 2, 256, 256)
    # The published blocks on the way down own convolutions for a warped picture that they never get.
    resting = {key for key, parameter in network.named_parameters() if parameter.grad is None}
    assert resting == {key for key, _ in network.named_parameters() if key.startswith("down_") and ".mlps.1." in key}
    network.eval()
    with torch.no_grad():
        before = network(labels[:, 0]).image
        torch.testing.assert_close(fold_spectral_norm(network)(labels[:, 0]).image, before, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("size", "frames"), [(128, 3), (300, 3), (256, 0)])
def test_generator_sizes_that_cannot_work(size, frames):
    with pytest.raises(UserError, match="texture predictor needs"):
        GeneratorConfig(size=size, frames=frames)


def test_triples_wait_for_enough_frames():
    frames = [torch.full((1, 3, 1, 1), float(t)) for t in range(8)]
    assert triple(frames[:2], 0) is None and triple(frames[:6], 1) is None
    assert triple(frames[:3], 0)[0, :, 0, 0, 0].tolist() == [0, 1, 2]
    assert triple(frames, 1)[0, :, 0, 0, 0].tolist() == [1, 4, 7]


def shifted_pair():
    noise = np.random.default_rng(0).random((96, 96, 3), dtype=np.float32)
    picture = cv2.GaussianBlur(noise, (0, 0), 3)
    picture = (picture - picture.min()) / np.ptp(picture) * 2 - 1
    previous = torch.from_numpy(picture).permute(2, 0, 1)[None]
    return previous.roll((2, -3), dims=(-2, -1)), previous


def test_dis_flow_points_from_the_target_to_the_previous_frame():
    target, previous = shifted_pair()
    flow = dis_flow(target, previous)
    inner = flow[..., 24:-24, 24:-24].mean((0, 2, 3))
    torch.testing.assert_close(inner, torch.tensor([3.0, -2.0]), atol=0.2, rtol=0)
    confident = flow_confidence(target, warp(previous, flow))
    assert confident[..., 24:-24, 24:-24].mean() > 0.95 > flow_confidence(target, -target).mean()


class Constant(torch.nn.Module):
    def forward(self, target: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(target[:, :2])


class Wrong(torch.nn.Module):
    def forward(self, target: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        return target


def test_scripted_flow_is_read_and_checked(tmp_path):
    target, previous = shifted_pair()
    torch.jit.script(Constant()).save(str(tmp_path / "flow.pt"))
    assert torch.equal(ScriptedFlow(tmp_path / "flow.pt")(target, previous), torch.ones(1, 2, 96, 96))
    torch.jit.script(Wrong()).save(str(tmp_path / "wrong.pt"))
    with pytest.raises(UserError, match="expected a flow of shape"):
        ScriptedFlow(tmp_path / "wrong.pt")(target, previous)
    (tmp_path / "text.pt").write_text("no script")
    with pytest.raises(UserError, match="is no TorchScript file"):
        ScriptedFlow(tmp_path / "text.pt")
    with pytest.raises(UserError, match="no such file"):
        ScriptedFlow(tmp_path / "absent.pt")


def test_perceptual_loss_follows_the_published_layers():
    vgg = Vgg19()
    assert "features.28.weight" in vgg.state_dict() and vgg.features[28].out_channels == 512
    picture = torch.rand(1, 3, 32, 32) * 2 - 1
    assert [each.shape[1] for each in vgg(picture)] == [64, 128, 256, 512, 512]
    fake = (picture * 0.5).requires_grad_()
    loss = perceptual_loss(vgg, fake, picture)
    loss.backward()
    assert loss > 0 and fake.grad.abs().sum() > 0 and perceptual_loss(vgg, picture, picture) == 0
