"""Which frames make a pair, what is read of them, and that written lists are replayed."""

import numpy as np
import pytest
import torch
from PIL import Image

from likeness.errors import UserError
from likeness.methods.bilayer.data import load_frames, make_batches
from likeness.methods.bilayer.pairs import PairRule, Videos, format_samples, read_samples, root_five


@pytest.mark.parametrize("frames", [7, 13, 100])
@pytest.mark.parametrize("start", ["0.0", "0.37"])
def test_row_14_frame_sequence(parity_dir, frames, start):
    arrays = np.load(parity_dir / "bilayer" / "preprocess.npz")
    assert root_five(float(start), 24, frames) == arrays[f"frames.n{frames}.start{start}"].tolist()


def test_row_17_three_trees_intersect_and_broken_frames_fall_back(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path, people=2)
    (root / "segs/train/id0/v0/c0/3.png").unlink()
    assert len(Videos.list(root, "train").frames[0]) == 5
    (root / "imgs/train/id0/v0/c0/2.jpg").write_bytes(b"no picture")
    names = ["id0/v0/c0/2"]
    config = small_config(data_root=root)
    reserve = ["id0/v0/c0/2", "id0/v0/c0/0"]
    with pytest.warns(UserWarning, match="stands in for id0/v0/c0/2"):
        broken = load_frames(root, "train", names, reserve, config)
    whole = load_frames(root, "train", ["id0/v0/c0/0"], [], config)
    assert all(torch.equal(a, b) for a, b in zip(broken, whole, strict=True))
    with pytest.raises(UserError, match="image"):
        load_frames(root, "train", names, [], config)


def test_row_17_published_variants_of_keypoints_and_masks(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path, people=1)
    config = small_config(data_root=root)
    name = "id0/v0/c0/0"
    before = load_frames(root, "train", [name], [], config)
    points = np.load(root / f"keypoints/train/{name}.npy").reshape(68, 2)
    np.save(root / f"keypoints/train/{name}.npy", np.c_[points, np.ones(68)])
    grey = np.asarray(Image.open(root / f"segs/train/{name}.png"))
    Image.fromarray(np.stack([grey] * 3, -1)).save(root / f"segs/train/{name}.png")
    after = load_frames(root, "train", [name], [], config)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_row_17_modes(tmp_path, make_tree):
    root = make_tree(tmp_path / "data", people=2, clips=2, frames=11)
    videos = Videos.list(root, "train")
    draw = {mode: PairRule(mode, 2, 1, seed=3) for mode in ("random", "paper", "metrics", "same")}
    metrics = draw["metrics"].draw(videos, 0, 1)
    assert (*metrics.sources, *metrics.targets) == videos.frames[0][:3]
    same = draw["same"].draw(videos, 0, 1)
    assert len({*same.sources, *same.targets}) == 1
    assert draw["random"].draw(videos, 0, 1) == draw["random"].draw(videos, 0, 1)
    assert len({draw["random"].draw(videos, 0, epoch) for epoch in range(1, 9)}) > 1
    testing = PairRule("paper", testing=True).draw(videos, 1, 5)
    frames = videos.frames[1]
    assert testing.sources == (frames[0],)
    assert testing.targets == (frames[round((5**0.5 % 1) * (len(frames) - 1))],)
    # The running number goes on from item to item: two epochs draw as one long sequence does.
    rule = PairRule("paper", seed=3)
    first = np.random.default_rng([3, 5]).random()
    long = root_five(first, 8, len(frames))
    drawn = [f for epoch in (1, 2) for item in (0, 1) for f in _both(rule.draw(videos, item, epoch))]
    assert drawn == [videos.frames[i // 2 % 2][n] for i, n in enumerate(long)]


def _both(sample):
    return (*sample.sources, *sample.targets)


def test_row_17_yaw_and_distance_modes(tmp_path, make_tree):
    root = make_tree(tmp_path / "data", people=1, clips=2, frames=6)
    videos = Videos.list(root, "train")
    yaws = {}
    for number, name in enumerate(videos.frames[0]):
        path = tmp_path / "yaws" / "train" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        yaws[name] = number * 14.0 - 80
        np.save(path, np.array([yaws[name], 0, 0]))
    for epoch in range(1, 12):
        for mode in ("yaw_close_original", "yaw_close_uniform"):
            sample = PairRule(mode, yaw_root=tmp_path / "yaws").draw(videos, 0, epoch)
            bins = {yaws[n] // 10 for n in _both(sample)}
            assert len(bins) == 1
        rule = PairRule("yaw_min_max", yaw_root=tmp_path / "yaws", abs_min_yaw=0, abs_max_yaw=40)
        assert all(abs(yaws[n]) <= 40 for n in _both(rule.draw(videos, 0, epoch)))
        sample = PairRule("distance", min_distance=10.0).draw(videos, 0, epoch)
        a, b = (np.load(root / f"keypoints/train/{n}.npy") for n in _both(sample))
        assert ((a - b) ** 2).sum() >= 10
    with pytest.raises(UserError, match="--yaw-root"):
        PairRule("yaw_min_max").draw(videos, 0, 1)
    with pytest.raises(UserError, match="lower --min-distance"):
        PairRule("distance", min_distance=1e9).draw(videos, 0, 1)


def test_row_17_one_pair_a_video_and_equal_batches_for_processes(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path, people=5, frames=4)
    config = small_config(data_root=root, batch_size=2)
    batches = make_batches(config, "train")
    assert len(batches) == 3
    assert sorted(s.sources[0].split("/")[0] for s in batches.epoch_samples()) == [f"id{i}" for i in range(5)]
    halves = [make_batches(config, "train", rank, 2)[0] for rank in (0, 1)]
    assert torch.equal(torch.cat([h.target_imgs for h in halves]), batches[0].target_imgs)
    with pytest.raises(UserError, match="imgs/nowhere"):
        make_batches(small_config(data_root=root, train_phase="nowhere"), "train")


def test_row_18_lists_replay_identical_pairs(tmp_path, make_tree, small_config):
    root = make_tree(tmp_path / "data", people=3)
    config = small_config(data_root=root, batch_size=2)
    batches = make_batches(config, "train")
    epochs = []
    for epoch in (1, 2):
        batches.set_epoch(epoch)
        epochs.append(batches.epoch_samples())
    listed = tmp_path / "train_filenames.txt"
    listed.write_text(f"data-root:{root}\n" + format_samples([s for e in epochs for s in e]))
    again = make_batches(small_config(train_load_from=listed, batch_size=2), "train")
    for epoch in (1, 2):
        again.set_epoch(epoch)
        batches.set_epoch(epoch)
        assert again.epoch_samples() == epochs[epoch - 1]
        for position in range(len(batches)):
            assert torch.equal(batches[position].source_imgs, again[position].source_imgs)
            assert torch.equal(batches[position].target_poses, again[position].target_poses)


def test_row_18_the_documented_spelling_is_read_too(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("data-root: /d\nsource1: /d/imgs/train/a/b/c/0.jpg\ntarget1: a/b/c/1.jpg\n")
    _, samples = read_samples(listed)
    assert samples[0].sources == ("a/b/c/0",)
    assert samples[0].targets == ("a/b/c/1",)


@pytest.mark.parametrize(("mixing", "low", "high"), [("constant", 20, 40), ("falling", 20, 40)])
def test_row_23_general_data_is_mixed_in_by_epochs(tmp_path, make_tree, small_config, mixing, low, high):
    own = make_tree(tmp_path / "own", people=1)
    general = make_tree(tmp_path / "general", people=4)
    config = small_config(data_root=own, general_data_root=general, general_mixing=mixing, epochs=60)
    batches = make_batches(config, "train")
    used = []
    for epoch in range(1, 61):
        batches.set_epoch(epoch)
        used.append(batches.videos.root == general)
        assert len(batches.order) == (4 if used[-1] else 1)
    assert low <= sum(used) <= high
    if mixing == "falling":
        assert sum(used[:20]) > sum(used[-20:])
    limited = make_batches(small_config(data_root=own, general_data_root=general, general_videos=2), "train")
    assert len(limited.general.frames) == 2
