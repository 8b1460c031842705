from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from likeness.errors import UserError
from likeness.media import video
from likeness.media.synthetic import is_marked_synthetic


def _frames(count: int, size=(48, 64)) -> list[np.ndarray]:
    frames = np.zeros((count, *size, 3), np.uint8)
    frames[:] = np.linspace(20, 230, count).astype(np.uint8)[:, None, None, None]
    frames[:, : size[0] // 2, : size[1] // 2, 0] = 255  # a red corner tells which way is up
    return list(frames)


def _sound(path, seconds: float, rate: int = 16000) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le" if path.suffix == ".wav" else "aac", rate=rate)
        t = np.arange(int(seconds * rate)) / rate
        samples = (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[None]
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        for start in range(0, samples.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(samples[:, start : start + 1024], format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode())


def _audio_seconds(path) -> float:
    with av.open(str(path)) as container:
        return sum(f.samples / f.sample_rate for f in container.decode(audio=0))


def test_round_trip_keeps_count_order_and_note(tmp_path):
    path = tmp_path / "a.mp4"
    video.write_video(path, _frames(12), 25, synthetic=True)
    read = list(video.read_frames(path))
    assert [f.index for f in read] == list(range(12))
    assert [round(f.time * 25) for f in read] == list(range(12))
    assert video.count_frames(path) == 12
    assert np.abs(read[7].image.astype(int) - _frames(12)[7]).mean() < 4
    assert is_marked_synthetic(path)
    video.write_video(tmp_path / "real.mp4", [torch.rand(3, 48, 64)], synthetic=False)
    assert not is_marked_synthetic(tmp_path / "real.mp4")
    info = video.probe(path)
    assert (info.size, info.rate, info.frames, info.has_audio) == ((48, 64), 25, 12, False)


@pytest.mark.parametrize("side", [176, 192, 320])
def test_equal_frames_make_equal_files_where_that_is_asked_for(tmp_path, side):
    picture = cv2.resize(astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(0)
    files = set()
    for _ in range(12):
        # What freed memory holds differs from time to time.
        used = [rng.integers(0, 255, size, dtype=np.uint8) for size in (1000, 5000, 20000, 60000, 100000) * 40]
        del used
        with video.VideoWriter(tmp_path / "a.mp4", 25, synthetic=True, reproducible=True) as writer:
            for shift in range(0, 12, 3):
                writer.write(np.roll(picture, shift, axis=1))
        files.add((tmp_path / "a.mp4").read_bytes())
    assert len(files) == 1


def test_every_nth_frame_keeps_its_number(tmp_path):
    video.write_video(tmp_path / "a.mp4", _frames(10), synthetic=True)
    assert [f.index for f in video.read_frames(tmp_path / "a.mp4", step=4)] == [0, 4, 8]


def test_odd_sizes_are_padded(tmp_path):
    video.write_video(tmp_path / "a.mp4", _frames(2, (47, 63)), synthetic=True)
    assert video.probe(tmp_path / "a.mp4").size == (48, 64)


def test_variable_frame_rate_keeps_times_and_can_be_evened(tmp_path):
    times = [0.0, 0.04, 0.2, 0.24, 0.6]
    with video.VideoWriter(tmp_path / "a.mp4", 25, synthetic=False) as writer:
        for frame, time in zip(_frames(5), times, strict=True):
            writer.write(frame, time)
    read = list(video.read_frames(tmp_path / "a.mp4"))
    np.testing.assert_allclose([f.time for f in read], times, atol=1e-3)
    even = list(video.at_constant_rate(read, 25))
    assert len(even) == 16
    shown = [round(float(np.mean(f.image[-1]))) for f in even]
    assert shown[1] == shown[4] != shown[5]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_metadata_is_applied(tmp_path, degrees):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees)
        for frame in _frames(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    image = next(video.read_frames(path)).image
    assert image.shape[:2] == ((48, 64) if degrees == 180 else (64, 48))
    height, width = image.shape[:2]
    corners = {  # where the red corner lies after turning by so many degrees anticlockwise
        90: image[height * 3 // 4, width // 4],
        180: image[height * 3 // 4, width * 3 // 4],
        270: image[height // 4, width * 3 // 4],
    }
    assert corners[degrees][0] > 200


@pytest.mark.parametrize("kind", ["s.m4a", "s.wav"])
def test_sound_is_kept_and_cut_to_the_pictures(tmp_path, kind):
    _sound(tmp_path / kind, 2.0)
    video.write_video(tmp_path / "a.mp4", _frames(25), 25, synthetic=True, audio=tmp_path / kind)
    assert video.probe(tmp_path / "a.mp4").has_audio
    assert abs(_audio_seconds(tmp_path / "a.mp4") - 1.0) < 0.15
    with video.VideoWriter(tmp_path / "b.mp4", 25, synthetic=True, audio=tmp_path / kind, audio_start=1.5) as writer:
        for frame in _frames(25):
            writer.write(frame)
    assert abs(_audio_seconds(tmp_path / "b.mp4") - 0.5) < 0.15


def test_a_silent_source_gives_a_silent_video(tmp_path):
    video.write_video(tmp_path / "a.mp4", _frames(2), synthetic=True)
    video.write_video(tmp_path / "b.mp4", _frames(2), synthetic=True, audio=tmp_path / "a.mp4")
    assert not video.probe(tmp_path / "b.mp4").has_audio


def test_sound_without_pictures_is_explained(tmp_path):
    _sound(tmp_path / "s.m4a", 0.3)
    with pytest.raises(UserError, match="no pictures, only audio"):
        video.probe(tmp_path / "s.m4a")


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_what_is_no_video_is_explained(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.mp4"):
        next(video.read_frames(tmp_path / "a.mp4"))


def test_missing_and_cut_off_videos_are_explained(tmp_path):
    with pytest.raises(UserError, match="no such video"):
        video.probe(tmp_path / "none.mp4")
    video.write_video(tmp_path / "a.mp4", _frames(30), synthetic=True)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(UserError, match=r"half\.mp4"):
        list(video.read_frames(tmp_path / "half.mp4"))


def test_absent_webcam_is_explained():
    with pytest.raises(UserError, match="camera"):
        next(video.read_frames("webcam:93"))


def test_a_webcam_is_read_from_the_systems_device(tmp_path, monkeypatch):
    video.write_video(tmp_path / "camera.mp4", _frames(3), synthetic=True)
    opened = av.open

    def camera(name, *, format=None):
        return opened(str(tmp_path / "camera.mp4") if (name, format) == ("/dev/video2", "v4l2") else name)

    monkeypatch.setattr(av, "open", camera)
    assert len(list(video.read_frames("webcam:2"))) == 3


def test_a_failed_or_empty_video_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="no frame"):
        video.write_video(tmp_path / "a.mp4", [], synthetic=True)

    def broken():
        yield from _frames(2)
        raise RuntimeError("renderer died")

    with pytest.raises(RuntimeError, match="renderer died"):
        video.write_video(tmp_path / "a.mp4", broken(), synthetic=True)
    with pytest.raises(UserError, match=r"written as \.mp4"):
        video.write_video(tmp_path / "a.avi", _frames(2), synthetic=True)
    assert list(tmp_path.iterdir()) == []


def test_real_clip_with_sound(data_dir, tmp_path):
    path = data_dir / "videos/id00002/studio/00001.mp4"
    info = video.probe(path)
    assert (info.size, info.rate, info.has_audio) == ((480, 480), Fraction(30), True)
    assert video.count_frames(path) == 216
    with video.VideoWriter(tmp_path / "a.mp4", info.rate, synthetic=False, audio=path) as writer:
        for frame in video.read_frames(path):
            if frame.index == 30:
                break
            writer.write(frame.image)
    assert abs(_audio_seconds(tmp_path / "a.mp4") - 1.0) < 0.1
