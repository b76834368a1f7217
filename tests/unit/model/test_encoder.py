import numpy as np
import pytest
import torch

from pychip_stream.domain.chips import CELLS, ChipSize, Grid
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.errors import EncoderError, FrameError
from pychip_stream.model.encoders import Encoder, load_encoder
from pychip_stream.model.encoders import dense as encoder_module

RANGE = Normalization("range", 0.0, 4000.0)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("filters", device="cpu")


def textures(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Left half: fine stripes; right half: coarse stripes; noise over both."""
    rng = np.random.default_rng(seed)
    x = np.arange(width)
    period = np.where(x < width // 2, 5.0, 17.0)
    wave = 2000 + 800 * np.sin(2 * np.pi * x / period)
    return (wave[None] + rng.normal(0, 100, (height, width))).astype(np.uint16)


def test_an_embedding_per_chip_of_the_cropped_grid(encoder):
    z = encoder.embed(textures(150, 217), 50, RANGE)
    assert z.shape == (3, 4, encoder.dim)
    assert z.dtype == np.float32
    assert np.isfinite(z).all()


@pytest.mark.parametrize("chip_size", [32, 64, "34x35", (100, 40)])
def test_a_chip_is_the_mean_over_its_cells(encoder, chip_size):
    image = textures(210, 230)
    cells = encoder.embed_cells(image, chip_size, RANGE)
    assert cells.shape[2] == CELLS * CELLS
    np.testing.assert_allclose(cells.mean(2), encoder.embed(image, chip_size, RANGE), atol=2e-5)


def test_cells_come_row_by_row(encoder):
    image = np.zeros((64, 64), np.uint16)
    image[:16, 48:] = 4000  # top right cell
    mean = encoder.embed_cells(image, 64, RANGE)[0, 0, :, 0]
    assert mean.argmax() == 3


def test_stripes_of_two_periods_lie_apart(encoder):
    z = encoder.embed(textures(256, 512), 64, RANGE)
    left, right = z[:, :3].reshape(-1, encoder.dim), z[:, 5:].reshape(-1, encoder.dim)
    apart = np.linalg.norm(left.mean(0) - right.mean(0))
    assert apart > 5 * max(left.std(0).max(), right.std(0).max())


def test_intensity_is_kept(encoder):
    dark, bright = np.full((64, 64), 400, np.uint16), np.full((64, 64), 3600, np.uint16)
    assert np.abs(encoder.embed(dark, 64, RANGE) - encoder.embed(bright, 64, RANGE)).max() > 1


@pytest.mark.parametrize(("chip_size", "row", "column"), [(64, 0, 0), (64, 2, 3), ("34x50", 3, 5)])
def test_a_chip_with_its_surroundings_embeds_as_it_does_in_its_frame(
    encoder, chip_size, row, column
):
    image = textures(256, 300, seed=1)
    size = ChipSize.parse(chip_size)
    patch = Grid.of(image.shape, size).patch(image, row, column, (size.height, size.width))
    alone = encoder.embed(patch, size, RANGE)[1, 1]
    np.testing.assert_allclose(alone, encoder.embed(image, size, RANGE)[row, column], atol=1e-4)


def test_windows_of_a_large_frame_join_without_seams(encoder, monkeypatch):
    image = textures(320, 384, seed=2)
    whole = encoder.embed(image, 64, RANGE)
    monkeypatch.setattr(encoder_module, "TILE", 2)
    np.testing.assert_allclose(encoder.embed(image, 64, RANGE), whole, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_detector_types_give_one_embedding(encoder, dtype):
    image = (textures(128, 128) // 32).astype(np.uint8)
    norm = Normalization("range", 10.0, 110.0)
    reference = norm.apply(image.astype(np.float64))
    expected = encoder.embed(reference, 64, Normalization("range", 0.0, 1.0))
    found = encoder.embed(np.asfortranarray(image.astype(dtype)), 64, norm)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_byte_order_and_read_only_memory_do_not_matter(encoder):
    image = textures(128, 128)
    swapped = image.astype(">u2")
    swapped.flags.writeable = False
    np.testing.assert_array_equal(
        encoder.embed(swapped, 64, RANGE), encoder.embed(image, 64, RANGE)
    )


def test_a_bad_pixel_spoils_no_number(encoder):
    image = textures(128, 192).astype(np.float32)
    image[10, 10], image[70, 70], image[100, 20] = np.nan, np.inf, -np.inf
    assert np.isfinite(encoder.embed(image, 64)).all()
    assert np.isfinite(encoder.embed(np.full((64, 64), 7, np.uint8), 64)).all()


def test_without_a_normalization_gain_and_offset_do_not_matter(encoder):
    image = textures(128, 192).astype(np.float64)
    np.testing.assert_allclose(
        encoder.embed(image, 64), encoder.embed(image * 3.5 + 900, 64), atol=5e-3
    )


def test_a_frame_and_its_pixels_are_one(encoder):
    image = textures(128, 128)
    np.testing.assert_array_equal(
        encoder.embed(Frame(image), 64, RANGE), encoder.embed(image, 64, RANGE)
    )


def test_repeats_exactly(encoder):
    image = textures(128, 128)
    np.testing.assert_array_equal(encoder.embed(image, 64, RANGE), encoder.embed(image, 64, RANGE))
    assert load_encoder("filters", device="cpu").weights_hash == encoder.weights_hash


def test_chip_larger_than_the_frame_is_an_error(encoder):
    with pytest.raises(FrameError, match="smaller than one chip"):
        encoder.embed(textures(40, 40), 64, RANGE)


def test_two_dimensions_are_required(encoder):
    with pytest.raises(FrameError, match="two-dimensional"):
        encoder.embed(np.zeros((3, 64, 64)), 64)


def test_unknown_names_say_what_there_is():
    with pytest.raises(EncoderError, match=r"resnet99.*'bundled'.*resnet18"):
        load_encoder("resnet99")


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(EncoderError, match="cannot be used here"):
        load_encoder("filters", device=device)


def test_an_unknown_precision():
    with pytest.raises(EncoderError, match="float32, bfloat16"):
        load_encoder("filters", device="cpu/float8")


def test_device_and_precision_are_said(encoder):
    assert encoder.device == "cpu/float32"
    assert load_encoder("bundled", device="cpu/bfloat16").device == "cpu/bfloat16"
    assert load_encoder("filters", device="cpu/bfloat16").device == "cpu/float32"
    assert load_encoder("bundled", device="cpu").device in {
        f"cpu/{precision}" for precision in ("float32", "bfloat16", "int8")
    }
    assert torch.is_grad_enabled()
