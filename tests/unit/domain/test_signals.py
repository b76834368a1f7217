"""Readings of a source, joined to the times of frames."""

import numpy as np
import pytest

from pychip_stream.domain import quantities
from pychip_stream.domain.signals import join, quantity_name, series_of, unit_of

NAN = np.nan


def of(time, values, *, kind="number", gap=10.0, source="holder", name="Temperature", offset=0.0):
    time, values = np.asarray(time, float), np.asarray(values, float)
    return series_of(source, name, "degC", kind, gap, time, values, offset)


@pytest.mark.parametrize(
    ("name", "unit", "quantity"),
    [
        ("Temperature", "degC", "temperature_C"),
        ("Channel A Current", "mA", "channel_a_current_mA"),
        ("temperature_c", "degC", "temperature_C"),
        ("2nd heater", "%", "x_2nd_heater_percent"),
        ("flow", "ml/min", "flow_ml_per_min"),
        ("Δ", "", "value"),
    ],
)
def test_a_quantity_has_a_name_for_tables(name, unit, quantity):
    assert quantity_name(name, unit) == quantity


@pytest.mark.parametrize(
    ("text", "unit"),
    [("[°C]", "degC"), ("Degrees C", "degC"), ("µA", "uA"), ("(mbar)", "mbar"), ("", "")],
)
def test_units_are_written_as_in_nexus(text, unit):
    assert unit_of(text) == unit


def test_a_number_is_interpolated_and_a_pause_shifts_nothing():
    ramp = of([0, 1, 2, 100, 101], [0, 10, 20, 20, 30])
    found = ramp.at(np.array([-1.0, 0.0, 0.5, 2.0, 50.0, 100.5, 101.0, 101.1]))
    np.testing.assert_allclose(found, [NAN, 0, 5, 20, NAN, 25, 30, NAN])


def test_a_state_is_not_smeared_and_holds_over_a_gap():
    valve = of([0, 100], [0, 1], kind="state", gap=5)
    found = valve.at(np.array([-1.0, 50.0, 99.9, 100.0, 104.0, 106.0]))
    np.testing.assert_array_equal(found, [NAN, 0, 0, 1, 1, NAN])


def test_time_backwards_nan_and_two_readings_at_once():
    one = of([5, 3, 4, 4, np.nan, 6], [50, 30, 0, 40, 1, np.nan])
    assert one.time.tolist() == [3, 4, 5]
    assert one.values.tolist() == [30, 40, 50]
    assert of([], []).at(np.arange(3.0)).tolist() == pytest.approx([NAN] * 3, nan_ok=True)


def test_the_offset_is_added_to_the_clock_of_the_source():
    np.testing.assert_allclose(of([0, 10], [0, 10], offset=37.0).at(np.array([42.0])), [5.0])


def test_of_sources_that_overlap_the_first_counts_and_the_next_fills():
    first = of([0, 1], [1, 1])
    second = of([0, 1, 2], [5, 5, 5], source="other")
    found = join([first, second], np.array([0.5, 1.5]))
    assert found["temperature_C"].tolist() == [1, 5]


def test_a_unit_that_changes_is_another_quantity():
    kelvin = series_of("holder", "Temperature", "K", "number", 10, np.zeros(1), np.ones(1))
    assert join([of([0], [0]), kelvin], np.zeros(1)).keys() == {"temperature_C", "temperature_K"}


def test_the_quantity_is_known_once_it_is_declared(monkeypatch):
    monkeypatch.setattr(quantities, "_STIMULI", {})
    assert quantities.find("bias_V") is None
    quantities.declare_stimulus("bias_V", "V", "bias")
    quantities.declare_stimulus("drift", "", "not this one")
    assert quantities.find("bias_V").unit == "V"
    assert quantities.tell("bias_V", 1.5) == "1.5 V"
    assert "bias_V" not in [q.name for q in quantities.of_frames()]
    assert "bias_V" in [q.name for q in quantities.of_frames((), {"bias_V"})]
    assert quantities.find("drift") is quantities.OF_FRAMES["drift"]
