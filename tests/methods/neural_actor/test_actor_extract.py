"""Videos of a split into the image form."""

import json
import shutil
import zipfile

import av
import numpy as np
import pytest

from likeness.cli.main import run as command
from likeness.errors import UserError
from likeness.formats.actor import read_body, read_cameras, read_frames
from likeness.media.image import read_uint8
from likeness.media.synthetic import is_marked_synthetic

SIDE = 16


def write_avi(path, levels):
    """A lossless video whose frames have one grey level each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "bgr0"
        for level in levels:
            picture = np.full((SIDE, SIDE, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def split(tmp_path):
    """12 frames of 3 cameras; frame t of camera c has level 10 t + c, textures 10 t + 5, normals 10 t + 6."""
    folder = tmp_path / "lan" / "training"
    for camera in range(3):
        write_avi(folder / "rgb_video" / f"{camera:03d}.avi", [10 * t + camera for t in range(12)])
    write_avi(folder / "tex_modifysmpluv0.1_smooth3e-2.avi", [10 * t + 5 for t in range(12)])
    write_avi(folder / "normal_modifysmpluv0.1_smooth3e-2.avi", [10 * t + 6 for t in range(12)])
    pack(folder, [f"home/someone/transform/{t:06d}.json" for t in range(12)])
    for camera in range(3):
        for name in ("intrinisc", "pose"):
            path = folder.parent / name / f"{camera:04d}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    return folder


def pack(folder, names):
    with zipfile.ZipFile(folder / "transform.zip", "w") as archive:
        archive.writestr("transform/", "")
        for t, name in enumerate(names):
            archive.writestr(name, json.dumps({"frame": t}))
            archive.writestr("__MACOSX/._" + name.split("/")[-1], "twin")


def level(path):
    values = read_uint8(path)
    assert values.shape == (SIDE, SIDE, 3) and (values == values[0, 0, 0]).all()
    return int(values[0, 0, 0])


def test_NA16_frames_from_the_middle_agree_in_videos_maps_and_transforms(split, tmp_path, capsys):
    out = tmp_path / "images"
    command(["extract", "actor", str(split), str(out), "--frames", "7,10", "--cameras", "1,3"])
    assert "frames 7 to 9 of 2 cameras and 2 maps, 3 transforms: 12 pictures written" in capsys.readouterr().out
    assert sorted(path.name for path in (out / "transform").iterdir()) == [f"{t:06d}.json" for t in (7, 8, 9)]
    for frame, number in zip(read_frames(out), (7, 8, 9)):
        assert json.loads(frame.transform.read_text()) == {"frame": number}
        assert [level(path) for path in frame.pictures] == [10 * number + 1, 10 * number + 2]
        assert [path.name for path in frame.pictures] == ["image_c_001.png", "image_c_002.png"]
        assert (frame.texture.name, level(frame.texture)) == (f"frame_{number:06d}.png", 10 * number + 5)
        assert (frame.normal.name, level(frame.normal)) == (f"frame_{number:06d}.png", 10 * number + 6)
    # The i-th picture goes with the i-th camera, so camera 0 stays behind.
    assert sorted(path.name for path in (out / "pose").iterdir()) == ["0001.txt", "0002.txt"]
    assert len(read_cameras(out)) == 2


def test_NA16_an_extraction_goes_on_and_can_grow(split, tmp_path, capsys):
    out = tmp_path / "images"
    words = ["extract", "actor", str(split), str(out), "--frames"]
    command([*words, "0,3"])
    (out / "rgb" / "000001" / "image_c_002.png").unlink()
    (out / "tex" / "frame_000002.png").unlink()
    capsys.readouterr()
    command([*words, "0,4"])
    assert "7 pictures written, 13 were there" in capsys.readouterr().out
    assert level(out / "rgb" / "000001" / "image_c_002.png") == 12
    assert [path for path in out.rglob("*") if path.name.startswith(".")] == []


def test_NA16_the_originals_own_words(split, tmp_path, capsys):
    command(["extract", "actor", "-i", str(split), "-o", str(tmp_path / "o"), "-f", "2,3", "-c", "0,1"])
    assert [path.name for path in (tmp_path / "o" / "rgb").iterdir()] == ["000002"]
    command(["extract", "actor", "-i", str(split), "-f", "0,1"])  # without -o beside the videos
    assert level(split / "rgb" / "000000" / "image_c_002.png") == 2
    with pytest.raises(UserError, match="expected -i SPLIT"):
        command(["extract", "actor", "-i", str(split), "-q", "3"])


def test_NA16_lengths_that_differ_are_named(split, tmp_path, capsys):
    write_avi(split / "rgb_video" / "001.avi", [10 * t + 1 for t in range(9)])
    words = ["extract", "actor", str(split), str(tmp_path / "o")]
    with pytest.raises(UserError, match=r"differ in length \(.*rgb_video/001.avi 9.*transform.zip 12.*--frames 0,9"):
        command(words)
    with pytest.raises(UserError, match=r"frames 3 to 10 are asked for, but rgb_video/001.avi has 9"):
        command([*words, "--frames", "3,11"])
    assert not (tmp_path / "o").exists()
    write_avi(split / "rgb_video" / "001.avi", [10 * t + 1 for t in range(13)])
    with pytest.raises(UserError, match="differ in length"):
        command(words)
    command([*words, "--frames", "3,5"])
    assert "lengths differ" in capsys.readouterr().out


def test_NA16_members_that_leave_no_certain_frame_are_named(split, tmp_path):
    words = ["extract", "actor", str(split), str(tmp_path / "o")]
    pack(split, ["000001.json", "000000.json"])
    with pytest.raises(UserError, match=r"transform.zip.*not in order"):
        command(words)
    (split / "transform.zip").write_bytes(b"PK and nothing")
    with pytest.raises(UserError, match=r"transform.zip.*no whole zip"):
        command(words)


def test_NA16_members_cannot_leave_the_folder(split, tmp_path):
    pack(split, [f"../../../{t:06d}.json" for t in range(12)])
    command(["extract", "actor", str(split), str(tmp_path / "deep" / "o"), "--frames", "0,1"])
    assert (tmp_path / "deep" / "o" / "transform" / "000000.json").is_file()
    assert not list(tmp_path.glob("*.json"))


def test_NA16_videos_of_other_names(split, tmp_path):
    (split / "rgb_video" / "001.avi").rename(split / "rgb_video" / "1.avi")
    command(["extract", "actor", str(split), str(tmp_path / "o"), "--frames", "1,2", "--cameras", "1,2"])
    assert level(tmp_path / "o" / "rgb" / "000001" / "image_c_001.png") == 11
    (split / "rgb_video" / "1.avi").rename(split / "rgb_video" / "front.avi")
    with pytest.raises(UserError, match="front.avi.*named after their cameras' numbers"):
        command(["extract", "actor", str(split), str(tmp_path / "p")])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--frames", "5"], "expected first,end"),
        (["--frames", "5,5"], "expected first,end"),
        (["--cameras", "1,5"], "no video of camera 003, 004; found 000, 001, 002"),
    ],
)
def test_NA16_ranges_that_cannot_be_met(split, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        command(["extract", "actor", str(split), str(tmp_path / "o"), *options])


def test_NA16_pictures_of_elsewhere_are_not_mixed(split, tmp_path):
    other = tmp_path / "lan" / "testing"
    shutil.copytree(split, other)
    command(["extract", "actor", str(split), str(tmp_path / "o"), "--frames", "0,1"])
    with pytest.raises(UserError, match="holds pictures of .*training"):
        command(["extract", "actor", str(other), str(tmp_path / "o"), "--frames", "0,1"])


def test_NA16_parts_that_a_split_lacks_are_told(split, tmp_path, capsys):
    next(split.glob("tex*")).unlink()
    shutil.rmtree(split / "rgb_video")
    command(["extract", "actor", str(split), str(tmp_path / "o"), "--frames", "0,2"])
    told = capsys.readouterr().out.replace("\n", " ")
    assert "no video of tex maps" in told and "no rgb_video/" in told
    with pytest.raises(UserError, match="neither transform.zip nor videos"):
        command(["extract", "actor", str(tmp_path), str(tmp_path / "p")])


def test_NA16_the_synthetic_studios_videos_come_back_bit_for_bit(actor_studio, tmp_path):
    out = tmp_path / "o"
    command(["extract", "actor", str(actor_studio / "testing"), str(out)])
    for ours, theirs in zip(read_frames(out), read_frames(actor_studio / "testing"), strict=True):
        assert ours.transform.read_bytes() == theirs.transform.read_bytes()
        for first, second in zip(
            (ours.texture, ours.normal, *ours.pictures), (theirs.texture, theirs.normal, *theirs.pictures)
        ):
            assert np.array_equal(read_uint8(first), read_uint8(second))
            assert is_marked_synthetic(first)
    assert len(read_cameras(out)) == 4 and len(read_body(out).vertices) == len(
        read_body(actor_studio / "testing").vertices
    )
