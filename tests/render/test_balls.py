"""Ray bounds by a cloud of balls, against every ball tried in float64."""

import pytest
import torch

from likeness.render.balls import ball_bounds


def every_ball(origin, directions, centres, radius):
    offsets, directions = (centres - origin).double(), directions.double()
    along = directions @ offsets.T  # (N, V)
    aside = offsets.unsqueeze(0) - along.unsqueeze(-1) * directions.unsqueeze(1)
    left = radius**2 - aside.square().sum(-1)
    half = left.clamp(min=0).sqrt()
    inside = left > 0
    near = torch.where(inside, along.abs() - half, torch.inf).amin(1)
    far = torch.where(inside, along.abs() + half, -torch.inf).amax(1)
    return near, far, inside.any(1), left.abs().amin(1)


@pytest.mark.parametrize("distance", [4.0, 0.3, 40.0])
def test_NA5_the_tree_finds_what_all_balls_give(distance):
    random = torch.Generator().manual_seed(0)
    centres = torch.randn(1500, 3, generator=random) * torch.tensor([0.3, 0.8, 0.2])
    origin = torch.tensor([0.0, 0.2, distance])
    towards = centres[torch.randint(len(centres), (800,), generator=random)] - origin
    towards = towards + 0.1 * torch.randn(800, 3, generator=random)
    directions = torch.nn.functional.normalize(towards, dim=-1)
    near, far, hit = ball_bounds(origin, directions, centres, 0.06)
    wanted_near, wanted_far, wanted_hit, margin = every_ball(origin, directions, centres, 0.06)
    sure = margin > 1e-5
    assert torch.equal(hit[sure], wanted_hit[sure]) and hit.any()
    both = hit & wanted_hit & sure
    torch.testing.assert_close(near[both].double(), wanted_near[both], atol=1e-3, rtol=0)
    torch.testing.assert_close(far[both].double(), wanted_far[both], atol=1e-3, rtol=0)


def test_no_ball_and_no_ray_give_nothing():
    for rays, balls in ((3, 0), (0, 3)):
        near, far, hit = ball_bounds(torch.zeros(3), torch.zeros(rays, 3), torch.zeros(balls, 3), 0.1)
        assert near.shape == far.shape == hit.shape == (rays,) and not hit.any()
