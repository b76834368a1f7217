"""Identity of a run: what is told of it before its first frame is its own after a restart, too."""

import numpy as np
import pytest

from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.marks import MarkKeeper, events_of, mark
from pychip_stream.archive.readings import add_readings
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.signals import Note, Readings, Signal
from pychip_stream.errors import ArchiveError, StorageError
from tests.support.archive_samples import fill, record
from tests.support.failing_disks import Died, DyingDisk, FailingDisk, QuickDisk

START = 1.7e9


@pytest.fixture
def places(tmp_path):
    return RunPlaces(tmp_path, "run")


def begin(places, disk=None):
    return RunWriter(places.folder, "run", segment_frames=4, disk=disk or QuickDisk())


def told(places):
    return [one.text for one in events_of(open_run(places.closed))]


def tell(places, writer):
    """A message, the note of a log, and a mark of somebody, in order of time."""
    keeper = MarkKeeper(places, writer.run_id)
    keeper.put("v1", START, "valve open", who="oven")
    keeper.put_notes("oven", [Note(START + 1, "gas on")])
    mark(open_run(places.closed), START + 2, "stage moved", who="ann")
    return ["valve open", "gas on", "stage moved"]


def test_what_is_told_before_the_first_frame_is_shown_after_a_restart(places):
    writer = begin(places)
    events = tell(places, writer)
    heat = Signal("heat", "K", "number", np.arange(3.0))
    add_readings(
        places, open_run(places.closed).run_id, [Readings("oven", START + np.arange(3.0), (heat,))]
    )
    assert told(places) == events
    writer.release()  # as the system does for one that is killed
    again = begin(places)
    assert again.run_id == writer.run_id
    for closing in (False, True):
        fill(again, [record(int(closing))])
        if closing:
            again.close()
        run = open_run(places.closed)
        assert (told(places), run.stimulus.sources) == (events, ("oven",))
        assert run.run_id == writer.run_id
    assert not places.segments.exists()


def test_a_run_that_is_closed_without_frames_keeps_what_was_told(places):
    begin(places).close()
    assert list(places.folder.iterdir()) == []
    with pytest.raises(ArchiveError, match="holds nothing yet"):
        add_readings(places, "", [])
    writer = begin(places)
    events = tell(places, writer)
    writer.close()
    assert told(places) == events
    again = begin(places)
    fill(again, [record(0)])
    again.close()
    assert told(places) == events
    assert not places.segments.exists()


@pytest.mark.parametrize("when", ["before", "torn", "after"])
def test_it_is_kept_whole_or_not_at_all(places, when):
    for at in (1, 2, 3):  # write, sync, replace
        if when == "torn" and at > 1:
            break
        with pytest.raises(Died):
            begin(places, DyingDisk(at, when))
        writer = begin(places)
        first = writer.run_id
        writer.release()
        writer = begin(places)
        assert writer.run_id == first
        writer.close()
        assert list(places.folder.iterdir()) == []


def test_a_full_disk_is_asked_again(places):
    disk = FailingDisk()
    disk.broken = True
    writer = begin(places, disk)
    with pytest.raises(StorageError, match="No space left"):
        writer.look()
    disk.broken = False
    writer.look()
    writer.release()
    assert begin(places).run_id == writer.run_id


def test_a_removed_folder_and_a_damaged_file_change_nothing_while_it_runs(places, caplog):
    writer = begin(places)
    events = tell(places, writer)
    for harm in (lambda p: p.unlink(), lambda p: p.write_bytes(b'{"run": ')):
        harm(places.segments / "run.json")
        writer.look()
        assert told(places) == events
    assert "names no run" in caplog.text
    fill(writer, [record(n) for n in range(3)])
    for path in places.segments.iterdir():
        path.unlink()
    writer.look()  # it begins anew, as the same run
    fill(writer, [record(n) for n in range(3)])
    writer.close()
    assert told(places) == events
