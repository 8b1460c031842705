import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from likeness.errors import UserError
from likeness.formats import heads
from likeness.media.video import VideoWriter, write_video
from likeness.perception import head_clip
from likeness.perception.extract_heads import extract_heads
from likeness.perception.protocols import Face


def _frame(number: int, face: bool = True) -> np.ndarray:
    frame = np.full((96, 128, 3), 40 + number, np.uint8)
    if face:
        frame[20:70, 40:90] = 220
    return frame


class StubTracker:
    """Takes a bright square for a face: landmarks in a box of 50 x 45 pixels around (65, 45)."""

    def follow(self, frames, face=None, any_face=False):
        for image in frames:
            if image[45, 65].mean() < 200:
                yield None
                continue
            random = np.random.default_rng(1)
            points = (random.random((68, 2)) * 30 + [50, 30]).astype(np.float32)
            points[0], points[16], points[36], points[45] = (40, 25), (90, 70), (50, 40), (80, 40)
            yield Face(points, np.zeros(68, np.float32))

    def detect(self, image, any_face=False):
        return [face for face in self.follow([image]) if face is not None]


@pytest.fixture
def stubs(monkeypatch):
    monkeypatch.setattr(head_clip, "_tracker", StubTracker)
    monkeypatch.setattr(
        head_clip, "_segmenter", lambda model, device: lambda image: image[..., 0].astype(np.float32) / 255
    )


def _video(root: Path, name: str, frames) -> Path:
    path = root / f"{name}.mp4"
    write_video(path, frames, 25, synthetic=True)
    return path


def _tree(root: Path) -> dict[str, bytes]:
    parts = [root / part for part in ("imgs", "keypoints", "segs")]
    return {str(p.relative_to(root)): p.read_bytes() for part in parts for p in sorted(part.rglob("*")) if p.is_file()}


def test_row_16_extractor_tree_names_dtypes_and_faceless_frames(stubs, tmp_path, capsys):
    videos, out = tmp_path / "videos", tmp_path / "data"
    _video(videos, "id1/abc/00001", [_frame(n, face=n != 6) for n in range(10)])
    _video(videos, "id2/def/00001", [_frame(n) for n in range(3)])
    reports = extract_heads(videos, out, sampling_rate=3)
    assert sorted(_tree(out)) == sorted(
        f"{part}/train/{clip}/{number}{suffix}"
        for part, suffix in heads.SUFFIXES.items()
        for clip, numbers in (("id1/abc/00001", (0, 3, 9)), ("id2/def/00001", (0,)))
        for number in numbers
    )
    with Image.open(out / "imgs/train/id1/abc/00001/3.jpg") as image:
        assert (image.size, image.mode) == ((256, 256), "RGB")
    with Image.open(out / "segs/train/id1/abc/00001/3.png") as mask:
        assert (mask.size, mask.mode) == ((256, 256), "L")
    keypoints = np.load(out / "keypoints/train/id1/abc/00001/3.npy")
    assert keypoints.shape == (1, 136)
    # The box runs from (40, 25) to (90, 70): half side 50, centre (65, 47) [47.5 to even: 48] raised by 50 // 6 = 8.
    np.testing.assert_allclose(keypoints[0, :2], [(40 - 15) * 2.56, (25 + 10) * 2.56], rtol=1e-5)
    assert [report.kept for report in reports] == [3, 1]
    assert reports[0].skipped_frames == {"no face found": [6]}
    assert "1 frames left out: no face found" in capsys.readouterr().out
    frame = heads.read_frame(out, "train", "id1/abc/00001/0")
    assert frame.mask.shape == (1, 256, 256)


def test_masks_can_be_left_out_and_phase_and_size_chosen(stubs, tmp_path):
    _video(tmp_path / "videos", "a/b/c", [_frame(0)])
    extract_heads(tmp_path / "videos", tmp_path / "data", phase="test", output_segmentation=False, image_size=64)
    assert sorted(_tree(tmp_path / "data")) == ["imgs/test/a/b/c/0.jpg", "keypoints/test/a/b/c/0.npy"]
    assert Image.open(tmp_path / "data/imgs/test/a/b/c/0.jpg").size == (64, 64)


def test_a_second_run_keeps_what_is_done_and_redoes_what_changed(stubs, tmp_path, monkeypatch):
    videos, out = tmp_path / "videos", tmp_path / "data"
    path = _video(videos, "a/b/c", [_frame(n) for n in range(4)])
    extract_heads(videos, out)
    before = _tree(out)
    with monkeypatch.context() as patch:
        patch.setattr(head_clip, "_extract", lambda *_: pytest.fail("extracted again"))
        extract_heads(videos, out)
    extract_heads(videos, out, sampling_rate=2)
    assert [name for name in _tree(out) if name.startswith("imgs")] == [f"imgs/train/a/b/c/{n}.jpg" for n in (0, 2)]
    extract_heads(videos, out)
    assert _tree(out) == before
    _video(videos, "a/b/c", [_frame(n) for n in range(2)])
    os.utime(path, (1, 1))
    extract_heads(videos, out)
    assert len(_tree(out)) == 6


def test_bad_videos_are_told_and_the_good_ones_done(stubs, tmp_path, capsys):
    videos, out = tmp_path / "videos", tmp_path / "data"
    good = _video(videos, "a/b/good", [_frame(n) for n in range(4)])
    (videos / "a/b/corrupt.mp4").write_bytes(b"no video at all" * 50)
    (videos / "a/b/empty.mp4").write_bytes(b"")
    (videos / "a/b/half.mp4").write_bytes(good.read_bytes()[:700])
    _video(videos, "a/b/faceless", [_frame(n, face=False) for n in range(4)])
    with av.open(str(videos / "a/b/sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    reports = {Path(report.source).stem: report for report in extract_heads(videos, out)}
    assert {name: report.state for name, report in reports.items()} == {
        "good": "done", "corrupt": "skipped", "empty": "skipped", "half": "skipped", "faceless": "skipped",
        "sound": "skipped",
    }  # fmt: skip
    assert "only audio" in reports["sound"].reason
    assert reports["faceless"].reason == "no frame with a usable face"
    assert len(_tree(out)) == 12
    assert not list(out.glob(".extracting/**/*.jpg"))
    manifest = json.loads((out / "manifest/train/a/b/corrupt.json").read_text())
    assert manifest["state"] == "skipped"
    assert "damaged" in manifest["reason"]
    assert "sound.mp4" in capsys.readouterr().out


def test_variable_rate_and_rotated_videos_are_upright_and_numbered(stubs, tmp_path):
    videos, out = tmp_path / "videos", tmp_path / "data"
    with VideoWriter(videos / "a/b/variable.mp4", 25, synthetic=True) as writer:
        for number, at in enumerate((0.0, 0.04, 0.5, 0.54, 2.0)):
            writer.write(_frame(number), at)
    with av.open(str(videos / "a/b/turned.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 128, "yuv420p"
        stream.set_display_rotation(90)
        for number in range(2):  # stored on its side, with the mark that turns it upright again
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(_frame(number), -1)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    reports = {Path(report.source).stem: report for report in extract_heads(videos, out)}
    assert reports["variable"].kept == 5
    assert reports["turned"].kept == 2
    turned, straight = (heads.read_frame(out, "train", f"a/b/{name}/0") for name in ("turned", "variable"))
    assert np.abs(turned.image - straight.image).mean() < 0.05


def test_foreign_folders_are_not_overwritten(stubs, tmp_path):
    videos, out = tmp_path / "videos", tmp_path / "data"
    _video(videos, "a/b/c", [_frame(0)])
    foreign = out / "imgs/train/a/b/c/7.jpg"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    (report,) = extract_heads(videos, out)
    assert report.state == "skipped"
    assert "move it away" in report.reason
    assert foreign.read_bytes() == b"mine"
    foreign.unlink()
    foreign.parent.rmdir()
    (report,) = extract_heads(videos, out)
    assert report.state == "done"


def test_what_is_no_video_root_is_explained(stubs, tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        extract_heads(tmp_path / "none", tmp_path / "data")
    (tmp_path / "videos").mkdir()
    with pytest.raises(UserError, match="holds no video"):
        extract_heads(tmp_path / "videos", tmp_path / "data")
    _video(tmp_path / "videos", "a/c", [_frame(0)])
    with pytest.raises(UserError, match="PERSON/VIDEO/SEQUENCE"):
        extract_heads(tmp_path / "videos", tmp_path / "data")
    with pytest.raises(UserError, match="1 or more"):
        extract_heads(tmp_path / "videos", tmp_path / "data", sampling_rate=0)


def test_a_full_disk_stops_with_a_word_and_leaves_no_frame(stubs, tmp_path, monkeypatch):
    def full(*_):
        raise UserError("the disk is full: nothing was written", path=tmp_path / "data")

    _video(tmp_path / "videos", "a/b/c", [_frame(0)])
    monkeypatch.setattr(head_clip, "write_frame", full)
    with pytest.raises(UserError, match="disk is full"):
        extract_heads(tmp_path / "videos", tmp_path / "data")
    assert _tree(tmp_path / "data") == {}
    assert not list((tmp_path / "data").rglob("*.json"))


def test_a_model_of_ones_own_makes_the_masks(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from likeness.perception.segmentation import ModelSegmenter

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    entry = helper.make_tensor_value_info("x", kind, [1, 3, 32, 32])
    exit_ = helper.make_tensor_value_info("y", kind, [1, 1, 32, 32])
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=1)
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [1])
    graph = helper.make_graph([node], "mean", [entry], [exit_], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "mean.onnx")
    mask = ModelSegmenter(tmp_path / "mean.onnx")(np.full((48, 64, 3), 51, np.uint8))
    assert mask.shape == (48, 64)
    np.testing.assert_allclose(mask, 0.2, atol=1e-5)
    with pytest.raises(UserError, match="no such model"):
        ModelSegmenter(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    with pytest.raises(UserError, match="ONNX"):
        ModelSegmenter(tmp_path / "bad.onnx")


def _copy_clips(data_dir: Path, videos: Path, count: int) -> None:
    source = (data_dir / "videos/id00002/studio/00001.mp4").read_bytes()
    for number in range(count):
        path = videos / f"id{number}" / "v" / "00001.mp4"
        path.parent.mkdir(parents=True)
        path.write_bytes(source)


def _command(videos: Path, out: Path, *more: str) -> list[str]:
    words = ["extract", "heads", str(videos), str(out), "--sampling-rate", "36", *more]
    return [sys.executable, "-m", "likeness.cli.main", *words]


def _environment() -> dict[str, str]:
    import likeness

    return os.environ | {"PYTHONPATH": str(Path(likeness.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def _kill_once_something_is_there(process: subprocess.Popen, pattern: Path) -> None:
    deadline = time.monotonic() + 120
    while not list(pattern.parent.glob(pattern.name)):
        assert time.monotonic() < deadline
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_killed_half_way_and_run_again_nothing_is_lost_or_doubled(mediapipe_installed, data_dir, tmp_path):
    videos = tmp_path / "videos"
    _copy_clips(data_dir, videos, 4)
    subprocess.run(_command(videos, tmp_path / "whole"), env=_environment(), check=True, capture_output=True)
    out = tmp_path / "data"
    process = subprocess.Popen(
        _command(videos, out), env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _kill_once_something_is_there(process, out / "manifest/train/id*")
    assert len(list((out / "manifest/train").glob("*/v/*.json"))) < 4
    done = subprocess.run(_command(videos, out, "--workers", "2"), env=_environment(), check=True, capture_output=True)
    assert b"4 clips done, 24 frames kept" in done.stdout
    assert _tree(out) == _tree(tmp_path / "whole")
    assert not list(out.glob(".extracting/**/*.*"))


@pytest.mark.slow
def test_two_ray_nodes_and_one_of_them_killed_half_way(mediapipe_installed, data_dir, tmp_path):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    videos = tmp_path / "videos"
    _copy_clips(data_dir, videos, 6)
    subprocess.run(_command(videos, tmp_path / "whole"), env=_environment(), check=True, capture_output=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        out = tmp_path / "data"
        process = subprocess.Popen(
            _command(videos, out, "--ray", cluster.address),
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 300
        while not list(out.glob("manifest/train/id*/v/*.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        printed, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors
        assert b"6 clips done, 36 frames kept" in printed
        assert _tree(out) == _tree(tmp_path / "whole")
    finally:
        cluster.shutdown()
        if ray.is_initialized():
            ray.shutdown()


@pytest.mark.slow
def test_ctrl_c_stops_without_tracebacks_and_can_be_taken_up(mediapipe_installed, data_dir, tmp_path):
    videos, out = tmp_path / "videos", tmp_path / "data"
    _copy_clips(data_dir, videos, 6)
    process = subprocess.Popen(
        _command(videos, out, "--workers", "2"),
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Python leaves Ctrl-C alone where its parent ignored it, as shells do for jobs in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("manifest/train/id*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"run the same command again" in errors
    assert b"Traceback" not in errors + printed
    assert len(list((out / "manifest/train").glob("*/v/*.json"))) < 6
    done = subprocess.run(_command(videos, out), env=_environment(), check=True, capture_output=True)
    assert b"6 clips done, 36 frames kept" in done.stdout


def test_real_clip_over_two_processes(mediapipe_installed, data_dir, tmp_path):
    videos = tmp_path / "videos"
    _copy_clips(data_dir, videos, 2)
    done = subprocess.run(
        _command(videos, tmp_path / "data", "--workers", "2"),
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 clips done, 12 frames kept" in done.stdout
    frame = heads.read_frame(tmp_path / "data", "train", "id0/v/00001/36")
    assert frame.mask[0, 100:150, 100:150].min() > 0.9  # the face
    assert frame.mask[0, :20, :10].max() < 0.1  # a corner of the wall
    inside = (frame.keypoints > 0) & (frame.keypoints < 256)
    assert inside.all()
