"""Frames are left out on the page by operators, for everybody at once, and taken back."""

import csv

import numpy as np
import pytest

from dashboard.accounts import Viewer
from dashboard.pages import PAGES
from dashboard.parts.download_bar import write_export
from dashboard.parts.review_tables import difference_table, provenance_tables
from dashboard.work.feed import Feed
from dashboard.work.history import History
from dashboard.work.opened_run import OpenedRun
from dashboard.work.runs import RunShelf
from pychip_stream.archive.exclusions import exclude
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.marks import events_of, mark
from pychip_stream.archive.run import open_run
from pychip_stream.domain.frames import FrameRef
from pychip_stream.export import EXPORTS
from pychip_stream.export.kinds import ExportSource
from tests.support.live_frames import HALF, LABELS, live, replaced, shot
from tests.support.page_client import stand

ANN, BOB = Viewer("ann"), Viewer("bob", operator=False)


def key(number):
    return f"frame_{number:03d}.tif", 0


def leave_out(desk, *numbers, undo=False):
    path = desk.config.run_path
    keys = [key(n) for n in numbers]
    exclude(RunPlaces.of(path), open_run(path).run_id, keys, who="zoe", undo=undo)


def left_out(desk):
    return open_run(desk.config.run_path).exclusions[["frame", "who"]].values.tolist()


def page_of(desk, name, viewer=ANN):
    """A page whose canvases keep what they are sent."""
    page = PAGES[name](desk, viewer)
    if name == "live":
        stand(page)
    else:
        page.panel()
    page.pull(1000.0)
    if name == "review":
        page._cards = desk.shelf.look()
        page._on_list({"type": "open", "name": "run"})
        page = page._opened
        view = page._view
    else:
        view = page._frame
    page.captions = []
    view.canvas.send = lambda **message: page.captions.append(message.get("caption", ""))
    return page


def drawn(desk):
    return desk.run.course.curves(None).measured.times.tolist()


def test_a_curve_is_without_what_is_left_out():
    history = History()
    for number in range(4):
        history.put((str(number), 0), float(number), {"a": (number, number, number)})
    history.leave_out({("3", 0), ("1", 0), ("not here", 0)})
    assert history.curves(10).times.tolist() == [0.0, 2.0]
    assert history.curves(10).columns["a"][:, 0].tolist() == [0.0, 2.0]
    assert history.curves(1).columns["a"][0].tolist() == [1.0, 0.0, 2.0]
    assert history.newest_time() == 2.0
    assert history.nearest(1.1) == ("1", 0)  # to be looked at, and taken back
    assert len(history) == 4
    history.put(("1", 0), 1.5, {"a": (1, 1, 1)})  # analysed again
    assert history.curves(10).times.tolist() == [0.0, 2.0]
    history.leave_out(())
    assert history.curves(10).times.tolist() == [0.0, 1.5, 2.0, 3.0]


def test_an_operator_leaves_the_shown_frame_out_and_takes_it_back(desk):
    page, other = page_of(desk, "live"), page_of(desk, "live", BOB)
    assert drawn(desk) == [1.0, 2.0, 3.0]
    assert page._leaving.button.label == "Leave this frame out"
    page._leaving.button.clicks += 1
    assert left_out(desk) == [[2, "ann"]]
    assert drawn(desk) == [1.0, 2.0]
    assert page._pinned
    assert "left out by ann at" in page.captions[-1]
    assert "frame_002.tif" in page.captions[-1]
    other.pull(1001.0)  # who looks at it is told at once
    assert "left out by ann at" in other.captions[-1]
    assert page._leaving.button.label == "Take this frame back"
    page._leaving.button.clicks += 1
    assert left_out(desk) == []
    assert drawn(desk) == [1.0, 2.0, 3.0]
    assert "left out" not in page.captions[-1]
    other.pull(1002.0)
    assert other.captions[-1].startswith("frame_002.tif")


@pytest.mark.parametrize("name", ["live", "review"])
def test_a_viewer_sees_no_button_and_his_browser_does_nothing(desk, name):
    page = page_of(desk, name, BOB)
    assert not page._leaving.button.visible
    page._leaving.button.clicks += 1
    assert left_out(desk) == []
    assert page_of(desk, name, ANN)._leaving.button.visible


def test_the_same_in_review_for_every_viewer_of_the_run(desk):
    page, other = page_of(desk, "review"), page_of(desk, "review", BOB)
    page._on_scrub({"type": "seek", "number": 4})
    other._on_scrub({"type": "seek", "number": 4})
    page._leaving.button.clicks += 1
    assert left_out(desk) == [[4, "ann"]]
    assert len(page._opened.curves()) == 5
    assert "1 left out" in page._title.object
    assert "left out by ann at" in page.captions[-1]
    other.pull(2000.0)
    assert len(other._opened.curves()) == 5
    assert "left out by ann at" in other.captions[-1]
    assert page._picture.number == 4
    assert np.isfinite(page._picture.intervals).all()  # it is shown as it was measured
    page._leaving.button.clicks += 1
    other.pull(3000.0)
    assert left_out(desk) == []
    assert len(page._opened.curves()) == len(other._opened.curves()) == 6
    assert "left out" not in page._title.object + page.captions[-1] + other.captions[-1]


def test_the_frame_that_was_asked_for_last_is_shown(desk, monkeypatch):
    """Two threads read frames; and what others leave out meanwhile leads nobody back."""
    page = page_of(desk, "review")
    do, begun = page._background.do, []
    monkeypatch.setattr(page._background, "do", lambda *work, **_: begun.append(work))
    page._on_scrub({"type": "seek", "number": 2})
    page._on_scrub({"type": "seek", "number": 4})
    exclude(RunPlaces.of(desk.config.run_path), page._opened.run.run_id, [key(0)], who="zoe")
    page._opened.refresh()
    page._refreshed(True)
    for work in reversed(begun):
        do(*work)
    assert page._picture.number == 4


def test_what_is_left_out_elsewhere_is_noticed(desk):
    feed = Feed(desk.config, desk.run, desk.bench, desk.past, desk.rules)
    feed._follow_changes()
    leave_out(desk, 0)
    feed._follow_changes()
    assert drawn(desk) == [2.0, 3.0]
    leave_out(desk, 0, undo=True)
    feed._follow_changes()
    assert drawn(desk) == [1.0, 2.0, 3.0]


def test_marks_made_elsewhere_are_noticed_and_known_to_a_page_that_starts_later(desk):
    feed = Feed(desk.config, desk.run, desk.bench, desk.past, desk.rules)
    run = open_run(desk.config.run_path)
    mark(run, run.start + 1, "gas on", who="zoe")
    before = desk.run.course.changes
    feed._follow_changes()
    assert [one.text for one in desk.run.course.events] == ["gas on"]
    assert desk.run.course.changes > before
    desk.run.course.tell([])
    feed._recall(open_run(desk.config.run_path, everything=True))
    assert [one.text for one in desk.run.course.events] == ["gas on"]


@pytest.mark.parametrize(("viewer", "written"), [(ANN, ["hot"]), (BOB, [])])
def test_only_operators_mark_whatever_the_browser_says(desk, viewer, written):
    page = page_of(desk, "review", viewer)
    panel = page._sections._events
    panel._text._handle_msg({"type": "mark", "text": " hot "})
    panel._text._handle_msg({"type": "mark", "text": " "})
    panel._write("hot again") if viewer is BOB else None
    assert [one.text for one in events_of(open_run(desk.config.run_path))] == written


@pytest.mark.parametrize("held", [True, False])
def test_a_mark_is_of_the_moment_at_which_it_was_opened(desk, held):
    page = page_of(desk, "live")
    if held:
        page._on_pick(2.0)
    moment = page._frame.picture.time
    page._mark._handle_msg({"type": "opened"})
    later = shot(live("frame_004.tif", time=moment + 5.0))
    page._frame.show(later.picture)
    page._mark._handle_msg({"type": "mark", "text": "gas on"})
    page._mark._handle_msg({"type": "mark", "text": "next"})
    found = events_of(open_run(desk.config.run_path))
    assert [(one.time, one.text) for one in found] == [
        (moment, "gas on"), (later.picture.time, "next")
    ]  # fmt: skip


def test_a_page_that_starts_later_knows_of_it(desk):
    leave_out(desk, 1)
    feed = Feed(desk.config, desk.run, desk.bench, desk.past, desk.rules)
    feed._recall(open_run(desk.config.run_path, everything=True))
    assert len(drawn(desk)) == 5
    assert len(desk.run.course) == 6


def test_downloads_tables_and_comparisons_are_without_it(desk, tmp_path):
    path = desk.config.run_path
    before = OpenedRun(path, tmp_path)
    mean = before.intervals[1:, 0, 0].mean()
    leave_out(desk, 0)
    opened = OpenedRun(path, tmp_path)
    second = OpenedRun(path, tmp_path, opened.run.scorings[1])
    table = difference_table(opened, second)
    assert "over the 5 frames that both have" in table["note"]
    assert table["rows"][0][1] == f"{100 * mean:.1f} %"
    assert sum(opened.confidence()[0]) == 12 * 5
    source = ExportSource(opened.exported(), lambda *_: None, 3)
    (kind,) = (one for one in EXPORTS if one.name == "csv")
    made = write_export(kind, source, tmp_path, lambda *_: None)
    with made.open(newline="") as file:
        assert [row["frame"] for row in csv.DictReader(file)] == ["1", "2", "3", "4", "5"]
    tables = {t["title"]: t for t in provenance_tables(opened.run)}
    assert [row[:3] for row in tables["Left out"]["rows"]] == [["frame_000.tif", "0", "zoe"]]


def heard(path, moment, seen):
    return replaced(live(path), frame=FrameRef(path=path, time=moment, seen=seen))


def test_the_page_names_what_does_not_stand_at_its_own_time(desk):
    page = page_of(desk, "live")
    page._strip._handle_msg({"type": "ready"})

    def told():
        page.pull(1000.0 + desk.run.course.changes)
        return [text for _, text in page._status()["alerts"] if "its own time" in text]

    for number in range(8):
        message = heard(f"{number}.tif", 1.7e9 + number, 1.7e9 + number + 0.1)
        desk.run.course.record(message, shot(message).picture)
    assert told() == []
    message = heard("x", 4.07e9, 1.7e9 + 3.5)
    desk.run.course.record(message, shot(message).picture)
    (line,) = told()
    assert line.startswith("x: its own time, 2098-")


def test_a_frame_of_the_future_does_not_stop_the_picture(desk):
    feed = Feed(desk.config, desk.run, desk.bench, desk.past, desk.rules)
    desk.run.shot = None
    arrays = {"label_map": LABELS, "intervals": HALF}
    for path, moment, seen in (("a", 0.0, 0.1), ("2099", 2e9, 1.0), ("b", 2.0, 2.1)):
        feed._take_live(heard(path, 1.7e9 + moment, 1.7e9 + seen), arrays)
        feed._show_newest()
    assert desk.run.shot.picture.key == ("b", 0)


def test_a_run_all_of_whose_frames_are_left_out_still_has_a_card(desk):
    leave_out(desk, *range(6))
    (card,) = RunShelf([desk.config.archive.folder], desk.config.watch.root).look()
    assert (card.trouble, card.frames, card.preview) == ("", 6, b"")
