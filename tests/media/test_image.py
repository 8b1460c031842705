import io

import numpy as np
import pytest
import torch
from PIL import Image

from likeness.errors import UserError
from likeness.media import image as images
from likeness.media.synthetic import is_marked_synthetic

RED = (200, 30, 40)


def test_every_picture_kind_becomes_rgb(tmp_path):
    rgb = Image.new("RGB", (6, 4), RED)
    kinds = {
        "rgb.png": rgb,
        "palette.png": rgb.quantize(4),
        "alpha.png": rgb.convert("RGBA"),
        "rgb.jpg": rgb,
        "rgb.webp": rgb,
        "rgb.bmp": rgb,
        "rgb.gif": rgb,
    }
    for name, picture in kinds.items():
        picture.save(tmp_path / name)
        read = images.read_image(tmp_path / name)
        assert read.shape == (3, 4, 6)
        assert read.dtype == torch.float32
        np.testing.assert_allclose(read[:, 2, 3].numpy() * 255, RED, atol=4, err_msg=name)


def test_grey_cmyk_and_bilevel(tmp_path):
    Image.new("L", (6, 4), 77).save(tmp_path / "grey.png")
    Image.new("LA", (6, 4), (77, 255)).save(tmp_path / "greyalpha.png")
    Image.new("1", (6, 4), 1).save(tmp_path / "bit.png")
    Image.new("CMYK", (6, 4), (0, 0, 0, 0)).save(tmp_path / "cmyk.jpg")
    assert (images.read_uint8(tmp_path / "grey.png") == 77).all()
    assert (images.read_uint8(tmp_path / "greyalpha.png") == 77).all()
    assert (images.read_uint8(tmp_path / "bit.png") == 255).all()
    assert (images.read_uint8(tmp_path / "cmyk.jpg") >= 254).all()


def test_16_bit_grey_keeps_its_brightness(tmp_path):
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "deep.png")
    read = images.read_image(tmp_path / "deep.png")
    np.testing.assert_allclose(read[1].numpy(), values / 65535, atol=0.51 / 255)
    np.testing.assert_allclose(images.read_mask(tmp_path / "deep.png")[0].numpy(), values / 65535, atol=0.51 / 255)


def test_16_bit_colour_keeps_its_brightness(tmp_path):
    import cv2

    deep = np.full((5, 7, 3), (10000, 30000, 60000), np.uint16)  # BGR
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    read = images.read_uint8(tmp_path / "deep.png")
    np.testing.assert_allclose(read[2, 3], np.array([60000, 30000, 10000]) / 257, atol=1)


def test_float_out_of_range_is_explained(tmp_path):
    Image.fromarray(np.full((4, 4), 300.0, np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match="300"):
        images.read_image(tmp_path / "float.tif")


def test_transparency_is_laid_over_the_background(tmp_path):
    Image.new("RGBA", (4, 4), (*RED, 0)).save(tmp_path / "clear.png")
    assert images.read_image(tmp_path / "clear.png").min() == 1
    assert images.read_image(tmp_path / "clear.png", background=0).max() == 0


def test_exif_rotation_is_applied(tmp_path):
    upright = np.zeros((4, 8, 3), np.uint8)
    upright[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer must turn it 90 degrees clockwise
    Image.fromarray(upright).save(tmp_path / "turned.png", exif=exif)
    read = images.read_image(tmp_path / "turned.png")
    assert read.shape == (3, 8, 4)
    assert read[:, :4].min() == 1
    assert read[:, 4:].max() == 0


@pytest.mark.parametrize("content", [b"", b"no picture at all"])
def test_what_is_no_picture_is_explained(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png"):
        images.read_image(tmp_path / "a.png")


def test_half_written_and_missing_pictures_are_explained(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(stream, "JPEG")
    (tmp_path / "half.jpg").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    with pytest.raises(UserError, match="damaged"):
        images.read_image(tmp_path / "half.jpg")
    with pytest.raises(UserError, match="no such"):
        images.read_image(tmp_path / "none.jpg")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_written_pictures_say_whether_they_are_synthetic(tmp_path, name):
    picture = torch.rand(3, 16, 16)
    images.write_image(tmp_path / name, picture, synthetic=True)
    images.write_image(tmp_path / f"real_{name}", picture, synthetic=False)
    assert is_marked_synthetic(tmp_path / name)
    assert not is_marked_synthetic(tmp_path / f"real_{name}")
    assert (images.read_image(tmp_path / name) - picture).abs().mean() < 0.2


def test_png_round_trip_is_exact_and_failures_leave_nothing(tmp_path):
    picture = torch.arange(256).reshape(1, 16, 16).expand(3, -1, -1) / 255
    images.write_image(tmp_path / "a.png", picture, synthetic=True)
    assert torch.equal(images.read_image(tmp_path / "a.png"), picture.float())
    with pytest.raises(UserError, match="use one of"):
        images.write_image(tmp_path / "a.xyz", picture, synthetic=True)
    with pytest.raises((TypeError, ValueError)):
        images.write_image(tmp_path / "b.png", np.zeros((4, 4, 7), np.uint8), synthetic=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_bytes_round_half_up_or_truncate():
    value = torch.full((1, 1, 1), 10.5 / 255, dtype=torch.float64)
    assert images.to_uint8(value + 1e-6).item() == 11
    assert images.to_uint8(value + 1e-6, truncate=True).item() == 10


def test_masks_of_one_and_three_channels(tmp_path):
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    Image.fromarray(grey).save(tmp_path / "one.png")
    Image.fromarray(np.stack([grey, grey, grey], -1)).save(tmp_path / "three.png")
    one, three = images.read_mask(tmp_path / "one.png"), images.read_mask(tmp_path / "three.png")
    assert one.shape == (1, 4, 4)
    assert torch.equal(one, three)


def test_grid_and_resize():
    page = images.grid([torch.full((3, 4, 5), v) for v in (0.0, 0.25, 0.5)], columns=2, gap=1)
    assert page.shape == (3, 9, 11)
    assert page[0, 5, 0] == 0.5
    assert page[0, 5, 10] == 1
    assert images.resize(torch.rand(2, 3, 8, 8), (4, 6)).shape == (2, 3, 4, 6)
    assert images.resize_uint8(np.zeros((8, 8, 3), np.uint8), (4, 6)).shape == (4, 6, 3)


def test_list_images(tmp_path):
    with pytest.raises(UserError, match="holds no picture"):
        images.list_images(tmp_path)
    Image.new("L", (2, 2)).save(tmp_path / "b.png")
    Image.new("L", (2, 2)).save(tmp_path / "a.JPG", "JPEG")
    (tmp_path / "notes.txt").write_text("x")
    assert [p.name for p in images.list_images(tmp_path)] == ["a.JPG", "b.png"]
