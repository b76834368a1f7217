"""Hints: bounded, never raising, never needed."""

import os

import pytest
from watchdog.events import DirMovedEvent, FileCreatedEvent, FileMovedEvent

from pychip_stream.acquisition import events
from pychip_stream.acquisition.events import EventSource, Hints


@pytest.fixture
def hints(tmp_path):
    return Hints(tmp_path)


def test_paths_are_relative_and_come_once(hints, tmp_path):
    hints.dispatch(FileCreatedEvent(str(tmp_path / "one" / "a.dm4")))
    hints.dispatch(FileCreatedEvent(os.fsencode(tmp_path / "one" / "a.dm4")))
    hints.dispatch(FileMovedEvent(str(tmp_path / "b.tmp"), str(tmp_path / "b.dm4")))
    hints.dispatch(DirMovedEvent(str(tmp_path.parent / "x"), str(tmp_path)))
    assert hints.arrived.is_set()
    assert hints.take() == (["one/a.dm4", "b.tmp", "b.dm4", ""], False)
    assert not hints.arrived.is_set()
    assert hints.take() == ([], False)


def test_nothing_that_comes_raises(hints):
    hints.dispatch(None)
    hints.dispatch(FileCreatedEvent("\0"))
    hints.dispatch(FileCreatedEvent(object()))


def test_too_many_are_said_to_be_too_many(hints, tmp_path, monkeypatch):
    monkeypatch.setattr(events, "_MOST_HINTS", 3)
    for number in range(5):
        hints.note(f"{number}.dm4")
    assert hints.take() == (["0.dm4", "1.dm4", "2.dm4"], True)
    assert hints.take() == ([], False)


def test_an_observer_lives_on_the_folder_of_now(hints, tmp_path):
    root = tmp_path / "root"
    source = EventSource(root, Hints(root))
    try:
        assert not source.revive()  # there is no folder yet
        root.mkdir()
        assert source.revive()
        assert source.alive
        assert not source.revive()
        root.rename(tmp_path / "old")
        root.mkdir()
        assert source.revive()  # another folder under the same name
        assert source.alive
    finally:
        source.stop()
    assert not source.alive
