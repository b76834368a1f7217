"""Limits of alert rules as lines over the curves: dragged by operators, kept as rules."""

import pytest
from bokeh.plotting import figure

from dashboard.accounts import MAY_LOOK, Viewer
from dashboard.parts.thresholds import Thresholds
from pychip_stream import config as configuration
from pychip_stream.errors import PychipError
from pychip_stream.operation.edited_rules import EditedRules

COLORS, NEWEST = {"alpha": "#0072b2", "beta": "#e69f00"}, {"alpha": 0.75, "unknown": 0.25}


class AtOnce:
    def do(self, work, done, *, failed, slot):
        assert slot
        try:
            done(work())
        except PychipError as error:
            failed(str(error))


@pytest.fixture
def rules(tmp_path):
    found = EditedRules(configuration.parse({"watch": {"root": "acquisition"}}, "test", tmp_path))
    found.put({"name": "high", "quantity": "fraction", "class": "alpha", "above": 0.5}, "ann")
    return found


@pytest.fixture
def make(rules):
    def of(viewer):
        one = Thresholds(figure(), rules, AtOnce(), viewer)
        one.sent = []
        one.widget._send_msg = one.sent.append
        one.widget._handle_msg({"type": "ready"})
        one.show(COLORS, NEWEST)
        return one

    return of


def look(one):
    one.show(COLORS, NEWEST)


def line(one, name="high"):
    (found,) = (part for part in one._figure.center if part.name == f"rule {name}")
    return found


def limits(rules):
    return {rule.name: (rule.above, rule.below, rule.clear) for rule in rules.current().rules}


def test_a_line_that_was_dragged_and_stands_still_changes_its_rule(rules, make):
    one, other = make(Viewer("ann")), make(Viewer("bob", operator=False))
    line(one).location = 0.6
    look(one)
    line(one).location = 0.70049
    assert one.sent[-1]["rows"] == [["high", "high: above 70.0 %", "#0072b2", 0.7]]
    look(one)  # it has moved since the last look
    assert limits(rules)["high"] == (0.5, None, None)
    look(one)
    assert limits(rules)["high"] == (0.7, None, None)
    assert rules.edited()["high"].who == "ann"
    for viewer in (one, other):
        look(viewer)
        assert line(viewer).location == 0.7
        assert viewer.sent[-1]["rows"] == one.sent[-1]["rows"]


@pytest.mark.parametrize(("asked", "limit"), [(1.7, 1.0), (-3, 0.0), (10**400, 1.0)])
def test_a_limit_stays_within_the_fractions(rules, make, asked, limit):
    one = make(Viewer("ann"))
    line(one).location = asked
    for _ in range(2):
        look(one)
    assert limits(rules)["high"][0] == limit


def test_keys_beside_the_words_do_the_same_and_nonsense_does_nothing(rules, make):
    one = make(Viewer("ann"))
    for odd in ({"name": "other", "value": 0.1}, {"name": "high", "value": float("nan")},
                {"name": ["high"], "value": 0.1}, {"name": "high"}):  # fmt: skip
        one.widget._handle_msg({"type": "limit", **odd})
    assert line(one).location == 0.5
    one.widget._handle_msg({"type": "limit", "name": "high", "value": 0.51})
    for _ in range(2):
        look(one)
    assert limits(rules)["high"][0] == 0.51


def test_where_it_clears_moves_with_the_limit_and_what_makes_no_sense_goes_back(rules, make):
    fields = {"name": "low", "quantity": "unknown", "below": 0.4, "clear": 0.5}
    rules.put(fields, "ann")
    one = make(Viewer("ann"))
    line(one, "low").location = 0.1
    for _ in range(2):
        look(one)
    assert limits(rules)["low"] == (None, 0.1, pytest.approx(0.2))
    rules.path.unlink()
    rules.path.mkdir()  # nothing can be written there
    line(one, "low").location = 0.3
    for _ in range(3):
        look(one)
    assert one.sent[-1]["note"].startswith("not kept: ")


def test_a_new_rule_begins_where_it_does_not_fire(rules, make):
    one = make(Viewer("ann"))
    for side in ("above", "below", "above", "beside"):
        one.widget._handle_msg({"type": "rule", "subject": "alpha", "side": side})
    one.widget._handle_msg({"type": "rule", "subject": "unknown", "side": "above"})
    one.widget._handle_msg({"type": "rule", "subject": "gamma", "side": "above"})
    found = limits(rules)
    assert {name: pair[:2] for name, pair in found.items() if name != "high"} == {
        "alpha above": (0.88, None), "alpha below": (None, 0.38), "alpha above 2": (0.88, None),
        "unknown above": (0.62, None),
    }  # fmt: skip
    look(one)
    assert line(one, "alpha above").location == 0.88
    assert "alpha above 88.0 %" in [row[1] for row in one.sent[-1]["rows"]]


def test_a_viewer_sees_and_moves_nothing(rules, make):
    one = make(Viewer("bob", operator=False))
    assert not line(one).editable
    assert not one.sent[-1]["changes"]
    before = limits(rules)
    line(one).location = 0.9
    one.widget._handle_msg({"type": "rule", "subject": "alpha", "side": "above"})
    for _ in range(3):
        look(one)
    assert limits(rules) == before
    assert line(one).location == 0.5
    assert MAY_LOOK in one.sent[-1]["note"]
