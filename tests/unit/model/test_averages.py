import numpy as np
import pytest

from pychip_stream.model.intervals import field_interval, series_interval


def test_fields_follow_astm_e562():
    mean, low, high = field_interval([0.20, 0.24, 0.22, 0.26, 0.18])
    assert mean == pytest.approx(0.22)
    assert high - mean == pytest.approx(2.776 * 0.0316228 / np.sqrt(5), rel=1e-3)
    assert mean - low == pytest.approx(high - mean)


def test_one_field_says_nothing_and_none_is_an_error():
    assert field_interval([0.3, np.nan]) == (0.3, 0.0, 1.0)
    assert series_interval([0.3, 0.4])[1:] == (0.0, 1.0)
    with pytest.raises(ValueError, match="no finite"):
        field_interval([np.nan])


def test_a_series_of_alike_frames_gets_a_wider_interval_than_fields():
    rng = np.random.default_rng(0)
    value, values = 0.0, []
    for _ in range(300):
        value = 0.95 * value + rng.normal(0, 0.01)
        values.append(0.5 + value)
    series, fields = series_interval(values), field_interval(values)
    assert series.high - series.low > 2 * (fields.high - fields.low)


def test_independent_frames_agree_in_both():
    values = np.random.default_rng(1).normal(0.5, 0.05, 200)
    series, fields = series_interval(values), field_interval(values)
    assert series.high - series.low == pytest.approx(fields.high - fields.low, rel=0.4)
