import numpy as np

from likeness.capture.depthnet import write_landmark_tree
from likeness.formats.depthnet3dfaw import load_archive, read_landmarks, read_split_list


def test_a_tree_without_pictures_is_whole_and_agrees_with_its_archives(tmp_path):
    write_landmark_tree(tmp_path, train=5, valid=4, test=6, seed=7)
    assert len(list((tmp_path / "train_lm").glob("*_lm.csv"))) == 5
    rows = read_split_list(tmp_path / "list_valid_test.txt")
    assert [row.orientation for row in rows if row.split == "test"] == ["left", "center", "right"] * 2
    test = load_archive(tmp_path / "test.npz", require=("ids", "orientations"))
    landmarks = read_landmarks(tmp_path / "valid_lm" / f"{test.ids[1]}_lm.csv")
    ratio = landmarks[:, 0] / test.xy[1, :, 0]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-5)
    assert len(load_archive(tmp_path / "train.npz")) == 5
    assert list(load_archive(tmp_path / "valid.npz", require=("ids",)).ids) == [
        row.id for row in rows if row.split == "valid"
    ]
