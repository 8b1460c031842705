import numpy as np
import pytest
import torch
import trimesh

from likeness.capture.body import bone_transforms, skin, surface
from likeness.capture.expression import UNITS, expression
from likeness.capture.hair import STYLES, coarser
from likeness.capture.identity import draw_identity
from likeness.capture.landmarks import KEPT_66, LANDMARK_VERTICES
from likeness.capture.light import draw_light, studio
from likeness.capture.motion import LIMITS, MOTIONS, body_clip, grounded
from likeness.capture.parts import Part
from likeness.capture.performance import Performance, talking_clip
from likeness.capture.person import draw_style, make_person
from likeness.capture.stage import body_camera, cropped, portrait_camera, take


@pytest.fixture(scope="module")
def person(cache_of_the_tests):
    return make_person(6, "bob")


@pytest.fixture(scope="module")
def grin(person):
    act = Performance(expression("grin"), head=(0.2, 0.05, 0.0))
    return take(person, act, portrait_camera(person, (128, 128)), studio(), seed=4)


def test_the_same_seed_gives_the_same_pixels(person, grin):
    act = Performance(expression("grin"), head=(0.2, 0.05, 0.0))
    again = take(person, act, portrait_camera(person, (128, 128)), studio(), seed=4)
    assert torch.equal(again.image, grin.image)
    assert torch.equal(again.depth, grin.depth)
    other = take(person, act, portrait_camera(person, (128, 128)), studio(), seed=5)
    assert not torch.equal(other.image, grin.image)


def test_a_person_from_the_cache_is_the_person_that_was_built(person, empty_cache):
    built = make_person(6, "bob")
    cached = make_person(6, "bob")
    for one in (built, cached):
        np.testing.assert_array_equal(one.texture, person.texture)
        np.testing.assert_array_equal(one.hair.points, person.hair.points)
        np.testing.assert_array_equal(one.vertices, person.vertices)


def test_pictures_come_in_steps_of_8_bits_and_truth_agrees_with_itself(grin):
    steps = grin.image * 255
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    covered = grin.depth[0] > 0
    assert torch.equal(covered, grin.parts != Part.BACKGROUND)
    # In the truth a hair is a pixel wide: it can cross a pixel's centre and leave out the four samples about it.
    assert (grin.alpha[0][covered] > 0).float().mean() > 0.99
    assert (grin.alpha[0][~covered] < 1).all()
    torch.testing.assert_close(grin.normals.norm(dim=0)[covered], torch.ones(int(covered.sum())), atol=1e-3, rtol=0)
    assert {*grin.parts.unique().tolist()} >= {
        Part.SKIN,
        Part.LIPS,
        Part.BROWS,
        Part.EYES,
        Part.TEETH,
        Part.HAIR,
        Part.TOP,
    }
    assert (grin.uv[:, grin.parts == Part.LIPS] > 0).all()


def test_without_hair_what_is_at_a_centre_is_at_a_sample_too():
    bald = make_person(6, "bald")
    frame = take(bald, Performance(expression("grin")), portrait_camera(bald, (128, 128)), studio())
    covered = frame.depth[0] > 0
    assert (frame.alpha[0][covered] > 0).all()
    assert (frame.alpha[0][~covered] < 1).all()


def test_lashes_have_a_label_of_their_own_above_the_eyes(person):
    camera = cropped(portrait_camera(person, (128, 128)), 32, 40, 64, (256, 256))
    frame = take(person, Performance(), camera, studio())
    rows, columns = torch.nonzero(frame.parts == Part.LASHES, as_tuple=True)
    assert len(rows) > 20
    corners = frame.pixels[36:48]
    low, high = corners.amin(0), corners.amax(0)
    margin = 0.25 * (high - low)[0]
    assert ((columns > low[0] - margin) & (columns < high[0] + margin)).all()
    assert ((rows > low[1] - margin) & (rows < high[1] + margin)).all()
    # They only darken what is behind, whose depth is the truth's.
    assert (frame.depth[0][rows, columns] > 0).all()


def test_an_open_mouth_is_lit_and_shows_its_tongue(person):
    act = Performance(expression({"jawOpen": 0.7}))
    frame = take(person, act, portrait_camera(person, (256, 256)), studio())
    tongue = frame.linear.mean(0)[frame.parts == Part.TONGUE]
    assert len(tongue) > 50
    # In the open it would send about 0.2: its albedo of 0.22 under this light's 0.9.
    assert 0.02 < tongue.mean() < 0.12


def test_people_far_away_have_fewer_wider_hairs_that_cover_as_much(person):
    camera = portrait_camera(person, (256, 256))
    near, far = (coarser(person.hair, sample) for sample in (0.0003, 0.002))
    assert near.points.shape == person.hair.points.shape
    assert len(far.points) < 0.5 * len(near.points)
    assert far.width > near.width
    hair = []
    for size in (512, 128):
        frame = take(person, Performance(), camera.resized((size, size)), studio())
        hair.append((frame.parts == Part.HAIR).float().mean())
    assert abs(hair[0] - hair[1]) < 0.03 * hair[0]


def test_depth_agrees_with_an_independent_ray_caster(person):
    bald = make_person(6, "bald")
    camera = portrait_camera(bald, (96, 96), yaw=0.4)
    frame = take(bald, Performance(), camera, studio())
    mesh = trimesh.Trimesh(frame.vertices.numpy(), surface("body").triangles, process=False)
    skin_seen = torch.isin(frame.parts, torch.tensor([Part.SKIN, Part.TOP, Part.EARS]))
    rows, columns = torch.nonzero(skin_seen, as_tuple=True)
    plane = torch.stack([columns + 0.5, rows + 0.5, torch.ones(len(rows))], 1).double()
    rays = (plane @ camera.intrinsics.inverse().mT) @ camera.rotation
    origin = camera.position.numpy()
    places, which, _ = mesh.ray.intersects_location(np.tile(origin, (len(rays), 1)), rays.numpy(), multiple_hits=False)
    depth = camera.to_camera(torch.from_numpy(places))[:, 2]
    seen = frame.depth[0][rows, columns][torch.from_numpy(which)].double()
    assert len(which) > 0.999 * len(rays)
    assert (torch.quantile((depth - seen).abs(), 0.995)) < 1e-4


def test_landmarks_lie_on_the_surface_and_the_far_side_is_hidden(person):
    frame = take(person, Performance(), portrait_camera(person, (128, 128), yaw=-1.0), studio())
    pixels, _ = frame.camera.project(frame.vertices[LANDMARK_VERTICES].double())
    torch.testing.assert_close(pixels, frame.pixels)
    points = frame.landmarks_66
    torch.testing.assert_close(points[:, :2], frame.pixels[KEPT_66])
    assert abs(float(points[:, 2].mean())) < 1e-6
    assert frame.visible[39] and frame.visible[30]
    assert not frame.visible[15:17].any()


def test_a_crop_sees_what_the_whole_picture_sees(person):
    camera = portrait_camera(person, (128, 128))
    small = cropped(camera, 32, 16, 64, (64, 64))
    whole, part = (take(person, Performance(), c, studio()) for c in (camera, small))
    torch.testing.assert_close(part.depth[0], whole.depth[0, 16:80, 32:96], atol=1e-5, rtol=0)
    torch.testing.assert_close(part.pixels, whole.pixels - torch.tensor([32.0, 16.0], dtype=torch.float64))


def test_expressions_and_gaze_move_what_they_should(person):
    rest, open_jaw = (person.with_expression(expression(e)) for e in ({}, {"jawOpen": 1.0}))
    moved = np.linalg.norm(open_jaw - rest, axis=1)
    assert 0.01 < moved[LANDMARK_VERTICES[8]] < 0.06
    assert moved[LANDMARK_VERTICES[19]] < 0.002
    blink = person.with_expression(expression({"eyeBlink": 1.0}))

    def lids(v):
        return v[LANDMARK_VERTICES[37], 1] - v[LANDMARK_VERTICES[41], 1]

    assert lids(blink) < 0.35 * lids(rest)
    assert len(UNITS) == 52


def test_long_hair_stays_with_the_shoulders_when_the_head_turns():
    person = make_person(6, "long")
    still, turned = (
        take(person, Performance(head=(yaw, 0, 0)), portrait_camera(person, (96, 96), yaw=np.pi), studio())
        for yaw in (0.0, 0.7)
    )
    low = slice(80, 96)
    overlap = ((still.parts[low] == Part.HAIR) & (turned.parts[low] == Part.HAIR)).sum()
    assert overlap > 0.85 * (still.parts[low] == Part.HAIR).sum()


def test_posed_vertices_are_linear_blend_skinning_of_the_truth_given(person):
    act = Performance(pose={"upperarm_l": np.array([0.1, 0.2, -0.5])}, root=np.array([0.1, 0, 0.2]))
    frame = take(person, act, body_camera(person, (64, 64)), studio(), floor=True)
    np.testing.assert_allclose(skin(person.vertices, frame.transforms.numpy()), frame.vertices.numpy(), atol=1e-6)
    np.testing.assert_allclose(bone_transforms(person.skeleton, act.bones(), act.root), frame.transforms.numpy())


@pytest.mark.parametrize("seed", [1, 4, 5])
@pytest.mark.parametrize("motion", MOTIONS)
def test_motions_are_smooth_respect_joints_and_stand_on_the_floor(person, motion, seed):
    clip = body_clip(motion, 50, np.random.default_rng(seed))
    for act in clip:
        for bone, rotation in act.pose.items():
            low, high = np.array(LIMITS[bone.split("_")[0]]).T
            assert (rotation >= low).all()
            assert (rotation <= high).all()
    joints = np.array([skinned_joint(person, act) for act in clip])
    # 25 m/s2 at 25 frames a second: a walker's foot is swung forward by about as much.
    assert np.abs(np.diff(joints, 2, axis=0)).max() < 0.04
    act = grounded(person, clip[20])
    posed = skin(person.vertices, bone_transforms(person.skeleton, act.bones(), act.root))
    assert abs(posed[:13380, 1].min()) < 0.02


def skinned_joint(person, act):
    transforms = bone_transforms(person.skeleton, act.bones(), act.root)
    return np.einsum("bij,bj->bi", transforms[:, :3, :3], person.skeleton.joints) + transforms[:, :3, 3]


def test_the_floor_takes_a_shadow(person):
    light = studio()
    floor = take(person, Performance(), body_camera(person, (96, 96)), light, floor=True)
    ground = floor.linear.mean(0)[80:][floor.alpha[0, 80:] == 0]
    # Where the key does not reach, the sky's share is left; between the feet bodies keep some of that off, too.
    sky = light.irradiance(np.array([[0, 1.0, 0]], np.float32))[0]
    share = float((sky / (sky + light.key_direction[1] * light.key)).mean())
    assert 0.6 * share < ground.min() / ground.max() < 1.02 * share


def test_talking_heads_talk_and_blink_smoothly():
    clip = talking_clip(100, np.random.default_rng(0))
    curves = np.array([act.expression for act in clip])
    assert curves[:, UNITS.index("jawOpen")].std() > 0.03
    assert curves[:, UNITS.index("eyeBlinkLeft")].max() > 0.9
    assert np.abs(np.diff([act.head[0] for act in clip])).max() < 0.06
    assert curves.min() >= 0


def test_styles_are_at_least_six_and_all_are_drawn():
    assert len(STYLES) >= 6
    drawn = set()
    for seed in range(200):
        rng = np.random.default_rng([seed, 1])
        drawn.add(draw_style(draw_identity(rng), rng))
    assert drawn == set(STYLES)


def test_random_lights_show_the_face(person):
    for seed in range(3):
        frame = take(person, Performance(), portrait_camera(person, (64, 64)), draw_light(np.random.default_rng(seed)))
        face = frame.image[:, frame.parts == Part.SKIN].mean()
        assert 0.05 < face < 0.97
