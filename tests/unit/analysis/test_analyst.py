"""What an analyst says about frames that do not fit their support set."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from pychip_stream.analysis.analyst import (
    Analyst,
    is_blank,
    range_warning,
    scale_warning,
    shape_warning,
)
from pychip_stream.analysis.drafting import suggest_chips
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.domain.frames import Frame, FrameRef
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import ChipSource, SupportSet
from pychip_stream.model.encoders import load_encoder, open_encoder


def a_frame(pixel_size=0.1, unit="nm", seed=0, source=""):
    rng = np.random.default_rng(seed)
    pixels = rng.poisson(100, (128, 192))
    pixels[:, 96:] += (40 * (np.arange(96) % 8 > 3)).astype(np.int64)
    return Frame(pixels.astype(np.uint16), pixel_size, unit, source=source)


def a_support(frame):
    return SupportSet.from_picks(frame, 32, {"plain": [(0, 0), (3, 1)], "lines": [(0, 4), (3, 5)]})


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("filters", device="cpu")


@pytest.mark.parametrize(
    ("size", "unit", "factor"),
    [(0.1, "nm", None), (1.0, "Å", None), (0.102, "nm", None), (0.2, "nm", "2"),
     (0.05, "nm", "0.5"), (1e-4, "um", None), (None, None, None), (0.1, "1/nm", None),
     (0.1, "", None)],
)  # fmt: skip
def test_another_magnification_is_said_with_its_factor(size, unit, factor):
    warning = scale_warning(a_support(a_frame()), a_frame(size, unit))
    if factor is None:
        assert warning is None
    else:
        assert f"differs by a factor of {factor} from" in warning


def test_counts_of_another_kind_are_said():
    support = a_support(a_frame())
    low, high = support.normalization.low, support.normalization.high
    same = {"intensity_p1": low, "intensity_p99": high}
    assert range_warning(support, same) is None
    assert range_warning(support, {"intensity_p1": low, "intensity_p99": high * 1.5}) is None
    assert range_warning(support, {}) is None
    for other in (257, 1 / 257):
        counts = {name: value * other for name, value in same.items()}
        assert "another bit depth" in range_warning(support, counts)
    by_frame = replace(support, normalization=Normalization("frame"))
    assert range_warning(by_frame, {"intensity_p1": 1e6, "intensity_p99": 2e6}) is None


def test_pixels_that_are_not_square_are_said_with_both_edges():
    assert shape_warning(a_frame()) is None
    assert shape_warning(replace(a_frame(0.5), pixel_ratio=1.001)) is None
    assert shape_warning(replace(a_frame(None, None), pixel_ratio=2.0)) is None
    assert shape_warning(replace(a_frame(0.5), pixel_ratio=2.0)) == (
        "pixels are not square: 0.5 wide, 1 nm high"
    )


def test_examples_without_a_pixel_size_cannot_disagree():
    support = a_support(a_frame(None, None))
    assert scale_warning(support, a_frame()) is None
    assert scale_warning(a_support(a_frame()), a_frame(float("nan"))) is None


def test_the_analyst_says_it_once_and_goes_on(tmp_path, encoder, caplog):
    support = a_support(a_frame())
    chips = tuple(replace(c, source=replace(c.source, pixel_size=0.2)) for c in support.chips)
    support = replace(support, chips=chips)
    analyst = Analyst.of(support, encoder, ClassifyConfig(match_pixel_size=False))
    for number in range(3):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(
            path, a_frame().pixels, imagej=True, resolution=(10, 10), metadata={"unit": "nm"}
        )
        stat = path.stat()
        record = analyst.analyse(
            tmp_path, FrameRef(path=path.name, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
        )
        assert record.status == "ok"
        assert np.isfinite(record.result.drift)
        assert stat.st_mtime <= record.started <= record.read <= record.classified
    said = [r for r in caplog.records if "factor of 0.5" in r.getMessage()]
    assert len(said) == 1
    assert any("factor of 0.5" in line for line in analyst.notices)


def test_another_detector_in_one_run_is_said(encoder):
    analyst = Analyst.of(a_support(a_frame()), encoder, ClassifyConfig())
    lines = []
    for name in ("", "HAADF", "", "HAADF", "BF", "BF", "HAADF"):
        frame = replace(a_frame(), metadata={"detector": name} if name else {})
        analyst.analyse_frame(frame, "", FrameRef(path="a.tif"))
        lines.append([line for line in analyst.notices if "detector" in line])
    assert lines[:4] == [[]] * 4
    assert [len(said) for said in lines[4:]] == [1, 1, 1]
    assert lines[4][0].startswith("frames of the detector BF beside those of HAADF")


def test_a_set_of_another_encoder_is_embedded_again_and_said(encoder, caplog):
    frame = a_frame()
    bundled = open_encoder(EncoderConfig(device="cpu"))
    support = Analyst.of(a_support(frame), bundled, ClassifyConfig()).classifier.support
    analyst = Analyst.of(support, encoder, ClassifyConfig(method="euclidean", sensitivity=2.0))
    assert any("its chips are embedded again" in r.getMessage() for r in caplog.records)
    assert analyst.classifier.support.embedding.encoder_hash == encoder.weights_hash
    assert (analyst.classifier.method, analyst.classifier.sensitivity) == ("euclidean", 2.0)


def test_suggestions_leave_out_what_is_an_example_on_this_frame(encoder):
    frame = a_frame(source="/data/first.tif")
    support = a_support(frame)
    found = suggest_chips(frame, support, encoder, count=20)
    places = {(s.row, s.column) for s in found}
    assert found
    assert not places & {(0, 0), (3, 1), (0, 4), (3, 5)}
    elsewhere = replace(frame, source="/data/second.tif")
    assert suggest_chips(elsewhere, support, encoder, count=3)
    assert ChipSource().path == ""


DARK = np.random.default_rng(1).poisson(30, (128, 192)).astype(np.uint16)
SIGNAL = (a_frame().pixels * 40).astype(np.uint16)


def test_a_frame_without_beam_is_blank_and_nothing_else_is(encoder):
    """M25: it was a spike to 100 % unknown, and said to be of another exposure."""
    frame = replace(a_frame(), pixels=SIGNAL)
    analyst = Analyst.of(a_support(frame), encoder, ClassifyConfig())

    def blank(pixels):
        record = analyst.analyse_frame(replace(frame, pixels=pixels), "", FrameRef(path="a.tif"))
        assert record.measured["blank"] == record.blank
        return record.blank

    assert [blank(pixels) for pixels in (DARK, DARK * 0, DARK * 0 + 3)] == [True] * 3
    assert analyst.notices == ()
    assert not blank(SIGNAL)
    assert not blank(SIGNAL // 2)
    assert not blank(np.kron(SIGNAL[::4, ::4] // 12, np.ones((4, 4), np.uint16)))  # faint
    assert not blank(DARK + SIGNAL.max())  # vacuum in bright field
    assert not blank(DARK * 0 + SIGNAL.max())  # saturated


def test_where_each_frame_has_its_own_range_a_single_grey_value_is_blank():
    support = a_support(a_frame())
    by_frame = replace(support, normalization=Normalization("frame"))
    assert not is_blank(by_frame, replace(a_frame(), pixels=DARK))
    assert is_blank(by_frame, replace(a_frame(), pixels=DARK * 0 + 7))


def test_what_looks_like_an_example_is_never_blank(encoder):
    """A dark, empty support is a class of its own in many a dark field."""
    pixels = SIGNAL.copy()
    pixels[:, :96] = DARK[:, :96]
    frame = replace(a_frame(), pixels=pixels)
    analyst = Analyst.of(a_support(frame), encoder, ClassifyConfig())
    record = analyst.analyse_frame(replace(frame, pixels=DARK), "", FrameRef(path="a.tif"))
    assert is_blank(analyst.support, replace(frame, pixels=DARK))
    assert record.measured["blank"] == 0
