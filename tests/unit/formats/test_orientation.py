"""Pictures are turned as every viewer shows them (tag 274 of TIFF and EXIF)."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from pychip_stream.formats.reading import read_frame

RAMP = np.arange(6 * 10, dtype=np.uint8).reshape(6, 10) * 4


def shown(pixels, orientation):
    """What Pillow makes of it."""
    picture = Image.fromarray(pixels)
    picture.getexif()[274] = orientation
    return np.asarray(ImageOps.exif_transpose(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["tif", "jpg", "png"])
def test_a_stored_picture_is_read_as_it_is_shown(tmp_path, kind, orientation):
    path = tmp_path / f"a.{kind}"
    if kind == "tif":
        tifffile.imwrite(path, RAMP, extratags=[(274, 3, 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        options = {"quality": 100} if kind == "jpg" else {}
        buffer = io.BytesIO()
        big = np.kron(RAMP, np.ones((8, 8), np.uint8))
        Image.fromarray(big).save(buffer, "JPEG" if kind == "jpg" else "PNG", exif=exif, **options)
        path.write_bytes(buffer.getvalue())
    pixels = read_frame(path).pixels
    assert pixels.flags.c_contiguous
    if kind != "tif":
        pixels = pixels[4::8, 4::8]
    expected = shown(RAMP, orientation)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pictures_too_large_for_pillow_are_turned_too(tmp_path, monkeypatch, kind):
    exif = Image.Exif()
    exif[274], exif[306] = 6, "2026:03:01 12:00:00"
    Image.fromarray(RAMP).save(tmp_path / "a.png", kind, exif=exif)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    frame = read_frame(tmp_path / "a.png")
    assert frame.shape == (10, 6)
    assert frame.time is not None


def test_pixels_that_are_not_square_are_turned_with_the_picture(tmp_path):
    for orientation, size, ratio in ((1, 10.0, 2.0), (6, 20.0, 0.5)):
        tifffile.imwrite(
            tmp_path / "a.tif",
            RAMP,
            resolution=(1e6, 5e5),
            resolutionunit="CENTIMETER",
            extratags=[(274, 3, 1, orientation, True)],
        )
        frame = read_frame(tmp_path / "a.tif")
        assert (frame.pixel_size, frame.unit) == (pytest.approx(size), "nm")
        assert frame.pixel_ratio == pytest.approx(ratio)
