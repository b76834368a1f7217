"""Small files beside an archive that are none: a pipe, a device, or much too large."""

import logging
import os
import threading
from concurrent.futures import Future

import h5py
import pytest

from pychip_stream import config as configuration
from pychip_stream.acquisition.tasks import Attempts
from pychip_stream.archive import alert_journal
from pychip_stream.archive.exclusions import changes, exclude
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.frames import FrameRef
from pychip_stream.errors import ArchiveError
from pychip_stream.operation.edited_rules import EditedRules
from pychip_stream.plain_files import NoFileError, read_small
from tests.support.archive_samples import fill, make_run, record
from tests.support.failing_disks import QuickDisk

CHANGE = "excluded-0000000000000000001-00000000.json"
FILES = (
    "run.segments/run.json", "run.segments/alerts.jsonl", "run.segments/readings.jsonl",
    "run.scorings/default", f"run.scorings/{CHANGE}", "run.scorings/readings-1-0.jsonl",
    "run.alerts.json",
)  # fmt: skip


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def swollen(path):
    path.touch()
    os.truncate(path, 1 << 42)


KINDS = [swollen]
if hasattr(os, "mkfifo"):
    KINDS += [pipe, device]


def in_time(work, seconds=20.0):
    """What a piece of work gives or raises, which must not take for ever."""
    found = Future()

    def run():
        try:
            found.set_result(work())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found.result(seconds)


@pytest.fixture
def live(tmp_path):
    make_run(tmp_path, 4, close=False)
    return RunPlaces(tmp_path, "run")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_hangs_nobody_and_is_left_out(live, name, kind, caplog):
    caplog.set_level(logging.CRITICAL)
    path = live.folder / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    kind(path)
    config = configuration.parse({"watch": {"root": "."}, "archive": {"folder": "."}}, "x",
                                 live.folder)  # fmt: skip
    assert in_time(lambda: EditedRules(config).current().rules) == ()

    def goes_on():
        run = open_run(live.closed)
        shown = len(run), run.scoring, run.left_out, list(run.stimulus.sources), len(run.alerts)
        writer = RunWriter(live.folder, "run", disk=QuickDisk())
        fill(writer, [record(9)])
        return shown, len(open_run(writer.close()))

    assert in_time(goes_on) == ((4, "acquired", {}, [], 0), 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_file_is_read_as_far_as_it_may_go(tmp_path, kind):
    kind(tmp_path / "odd")
    with pytest.raises(NoFileError):
        in_time(lambda: read_small(tmp_path / "odd"))
    (tmp_path / "good").write_bytes(b"12345")
    assert read_small(tmp_path / "good", 5) == b"12345"
    with pytest.raises(NoFileError, match="too large"):
        read_small(tmp_path / "good", 4)


NO_IDENTITIES = ("a\\u0000b", "two\\nlines", "a b", "x\\n", "", "x" * 300)


@pytest.mark.parametrize("text", [*(f'{{"run":"{name}"}}' for name in NO_IDENTITIES), "[" * 10**5])
def test_what_cannot_be_told_in_messages_is_no_identity(live, text):
    """The watcher would not take the beats of such an archiver, and hand out nothing."""
    path = live.segments / "run.json"
    for segment in live.segments.glob("seg-*.h5"):
        segment.unlink()
    path.write_text(text)
    writer = RunWriter(live.folder, "run", disk=QuickDisk())
    assert writer.run_id.isalnum()
    assert writer.run_id in path.read_text()
    writer.release()


def test_an_archive_whose_identity_cannot_be_told_is_damaged(tmp_path):
    path = make_run(tmp_path, 4)
    with h5py.File(path, "r+") as file:
        group = file["entry"]
        dtype = group["run_id"].dtype
        del group["run_id"]
        group.create_dataset("run_id", data=b"a\x01b", dtype=dtype)
    with pytest.raises(ArchiveError, match="names no run"):
        open_run(path)


def test_an_exclusion_that_no_archive_can_hold_keeps_no_run_from_being_closed(live):
    exclude(live, open_run(live.closed).run_id, [(record(0).frame.path, 0)], who="ann")
    (path,) = changes(live)
    path.write_text(path.read_text().replace('dm4",0]', f'dm4",{2**63}]'))
    writer = RunWriter(live.folder, "run", disk=QuickDisk())
    with open_run(writer.close()) as run:
        assert run.left_out == {}


def test_odd_counts_of_attempts_are_counted_anew(tmp_path):
    path = tmp_path / "run.attempts.json"
    frame = FrameRef(path="a.tif")
    Attempts(path).note(frame, 2)
    assert Attempts(path).of(frame) == 2
    path.write_text(path.read_text().replace(", 2]", ", 2e400]"))
    assert Attempts(path).of(frame) == 0


@pytest.mark.parametrize("line", ['{"id": []}', "[1]", '"x"', "[" * 100_000, "{}"])
def test_an_alert_that_is_none_costs_itself(live, line):
    rows = alert_journal.AlertJournal(live, QuickDisk())
    good = alert_journal.AlertRow("1", "r", "info", "on", "", 1.0, 1.0, "why", 5.0, "", False)
    rows.add(good)
    for odd in (line, line.replace("[]", '"2", "time": "soon"')):
        with (live.segments / "alerts.jsonl").open("a") as file:
            file.write(odd + "\n")
    assert alert_journal.read_alerts(live) == [good]
