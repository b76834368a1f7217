"""Offsets of clocks are tried on the curve by whoever looks, and kept by operators."""

from dataclasses import replace

import numpy as np
import pytest

from dashboard.accounts import Viewer
from dashboard.pages import PAGES
from dashboard.parts import clock_panel
from dashboard.work.feed import Feed
from dashboard.work.opened_run import PastFrames
from dashboard.work.state import RunState
from pychip_stream.analysis.offset_suggestion import Suggestion
from pychip_stream.archive.clock_offsets import set_offset
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.marks import MarkKeeper, mark
from pychip_stream.archive.readings import add_readings
from pychip_stream.archive.run import open_run
from pychip_stream.domain.signals import Note, Readings, Signal
from pychip_stream.domain.support import current_user
from tests.support.page_client import stand

ANN, BOB = Viewer("ann"), Viewer("bob", operator=False)
AS_READ = [0.0, 1, 2, 3, 4, 5]


@pytest.fixture(params=["live", "review"])
def seen(request, desk):
    """What opens the page for a viewer, with the temperature below the curve."""
    state = RunState()
    past = PastFrames(desk.config, state.course, desk.bench)
    one = replace(desk, run=state, past=past)
    feed = Feed(one.config, state, one.bench, past, one.rules)
    feed._follow_changes()
    feed._recall(open_run(one.config.run_path, everything=True))
    return lambda viewer=ANN: Seen(one, request.param, viewer, feed)


class Seen:
    """A page on which clocks are lined up."""

    def __init__(self, desk, name, viewer, feed):
        self.page, self._feed, self._now = PAGES[name](desk, viewer), feed, 1000.0
        if name == "live":
            stand(self.page)._strip._handle_msg({"type": "ready"})
        self.page.pull(self._now)
        if name == "review":
            self.page.panel()
            self.page._cards = desk.shelf.look()
            self.page._on_list({"type": "open", "name": "run"})
            self.view = self.page._opened
            self.view._sections._section.value = "Clocks"
        else:
            self.view = self.page
            self.page._line_up.value = True
        self.panel = self.view._clocks
        self.view._axes._below.value = "temperature_C"
        self.run = desk.config.run_path

    @property
    def temperatures(self):
        """What is drawn after a while."""
        self._now += 10.0
        self._feed._follow_changes()
        self.page.pull(self._now)
        return self.view._plot._second.data["v0"].tolist()

    @property
    def kept(self):
        return [(o.source, o.offset_s, o.who, o.how) for o in open_run(self.run).stimulus.changes]


def test_the_curve_moves_with_the_slider_and_back_when_it_is_hidden(seen):
    one = seen(BOB)
    assert one.temperatures == AS_READ
    one.panel._slider.value = 2.0
    assert one.temperatures == [t - 2 for t in AS_READ]
    one.panel._slider.value = -500.0  # nothing was read then: the choice of the axis stays
    assert np.isnan(one.temperatures).all()
    one.panel._slider.value = float("nan")
    assert one.temperatures == AS_READ
    one.panel._slider.value = 3.0
    one.panel.show(False)
    assert one.temperatures == AS_READ
    assert one.kept == []


def test_an_operator_keeps_what_he_has_tried(seen):
    one = seen()
    one.panel._slider.value = 2.0
    one.panel._keep.clicks += 1
    assert one.temperatures == [t - 2 for t in AS_READ]
    one.panel.show(False)
    assert one.temperatures == [t - 2 for t in AS_READ]  # the curve itself has moved
    assert one.kept == [("furnace", 2.0, "ann", "by hand")]
    one.panel.show(True)
    assert one.panel._slider.value == 2.0
    assert "kept: +2.0 s, by ann" in one.panel._note.object


def test_a_viewer_keeps_nothing_whatever_his_browser_says(seen):
    one = seen(BOB)
    assert not one.panel._keep.visible
    one.panel._slider.value = 2.0
    one.panel._keep.clicks += 1
    assert one.kept == []


def test_a_suggestion_that_is_clear_is_tried_and_kept_with_its_reason(seen, monkeypatch):
    found = [Suggestion(90.25, 0.4, False, "a hunch", 0.25), Suggestion(90.25, 0.9, True, "a step")]
    monkeypatch.setattr(clock_panel, "suggested", lambda _run, _source: found.pop(0))
    one = seen()
    one.panel._suggest()
    assert "nothing clear; the best is +90.2 s ± 0.25 s, a hunch" in one.panel._note.object
    assert one.panel._slider.value == 0.0
    one.panel._suggest()
    assert one.panel._slider.start < one.panel._slider.value == 90.25 < one.panel._slider.end
    one.panel._keep.clicks += 1
    assert one.kept == [("furnace", 90.25, "ann", "a step")]


def test_notes_of_a_log_move_with_its_clock_and_marks_of_people_stay(seen, desk):
    run = open_run(desk.config.run_path)
    MarkKeeper(RunPlaces.of(run.path), run.run_id).put_notes("furnace", [Note(run.start, "gas on")])
    mark(run, run.start, "by hand", who="ann")
    one = seen(BOB)

    def after():
        _ = one.temperatures
        drawn = one.view._plot._marks.data
        return {text: at - drawn["t"][list(drawn["text"]).index("by hand")]
                for at, text in zip(drawn["t"], drawn["text"], strict=True)}  # fmt: skip

    start = after()["gas on"]
    assert after() == {"by hand": 0.0, "gas on": start}
    one.panel._slider.value = 2.0
    moved = after()["gas on"]
    one.panel._slider.value = 4.0
    assert after()["gas on"] - moved == pytest.approx(moved - start) != 0.0
    one.panel.show(False)
    assert after()["gas on"] == start


@pytest.fixture
def readings_of(desk):
    """Add readings of a source, so many seconds after the first frame."""
    run = open_run(desk.config.run_path)

    def add(source, name, seconds, values):
        signals = (Signal(name, "degC", "number", np.array(values, float)),)
        some = Readings(source, run.start + np.array(seconds, float), signals)
        add_readings(RunPlaces.of(run.path), run.run_id, [some])

    return add


def drawn(one):
    """Times and fractions of the frames, as they are drawn."""
    return {name: list(values) for name, values in one.view._plot._measured.data.items()}


only_live = pytest.mark.parametrize("seen", ["live"], indirect=True)


@only_live
def test_a_trial_moves_no_frame_and_ends_where_nothing_can_be_meant(seen):
    one = seen()
    slider = one.panel._slider
    assert (slider.start, slider.end, slider.step) == (-60.0, 60.0, 0.1)
    before = drawn(one)
    slider.value = -2.5
    assert one.temperatures == [t + 2.5 for t in AS_READ]
    assert drawn(one) == before
    for odd in (1e9, float("-inf"), 1e10):
        slider.value = odd
        assert one.temperatures == AS_READ
    one.panel._keep.clicks += 1
    assert one.kept == [("furnace", 0.0, "ann", "by hand")]


@only_live
def test_a_suggestion_that_was_moved_on_from_is_kept_as_by_hand(seen, monkeypatch):
    monkeypatch.setattr(
        clock_panel, "suggested", lambda _run, _source: Suggestion(3.0, 0.9, True, "a step")
    )
    one = seen(Viewer(""))
    one.panel._suggest()
    assert one.temperatures == [t - 3 for t in AS_READ]
    one.panel._slider.value = 2.9
    one.panel._keep.clicks += 1
    assert one.kept == [("furnace", 2.9, current_user(), "by hand")]
    monkeypatch.setattr(clock_panel, "suggested", lambda _run, _source: None)
    one.panel._suggest()
    assert "nothing that furnace and the frames both saw" in one.panel._note.object


@only_live
def test_each_source_has_an_offset_of_its_own(seen, readings_of):
    readings_of("gas", "pressure", range(-5, 20), range(25))
    one = seen()
    assert one.panel._source.options == ["furnace", "gas"]
    one.panel._slider.value = 2.0
    one.panel._source.value = "gas"
    assert one.panel._slider.value == 0.0  # what was tried of the other one has ended
    assert one.temperatures == AS_READ
    one.panel._slider.value = 4.0
    assert one.temperatures == AS_READ
    one.panel._keep.clicks += 1
    assert one.kept == [("gas", 4.0, "ann", "by hand")]
    one.panel._source.value = "furnace"
    assert one.panel._slider.value == 0.0
    assert "by ann" not in one.panel._note.object
    one.panel._source.value = "gas"
    assert one.panel._slider.value == 4.0
    assert "kept: +4.0 s, by ann" in one.panel._note.object


@only_live
def test_what_comes_while_an_offset_is_tried_is_shown_with_it(seen, readings_of):
    one = seen(BOB)
    one.panel._slider.value = 2.0
    readings_of("furnace", "temperature", [3.0], [100.0])
    assert one.temperatures == [-2.0, -1.0, 0.0, 1.0, 2.0, 100.0]
    run = open_run(one.run)
    set_offset(RunPlaces.of(run.path), run.run_id, "furnace", 1.0, who="zoe")
    one.panel.show(False)
    one.panel.show(True)
    assert one.panel._slider.value == 1.0
    assert "kept: +1.0 s, by zoe" in one.panel._note.object
