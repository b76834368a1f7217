"""Events: marks of people, changed by those who made them, and what the run tells of itself."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from pychip_stream.archive import marks
from pychip_stream.archive.alert_journal import AlertRow
from pychip_stream.archive.clock_offsets import set_offset
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.marks import (
    EVENTS,
    Event,
    EventRow,
    MarkKeeper,
    change_mark,
    events_of,
    in_force,
    mark,
)
from pychip_stream.archive.repair import damage, repair_run
from pychip_stream.archive.row_group import read_rows
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.signals import Note
from pychip_stream.errors import UsageError
from tests.support.archive_samples import fill, make_run, record, result, support
from tests.support.failing_disks import QuickDisk

START = 1.7e9


@pytest.fixture(params=["closed", "live"])
def path(request, tmp_path):
    return make_run(tmp_path, 4, close=request.param == "closed")


def told(path):
    return [(one.time - START, one.kind, one.text, one.who) for one in events_of(open_run(path))]


def test_marks_come_in_order_of_time_and_are_changed_by_who_made_them(path):
    run = open_run(path)
    late = mark(run, START + 3, "gas\non", who="ann")
    mark(run, START + 1.5, "stage moved", who="bob")
    assert told(path) == [(1.5, "mark", "stage moved", "bob"), (3, "mark", "gas on", "ann")]
    with pytest.raises(UsageError, match=f"{late} is by ann"):
        change_mark(run, late, who="bob", text="no")
    change_mark(run, late, who="ann", text="gas off")
    assert told(path)[1] == (3, "mark", "gas off", "ann")
    change_mark(run, late, who="ann", removed=True)
    assert len(told(path)) == 1
    with pytest.raises(UsageError, match="has no mark"):
        change_mark(run, late, who="ann", text="again")


@pytest.mark.parametrize("text", ["", " \n", "x" * 401])
def test_a_mark_needs_a_text(path, text):
    with pytest.raises(UsageError, match="1 to 400"):
        mark(open_run(path), START, text, who="ann")
    with pytest.raises(UsageError, match="moment"):
        mark(open_run(path), float("nan"), "x", who="ann")
    assert told(path) == []


def test_what_others_wrote_over_a_mark_does_not_count():
    first = EventRow("event-1", "a", 5.0, "mine", "mark", False, "ann", 9.0)
    other = dataclasses.replace(first, change="event-2", text="not mine", who="bob")
    assert in_force([first, other]) == [Event("a", 5.0, "mark", "mine", "ann", 9.0)]


def test_an_open_run_learns_of_them(path):
    run = open_run(path)
    mark(open_run(path), START, "x", who="ann")
    assert run.refresh() and not run.refresh()


def test_they_go_into_the_archive_with_their_history(path):
    run = open_run(path)
    event = mark(run, START + 1, "one", who="ann")
    change_mark(run, event, who="ann", text="two")
    places = RunPlaces.of(path)
    if run.live:
        RunWriter(path.parent, "run", disk=QuickDisk()).close()
    else:
        merge_scorings(path)
    assert EVENTS.files(places) == []
    kept = read_rows(places.closed, "events", EventRow)
    assert [row.text for row in kept] == ["one", "two"]
    mark(open_run(path), START + 2, "later", who="bob")
    assert [one[2] for one in told(path)] == ["two", "later"]
    assert damage(path) == []
    repair_run(path)
    assert [one[2] for one in told(path)] == ["two", "later"]


def test_notes_of_a_log_are_kept_once_and_stand_on_its_clock(path, caplog, monkeypatch):
    run = open_run(path)
    places, notes = RunPlaces.of(path), [Note(START + 1, "gas on"), Note(START + 2, "x" * 500)]
    MarkKeeper(places, run.run_id).put_notes("oven", notes)
    MarkKeeper(places, run.run_id).put_notes("oven", [*notes, Note(START + 3, "gas on")])
    assert [(t, k, x[:6], w) for t, k, x, w in told(path)] == [
        (1, "mark", "gas on", "oven"), (2, "mark", "xxxxxx", "oven"), (3, "mark", "gas on", "oven")
    ]  # fmt: skip
    assert len(told(path)[1][2]) == 400
    MarkKeeper(places, run.run_id).put_notes("oven", notes)
    assert len(EVENTS.files(places)) == 2
    mark(run, START + 5, "mine", who="ann")
    set_offset(places, run.run_id, "oven", 10.0, who="ann")
    assert [one[0] for one in told(path)] == [5, 11, 12, 13]
    first = events_of(open_run(path))[1].event
    change_mark(open_run(path), first, who="oven", text="gas off")
    assert told(path)[1][0::2] == (11, "gas off")
    if run.live:
        RunWriter(path.parent, "run", disk=QuickDisk()).close()
    else:
        merge_scorings(path)
    assert [one[0] for one in told(path)] == [5, 11, 12, 13]
    set_offset(places, run.run_id, "oven", 0.0, who="ann")
    assert [one[0] for one in told(path)] == [1, 2, 3, 5]
    monkeypatch.setattr(marks, "MOST_NOTES", 5)
    keeper = MarkKeeper(places, run.run_id)
    for n in range(3):
        keeper.put_notes("oven", [Note(START + n, f"{n} {m}") for m in range(3)])
    assert len(told(path)) == 6
    assert sum("more than 5 notes" in r.getMessage() for r in caplog.records) == 1


def test_marks_of_an_archive_that_knows_no_sources_are_read(tmp_path):
    path = make_run(tmp_path, 2)
    mark(open_run(path), START + 1, "old", who="ann")
    merge_scorings(path)
    with h5py.File(path, "r+") as file:
        group = file["entry/events"]
        digests = json.loads(group.attrs["digest"])
        del group["source"], digests["source"]
        group.attrs["digest"] = np.bytes_(json.dumps(digests))
    assert told(path) == [(1, "mark", "old", "ann")]
    assert damage(path) == []


def test_the_run_itself_tells_of_support_sets_and_alerts(tmp_path):
    first, second = support(), support(seed=1)
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    for made in (first, second):
        writer.add_support(support_to_bytes(made), made.version)
    versions = [first.version] * 3 + [second.version] * 2
    # Frame 1 was caught up late: under the second set, which had not come then.
    fill(writer, [record(n, result=result(n, version=v)) for n, v in enumerate(versions) if n != 1])
    late = record(1, result=result(1, version=second.version))
    fill(writer, [dataclasses.replace(late, classified=record(9).classified)])
    alert = AlertRow(
        "7", "hot", "critical", "on", "drift", 2.0, 1.0, "drift above 1", START + 4, "", False
    )
    for row in (alert, dataclasses.replace(alert, id="8", state="off")):
        writer.add_alert(row)
    path = writer.close()
    switch = f"support set {second.note}"
    expected = [(3, "support", switch, ""), (4, "alert", "hot: drift above 1", "")]
    assert told(path) == expected
