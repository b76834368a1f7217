import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pychip_stream.domain.chips import ChipSize
from pychip_stream.formats.reading import read_frame
from pychip_stream.model.grid_advice import correlation_length, recommend_grid
from pychip_stream.sim.specimen import Experiment


def lattice(period, edge=480, noise=0.5, angle=0.3, overtone=0.0):
    y, x = np.mgrid[:edge, :edge]
    along = x * np.cos(angle) + y * np.sin(angle)
    wave = np.cos(2 * np.pi * along / period) + overtone * np.cos(4 * np.pi * along / period)
    return 100 + wave + noise * np.random.default_rng(0).normal(size=(edge, edge))


@pytest.mark.parametrize("period", [9.3, 13.0, 21.0])
def test_a_lattice_wants_about_two_and_three_quarter_periods(period):
    advice = recommend_grid(lattice(period))
    assert advice.kind == "lattice"
    assert advice.period == pytest.approx(period, rel=0.01)
    assert advice.smallest == pytest.approx(2 * period, abs=2)
    assert advice.largest == pytest.approx(4 * period, abs=2)
    wanted = max(2.75 * period, 32)
    assert advice.chip_size == pytest.approx(wanted, abs=2)
    assert f"{advice.chip_size} px hold" in advice.reason
    assert advice.warnings == ()


def test_a_fine_lattice_gets_a_warning_below_32_px():
    advice = recommend_grid(lattice(5.0))
    assert advice.chip_size == 20
    assert any("32 px" in line for line in advice.warnings)


def test_downsampling_keeps_the_finest_fringes():
    plain = recommend_grid(lattice(26.0))
    assert plain.largest_downsampling == 6
    assert plain.downsampling == 2  # chips of 72 px
    assert recommend_grid(lattice(26.0, overtone=0.5)).largest_downsampling == 3


def test_fringes_close_to_aliasing_are_said():
    assert any("aliasing" in line for line in recommend_grid(lattice(3.4)).warnings)


def test_without_a_lattice_the_autocorrelation_decides():
    rng = np.random.default_rng(1)
    blobs = ndimage.gaussian_filter(rng.normal(size=(600, 600)), 20) * 100
    advice = recommend_grid(blobs + 0.1 * rng.normal(size=blobs.shape))
    assert advice.kind == "texture"
    assert advice.correlation == pytest.approx(40, rel=0.15)  # exp(-(d / 2σ)²) = 1/e at 2σ
    assert advice.chip_size == pytest.approx(advice.correlation, abs=1)
    assert "structures are about" in advice.reason


def test_noise_is_no_lattice_and_gets_the_smallest_good_chip():
    advice = recommend_grid(np.random.default_rng(0).poisson(50, (256, 256)))
    assert (advice.kind, advice.chip_size, advice.size) == ("texture", 32, ChipSize(32, 32))
    assert correlation_length(np.random.default_rng(0).normal(size=(256, 256))) < 2


def test_a_tilted_background_does_not_pass_for_structure():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(256, 256))
    assert correlation_length(noise + np.linspace(0, 50, 256)) < 3


def test_large_frames_are_looked_at_in_parts():
    frame = np.random.default_rng(0).normal(size=(1800, 1700))
    frame[-700:, -700:] += 3 * lattice(15.0, 700, noise=0)
    advice = recommend_grid(frame)
    assert advice.kind == "lattice"
    assert advice.period == pytest.approx(15.0, rel=0.05)


@pytest.mark.parametrize("scenario", ["transformation", "amorphisation"])
def test_the_lattices_of_the_simulator(scenario):
    advice = recommend_grid(Experiment(scenario, 3, 60, (384, 384)).frame(0).pixels)
    assert advice.kind == "lattice"
    assert 6 < advice.period < 11
    assert 2 * advice.period - 2 <= advice.chip_size <= 4 * advice.period + 2


def test_the_chips_of_the_pychip_authors(shared_data):
    lao = recommend_grid(read_frame(shared_data / "pychip_fig2bc" / "LaO.png"))
    assert (lao.kind, lao.chip_size) == ("lattice", 34)
    moo3 = recommend_grid(read_frame(shared_data / "pychip_fig2bc" / "MoO3.tiff"))
    assert moo3.kind == "texture"
    assert 30 <= moo3.chip_size <= 36


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64, np.bool_]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=60),
    )
)
def test_any_frame_gets_a_usable_answer(pixels):
    with np.errstate(all="ignore"):
        advice = recommend_grid(pixels)
    assert advice.chip_size >= 4
    assert advice.smallest <= advice.largest
    assert advice.downsampling >= 1
    assert np.isfinite(advice.correlation)


def test_an_empty_frame_is_said():
    assert any("no contrast" in w for w in recommend_grid(np.full((200, 200), 7)).warnings)
    hot = np.full((200, 200), 7.0)
    hot[3, 3] = np.nan
    assert any("no contrast" in w for w in recommend_grid(hot).warnings)


def test_a_peak_that_stands_out_less_than_its_flank_is_a_lattice_still():
    """The largest ratio lay beside it, and no fringe at all was found to be the finest."""
    rng = np.random.default_rng(0)
    fine = rng.normal(1000, 200, (2048, 2048))
    coarse = np.kron(rng.normal(2000, 400, (256, 256)), np.ones((8, 8)))
    pixels = np.where(np.arange(2048)[None, :] < 1024, fine, coarse)
    assert recommend_grid(np.clip(pixels, 0, 65535).astype(np.uint16)).chip_size >= 8
