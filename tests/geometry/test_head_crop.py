import numpy as np
from PIL import Image

from likeness.geometry.head_crop import crop_head, crop_square


def test_row_14_crop_of_the_extraction(parity_dir, data_dir):
    recorded = np.load(parity_dir / "bilayer" / "preprocess.npz")
    with Image.open(data_dir / "bilayer" / "source.jpg") as picture:
        photo = np.asarray(picture.convert("RGB"))
    for index, keypoints in enumerate(recorded["keypoints"]):
        centre, half = crop_square(keypoints)
        np.testing.assert_array_equal(centre, recorded["center"][index])
        assert half == recorded["half_side"][index]
        crop, points = crop_head(photo, keypoints, 256)
        np.testing.assert_allclose(points, recorded["keypoints_saved_px"][index], rtol=1e-5)
        stored = recorded["crop_u8"][index].astype(int)
        assert np.abs(crop[::4, ::4].astype(int) - stored).max() <= 2


def test_what_lies_outside_of_the_frame_is_black():
    keypoints = np.zeros((68, 2), np.float32)
    keypoints[1] = (40, 40)
    crop, points = crop_head(np.full((50, 50, 3), 200, np.uint8), keypoints, 80)
    assert crop[:10].max() == 0
    assert crop[60, 60].min() > 150
    np.testing.assert_allclose(points[1] - points[0], [40, 40])
