import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pychip_stream.alert_rules import AlertRule
from pychip_stream.config import Config
from pychip_stream.operation.alerts import Alerting
from pychip_stream.wire.messages import Alert

BETA = ("fraction", "beta")


def rule(**changes):
    options = {"name": "r", "quantity": "fraction", "class": "beta", "hold_off_s": 0.0}
    if "below" not in changes:
        options["above"] = 0.05
    return AlertRule.model_validate(options | changes)


def alerting(one):
    return Alerting(Config.model_validate({"watch": {"root": "."}, "alerts": {"rules": [one]}}))


def on(alert):
    return alert.state == "on"


def run(one, series):
    """Feed (time, value) pairs; returns (time, on) of what fired."""
    engine = alerting(one)
    return [(t, on(a)) for t, value in series for a in engine.look({BETA: value}, "", t)]


def test_a_value_must_stay_beyond_the_limit_for_its_time():
    series = [(0, 0.06), (1, 0.06), (2, 0.04), (3, 0.06), (4, 0.06), (5, 0.06), (6, 0.06)]
    assert run(rule(for_s=3.0), series) == [(6, True)]


def test_it_clears_only_well_inside():
    series = [(0, 0.06), (1, 0.048), (2, 0.046), (3, 0.044), (4, 0.046), (5, 0.06)]
    assert run(rule(), series) == [(0, True), (3, False), (5, True)]
    assert run(rule(clear=0.02), series) == [(0, True)]


def test_below_is_the_mirror_image():
    series = [(0, 0.06), (1, 0.04), (2, 0.052), (3, 0.056)]
    assert run(rule(below=0.05), series) == [(1, True), (3, False)]


def test_it_holds_off_after_it_cleared():
    series = [(0, 1.0), (1, 0.0), (2, 1.0), (10, 1.0), (11, 1.0)]
    assert run(rule(hold_off_s=10.0), series) == [(0, True), (1, False), (11, True)]


def test_what_is_not_known_changes_nothing_but_the_wait():
    series = [(0, 1.0), (1, math.nan), (2, 1.0), (4, 1.0), (5, math.nan), (6, 0.0)]
    assert run(rule(for_s=2.0), series) == [(4, True), (6, False)]
    assert alerting(rule()).look({}, "", 0.0) == []


def test_what_was_on_before_a_restart_does_not_fire_again():
    engine = alerting(rule())
    one = Alert(id="1", rule="r", level="info", state="on", reason="", time=1.0)
    engine.restore({"r": one, "gone": one})
    assert engine.look({BETA: 0.5}, "") == []
    assert [on(a) for a in engine.look({BETA: 0.0}, "")] == [False]


@pytest.mark.parametrize(
    ("one", "value", "says"),
    [
        (rule(for_s=3.0), 0.062, "fraction of beta 6.2% is above 5.0% for 3.0 s"),
        (
            rule(quantity="silence", above=30.0, **{"class": None}),
            31.0,
            "silence 31 s is above 30 s",
        ),
        (
            rule(quantity="backlog", above=100.0, **{"class": None}),
            250.0,
            "backlog 250 is above 100",
        ),
    ],
)
def test_the_reason_says_what_was_seen_and_the_limit(one, value, says):
    engine = alerting(one)
    key = (one.quantity, one.class_ or "")
    fired = [f for t in (0.0, 3.0) for f in engine.look({key: value}, "", t)]
    assert [f.reason for f in fired] == [says]


values = st.one_of(st.floats(-1, 1), st.just(math.nan))


@given(
    series=st.lists(st.tuples(st.floats(0.01, 5.0), values), max_size=60),
    for_s=st.floats(0, 5),
    hold_off_s=st.floats(0, 10),
    above=st.booleans(),
)
def test_firings_alternate_and_are_always_justified(series, for_s, hold_off_s, above):
    one = rule(for_s=for_s, hold_off_s=hold_off_s, **{"above" if above else "below": 0.1})
    engine, now, seen, events = alerting(one), 0.0, [], []
    for step, value in series:
        now += step
        seen.append((now, value))
        events += [(now, f) for f in engine.look({BETA: value}, "", now)]
    assert [on(f) for _, f in events] == [i % 2 == 0 for i in range(len(events))]
    for t, firing in events:
        if on(firing):  # beyond the limit at every look for all of for_s
            recent = [v for s, v in seen if t - for_s <= s <= t]
            assert all(one.beyond(v, one.limit) for v in recent)
            assert t - seen[0][0] >= for_s
        else:
            assert not one.beyond(firing.value, one.clears_at)
    offs = [t for t, f in events if not on(f)]
    ons = [t for t, f in events if on(f)]
    assert all(b - a >= hold_off_s for a, b in zip(offs, ons[1:], strict=False))


BOTH = {
    "quantity": "fraction", "class": "beta", "above": 0.05, "hold_off_s": 0,
    "and": [{"quantity": "temperature_C", "above": 400.0}],
}  # fmt: skip


def test_every_condition_must_hold_and_is_told():
    one = alerting(rule(**BOTH))

    def look(fraction, heat, now):
        values = {("fraction", "beta"): fraction, ("temperature_C", ""): heat}
        return [(alert.state, alert.reason) for alert in one.look(values, "", now)]

    assert look(0.2, 300.0, 0.0) == []
    assert look(0.01, 500.0, 1.0) == []
    assert look(0.2, float("nan"), 2.0) == []
    ((state, reason),) = look(0.2, 500.0, 3.0)
    assert state == "on"
    assert "20.0%" in reason
    assert "temperature_C 500" in reason
    assert look(0.2, float("nan"), 4.0) == []
    ((state, reason),) = look(0.2, 390.0, 5.0)
    assert state == "off"
    assert "hold no more" in reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": "intensity_meen", "above": 1},
        {"quantity": "Nonsense", "above": 1},
        {"quantity": "temperature_C"},
        {"quantity": "fraction", "above": 0.5},
        {"quantity": "temperature_C", "class": "beta", "above": 1},
    ],
)
def test_conditions_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        rule(**BOTH | {"and": [wrong]})
