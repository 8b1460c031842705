"""Neural Actor's data set: one moving body before a ring of cameras, with its skinned mesh and unwrapped maps."""

import functools
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from likeness.capture.assets import BODY, load_assets
from likeness.capture.body import bone_transforms, skin, surface, vertex_normals
from likeness.capture.folds import folded
from likeness.capture.light import Light, studio
from likeness.capture.maps import openness, unwrap
from likeness.capture.motion import MOTIONS, body_clip, grounded
from likeness.capture.options import CaptureConfig, chosen, claim, contact_sheet
from likeness.capture.performance import Performance
from likeness.capture.person import Person, make_person
from likeness.capture.scene import assemble
from likeness.capture.skin import linear_to_srgb, srgb_to_linear
from likeness.capture.stage import body_shadow, orbit_camera, take
from likeness.files import atomic_path
from likeness.formats import actor
from likeness.geometry.body import BodyModel, Pose
from likeness.geometry.camera import Camera
from likeness.media.image import read_image, read_uint8, to_uint8, write_image
from likeness.media.synthetic import SYNTHETIC_NOTE
from likeness.work import run_all

RATE = 25
SKIN_DEPTH = 0.004
"""Metres by which points are lifted off the surface before they are asked for shadow."""
BLEED = 1 / 32
"""Share of a texture's side by which the islands' colours go on beyond their edges."""
TEXTURE_VIDEO, NORMAL_VIDEO = (f"{kind}_modifysmpluv0.1_smooth3e-2.avi" for kind in ("tex", "normal"))


@dataclass(frozen=True, kw_only=True)
class NeuralActorCapture(CaptureConfig):
    """Write OUT/{training,testing} in the image form, the video form or both, each with its own body and cameras."""

    form: Literal["image", "video", "both"] = "image"
    """image: what training reads; video: what is published; both."""
    frames: int | None = None
    """Frames of training (presets: 8, 60, 1000)."""
    test_frames: int | None = None
    """Frames of testing, other motions (4, 15, 200)."""
    cameras: int | None = None
    """Cameras on the ring (4, 8, 11)."""
    size: int | None = None
    """Side of the pictures (128, 256, 512)."""
    texture: int | None = None
    """Side of texture and normal maps (128, 512, 512)."""
    maps: bool = True
    """Write exact texture and normal maps; without them `likeness extract textures` and `normals` make them, as of
    one's own footage."""


@dataclass(frozen=True)
class Moment:
    """One frame of a split, and all that its pixels depend on."""

    out: Path
    seed: int
    split: str
    number: int
    frames: int
    cameras: int
    size: int
    texture: int
    with_maps: bool = True

    @property
    def folder(self) -> Path:
        """The split's folder."""
        return self.out / self.split

    @property
    def stem(self) -> str:
        """Six digits."""
        return f"{self.number:06d}"

    @property
    def pictures(self) -> list[Path]:
        """One a camera."""
        return [self.folder / "rgb" / self.stem / f"image_c_{camera:03d}.png" for camera in range(self.cameras)]

    @property
    def maps(self) -> tuple[Path, Path]:
        """Texture and normals."""
        return self.folder / "tex" / f"{self.stem}.png", self.folder / "normal" / f"{self.stem}.png"

    def done(self) -> bool:
        """Whether the frame is whole: its last picture is written last."""
        return self.pictures[-1].exists()


def capture_neural_actor(config: NeuralActorCapture) -> None:
    """Write a moving body under a ring of cameras with its exact skinning."""
    counts = {
        "training": chosen(config.frames, config.preset, 8, 60, 1000),
        "testing": chosen(config.test_frames, config.preset, 4, 15, 200),
    }
    cameras = chosen(config.cameras, config.preset, 4, 8, 11)
    size = chosen(config.size, config.preset, 128, 256, 512)
    texture = chosen(config.texture, config.preset, 128, 512, 512)
    claim(
        config,
        "neural_actor",
        form=config.form,
        **counts,
        cameras=cameras,
        size=size,
        texture=texture,
        maps=config.maps,
    )
    moments = [
        Moment(config.out, config.seed, split, number, count, cameras, size, texture, config.maps)
        for split, count in counts.items()
        for number in range(count)
    ]
    person = _actor(config.seed)
    for split in counts:
        write_model(config.out / split, person)
        actor.write_cameras(config.out / split, [_record(camera) for camera in ring(person, cameras, size)])
    run_all(write_moment, [moment for moment in moments if not moment.done()], config.workers, "frames")
    if config.form != "image":
        for split in counts:
            write_videos([moment for moment in moments if moment.split == split])
        actor.write_cameras(config.out, [_record(camera) for camera in ring(person, cameras, size)])
        write_model(config.out, person)
    if config.contact_sheet:
        step = max(1, len(moments) // 8)
        contact_sheet(config, [read_image(file) for moment in moments[::step][:8] for file in moment.pictures[:4]])
    print(f"{config.out}: {len(moments)} frames from {cameras} cameras")


def write_moment(moment: Moment) -> None:
    """Take one frame from every camera: a pure function of the moment's own numbers."""
    person = _actor(moment.seed)
    act = performance(moment)
    pose = pose_of(person, act)
    motion = torch.stack([pose_of(person, performance(_earlier(moment, k))).joints for k in (2, 1, 0)])
    actor.write_transform(moment.folder / "transform" / f"{moment.stem}.json", pose, axis_angle(act), motion)
    light = studio(noise=0.0)
    # The mesh, its weights and its normals stay those of the smooth body: folds are what is left to learn.
    dressed = folded(person, act, vertex_normals(person.vertices))
    if moment.with_maps:
        texture_file, normal_file = moment.maps
        write_image(texture_file, texture_map(dressed, act, light, moment.texture), synthetic=True)
        write_image(normal_file, normal_map(person, act, moment.texture), synthetic=True)
    frames = [take(dressed, act, camera, light, keyed=True) for camera in ring(person, moment.cameras, moment.size)]
    write_surface(moment, dressed, act)
    for file, frame in zip(moment.pictures, frames):
        write_image(file, keyed(frame.image, frame.alpha), synthetic=True)


def write_surface(moment: Moment, dressed: Person, act: Performance) -> None:
    """Write the true surface in the world: `vertices` (V, 3) in the mesh's order, and points of the `hair` (H, 3)."""
    scene = assemble(dressed, act, np.array([0.0, 1.0, 4.0]), 1e-3)
    with atomic_path(moment.folder / "surface" / f"{moment.stem}.npz") as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, vertices=scene.vertices[BODY], hair=scene.vertices[scene.hair_start :: 2].astype(np.float16)
        )


def keyed(image: Tensor, alpha: Tensor) -> np.ndarray:
    """(H, W, 4) uint8 with alpha (1, H, W), whose colours over white give the picture (3, H, W)."""
    straight = ((image - (1 - alpha)) / alpha.clamp_min(1e-3)).clamp(0, 1)
    # What nobody covers is white for readers that know no alpha.
    return to_uint8(torch.cat([torch.where(alpha > 0, straight, 1.0), alpha]))


def performance(moment: Moment) -> Performance:
    """What the body does: each motion in turn, the testing split with other draws of them. The face stays still."""
    share = max(1, moment.frames // 4)
    part, place = divmod(moment.number, share)
    offset = 0 if moment.split == "training" else 2
    name = MOTIONS[(part + offset) % len(MOTIONS)]
    rng = np.random.default_rng([moment.seed, part, offset, 51])
    act = body_clip(name, share, rng, RATE if share > 24 else 6.0)[place]
    # The mesh is skinned from one rest shape, so the face must not leave it.
    return grounded(_actor(moment.seed), replace(act, expression=np.zeros(52)))


def pose_of(person: Person, act: Performance) -> Pose:
    """The moment as the format states it: bones without the body's path, which is the translation; no global turn."""
    bones = bone_transforms(person.skeleton, act.bones())
    joints = np.einsum("bij,bj->bi", bones[:, :3, :3], person.skeleton.joints) + bones[:, :3, 3] + act.root
    return Pose(
        torch.from_numpy(bones).float(),
        torch.eye(3),
        torch.from_numpy(act.root).float(),
        torch.from_numpy(joints).float(),
    )


def axis_angle(act: Performance) -> Tensor:
    """(3 J,) rotation vectors by bone; the root's stay zero."""
    bones = load_assets().bones
    rotations, turned = np.zeros((len(bones), 3)), act.bones()
    for name, rotation in turned.items():
        rotations[bones.index(name)] = rotation
    return torch.from_numpy(rotations.ravel()).float()


def write_model(folder: Path, person: Person) -> None:
    """Write the body: mesh, texture coordinates, weights, canonical pose (arms and legs as in the rest pose)."""
    assets, body = load_assets(), surface("body")
    weights = torch.zeros(BODY.stop, len(assets.bones))
    weights.scatter_add_(
        1,
        torch.from_numpy(assets.skin_bones[BODY].astype(np.int64)),
        torch.from_numpy(assets.skin_weights[BODY]),
    )
    model = BodyModel(
        torch.from_numpy(person.vertices[BODY]),
        torch.from_numpy(body.triangles.astype(np.int64)),
        torch.from_numpy(body.corners_uv),
        weights,
        torch.eye(4).expand(len(assets.bones), 4, 4).clone(),
    )
    actor.write_body(folder, model, torch.from_numpy(assets.uv), torch.from_numpy(body.uv_indices.astype(np.int64)))
    actor.write_skeleton(folder, assets.bones, assets.parents.tolist())


def film_motion(actor_seed: int, motion_seed: int, number: int, frames: int, size: int, cameras: int) -> Tensor:
    """(3, size, size) the actor, filmed by its first camera in frame `number` of another person's testing motions."""
    person = _actor(actor_seed)
    theirs = performance(Moment(Path(), motion_seed, "testing", number, frames, cameras, size, size))
    act = grounded(person, replace(theirs, root=np.zeros(3)))
    dressed = folded(person, act, vertex_normals(person.vertices))
    return take(dressed, act, ring(person, cameras, size)[0], studio(noise=0.0), keyed=True).image


def texture_map(person: Person, act: Performance, light: Light, size: int) -> Tensor:
    """(3, size, size) colours of the unwrapped surface with light and shadow baked in, white where there is no body."""
    scene = assemble(person, act, np.array([0.0, 1.0, 4.0]), 1e-3)
    vertices, normals = (values[: len(person.vertices)] for values in (scene.vertices, scene.normals))
    reach = body_shadow(scene, light).lit((vertices + SKIN_DEPTH * normals).astype(np.float32))
    lit = light.irradiance(normals) * openness()[:, None] ** 1.3
    for direction, colour, share in (
        (light.key_direction, light.key, reach),
        (light.fill_direction, light.fill, openness()),
    ):
        lit = lit + (share * np.clip(0.04 + 0.96 * (normals @ direction), 0, None))[:, None] * colour
    values, covered = unwrap(lit.astype(np.float32), size)
    albedo = cv2.resize(srgb_to_linear(person.texture / 255.0), (size, size), interpolation=cv2.INTER_AREA)
    # Look-ups between texels must not meet the white around an island.
    away, nearest = distance_transform_edt(~covered, return_indices=True)
    texture = linear_to_srgb(1 - np.exp(-1.55 * light.exposure * albedo * values))[tuple(nearest)]
    texture[away > BLEED * size] = 1
    return torch.from_numpy(texture).movedim(-1, 0)


def normal_map(person: Person, act: Performance, size: int) -> np.ndarray:
    """(size, size, 3) uint8 unwrapped normals n/2 + 0.5 in the world, white where there is no body.

    Channels are in the order z, y, x, as the published texture predictor reads them.
    """
    normals = vertex_normals(skin(person.vertices, bone_transforms(person.skeleton, act.bones(), act.root)))
    values, covered = unwrap(normals, size)
    encoded = np.where(covered[..., None], values[..., ::-1] * 0.5 + 0.5, 1)
    return np.floor(encoded * 255 + 0.5).astype(np.uint8)


def ring(person: Person, count: int, size: int) -> list[Camera]:
    """Cameras all around the body, 4 m away, alternately at the chest's and above the head's height."""
    middle = np.array([0.0, 0.5 * person.height, 0.0])
    return [
        orbit_camera(middle, (size, size), 2 * np.pi * k / count, (0.05, 0.35)[k % 2], 4.0, 1.35 * person.height)
        for k in range(count)
    ]


def write_videos(moments: list[Moment]) -> None:
    """The video form of a split: lossless AVI by camera and by map, and the transforms in a zip."""
    folder = moments[0].folder
    for camera in range(moments[0].cameras):
        _write_avi(folder / "rgb_video" / f"{camera:03d}.avi", [moment.pictures[camera] for moment in moments])
    for k, name in enumerate((TEXTURE_VIDEO, NORMAL_VIDEO) if moments[0].with_maps else ()):
        _write_avi(folder / name, [moment.maps[k] for moment in moments])
    with atomic_path(folder / "transform.zip") as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for moment in moments:
                name = f"{moment.stem}.json"
                # A fixed date keeps the archive's bytes a function of its content.
                entry = zipfile.ZipInfo(f"transform/{name}", (1980, 1, 1, 0, 0, 0))
                archive.writestr(entry, (folder / "transform" / name).read_bytes(), zipfile.ZIP_DEFLATED)


def _write_avi(path: Path, pictures: list[Path]) -> None:
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="avi") as container:
        container.metadata["comment"] = SYNTHETIC_NOTE
        stream = container.add_stream("ffv1", rate=RATE)
        stream.pix_fmt = "bgr0"
        for number, picture in enumerate(pictures):
            image = read_uint8(picture)
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def _earlier(moment: Moment, frames: int) -> Moment:
    return replace(moment, number=max(0, moment.number - frames))


def _record(camera: Camera) -> actor.ActorCamera:
    # The format counts pixels from their centres, we from the picture's corner.
    intrinsics = camera.intrinsics.clone()
    intrinsics[:2, 2] -= 0.5
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = camera.rotation.mT
    pose[:3, 3] = camera.position
    return actor.ActorCamera(intrinsics.float(), pose.float())


@functools.lru_cache(maxsize=2)
def _actor(seed: int) -> Person:
    return make_person(seed)
