"""The live view: made anew at a bounded cost, and in time."""

import pytest

from pychip_stream.archive import live
from pychip_stream.archive.catalog import FileCatalog
from pychip_stream.archive.compaction import GRACE_S
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.files import RunPlaces


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def view(tmp_path, clock, monkeypatch):
    """A view that takes a second to make, and notes when it is made."""
    places = RunPlaces(tmp_path, "run")
    made = live.LiveView(places, FileCatalog(places), Disk())
    made.times = []

    def renew():
        made.times.append(clock[0])
        clock[0] += 1.0

    monkeypatch.setattr(made, "_renew", renew)
    return made


def test_it_takes_a_fixed_share_of_the_time(view, clock):
    view.changed(moved=False)
    for _ in range(500):
        clock[0] += 1.0
        view.changed(moved=False)
    assert len(view.times) == 3
    assert view.times[2] - view.times[1] >= 1.0 / live.SHARE


def test_it_lets_go_of_joined_files_before_they_are_removed(view, clock):
    view.changed(moved=False)
    view.changed(moved=True)
    assert len(view.times) == 1  # not at once, however often files are joined
    joined = clock[0]
    while len(view.times) == 1:
        clock[0] += 1.0
        view.catch_up()
    assert view.times[1] - joined < GRACE_S - 5.0
