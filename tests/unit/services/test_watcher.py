"""The watcher among its peers: a worker and an archiver played by the test, on real sockets."""

import os
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from pychip_stream.formats.reading import read_checked
from pychip_stream.wire.messages import (
    ArchivedKey,
    Job,
    Release,
)
from services.watcher import Watcher
from tests.support.material import FRAME, put
from tests.support.watcher_table import Table

PAGE = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)


def test_frames_are_handed_out_against_credit_until_they_are_archived(table):
    for number in range(3):
        put(table.root / f"{number}.dm4")
    table.wait(lambda: table.ledger.counts["behind"] == 3)
    table.ready(2)
    for _ in range(20):
        table.step()
    assert table.jobs == []  # nothing before it is known what the archive has
    table.wait_synced()
    table.wait(lambda: len(table.jobs) == 2)
    jobs = list(table.jobs)
    for _ in range(20):
        table.step()
    assert len(table.jobs) == 2
    assert all(isinstance(job, Job) and job.attempt == 1 for job in jobs)
    for job in jobs:
        table.archive(job.frame)
    table.archive(table.take(1)[0].frame)
    table.wait(lambda: table.ledger.counts["behind"] == 0)
    assert table.ledger.counts["archived"] == 3


def test_after_a_restart_only_what_the_archive_lacks_is_done(tmp_path):
    one = Table(tmp_path)
    for number in range(4):
        put(one.root / f"{number}.dm4")
    one.wait_synced()
    one.wait(lambda: one.ledger.counts["behind"] == 4)
    for job in one.take(2):
        one.archive(job.frame)
    one.wait(lambda: one.ledger.counts["archived"] == 2)
    done = {key.path for key in one.keys}
    one.watcher.close()  # a kill leaves no more behind than this
    one.watcher = Watcher(one.config)
    one.jobs.clear()
    one.wait_synced()
    one.wait(lambda: one.ledger.counts["seen"] == 4)
    jobs = one.take(2)
    assert {job.frame.path for job in jobs} | done == {f"{n}.dm4" for n in range(4)}
    one.ready(5)
    for _ in range(20):
        one.step()
    assert len(one.jobs) == 2
    one.close()


def test_a_lost_acknowledgement_is_asked_for_again(table):
    put(table.root / "a.dm4")
    table.wait_synced()
    job = table.take(1)[0]
    table.keys.append(ArchivedKey(job.frame.path, 0, job.frame.size, job.frame.mtime_ns, False))
    table.beat()
    table.wait(lambda: table.ledger.counts["archived"] == 1)
    assert table.wanted == [0]


def test_another_archive_means_starting_over(table):
    put(table.root / "a.dm4")
    table.wait_synced()
    table.archive(table.take(1)[0].frame)
    table.wait(lambda: table.ledger.counts["behind"] == 0 and table.ledger.counts["archived"] == 1)
    table.keys, table.run = [], "run-2"  # somebody took the archive away
    table.beat()
    table.wait(lambda: table.ledger.counts["behind"] == 1)
    assert table.take(1)[0].frame.path == "a.dm4"


def test_a_file_that_cannot_be_read_is_reported_until_it_is_recorded(table):
    put(table.root / "a.dm4", FRAME[:-60])
    table.wait_synced()
    table.wait(lambda: len(table.failures) >= 2, "told again")
    assert "cut off" in table.failures[0].reason
    assert table.ledger.counts["behind"] == 1
    table.archive(table.failures[0].frame, failed=True)
    table.wait(lambda: table.ledger.counts["behind"] == 0)
    assert table.ledger.counts["failed"] == 1
    put(table.root / "a.dm4")
    assert table.take(1)[0].frame.size == len(FRAME)


def test_the_failure_of_a_newer_revision_outlives_the_record_of_the_older(table):
    put(table.root / "a.dm4", FRAME[:-60])
    table.wait_synced()
    table.wait(lambda: table.failures)
    old = table.failures[0].frame
    put(table.root / "a.dm4", FRAME[:-50])
    table.wait(lambda: table.failures[-1].frame.size != old.size)
    new = table.failures[-1].frame
    table.archive(old, failed=True)
    table.wait(lambda: table.ledger.counts["archived"] == 1)
    table.failures.clear()
    table.wait(lambda: table.failures, "the newer failure is told again")
    table.archive(new, failed=True)
    table.wait(lambda: table.ledger.counts["behind"] == 0)


def test_a_frame_deleted_before_it_is_read_is_neither_behind_nor_tried_again(table):
    put(table.root / "a.dm4")
    table.wait_synced()
    job = table.take(1)[0]
    (table.root / "a.dm4").unlink()
    table.worker.send(Release(lease=job.lease, reason="cannot be read now (No such file)"))
    table.wait(lambda: table.ledger.counts["behind"] == 0)
    table.ready(5)
    for _ in range(100):
        table.step()
    assert len(table.jobs) == 1
    assert table.ledger.counts["leased"] == 0
    table.wait(lambda: table.statuses and table.statuses[-1].counters["behind"] == 0)


def test_a_frame_that_changed_under_the_worker_is_read_as_it_is_now(table):
    put(table.root / "a.dm4")
    table.wait_synced()
    job = table.take(1)[0]
    put(table.root / "a.dm4", FRAME[:-8])
    table.worker.send(Release(lease=job.lease, reason="has changed since it was seen"))
    again = table.take(1)[0]
    assert again.frame.size == len(FRAME) - 8
    table.archive(again.frame)
    table.wait(lambda: table.ledger.counts["behind"] == 0)


def test_frames_given_back_are_said(table):
    put(table.root / "a.dm4")
    table.wait_synced()
    job = table.take(1)[0]
    table.worker.send(Release(lease=job.lease, reason="the worker has no such drive"))
    table.wait(lambda: table.ledger.counts["resting"] == 1)
    table.wait(lambda: any("no such drive" in status.detail for status in table.statuses))
    assert table.take(1)[0].frame.path == "a.dm4"


def test_a_worker_that_comes_back_to_life_gets_its_frames_again_at_once(table):
    for number in range(2):
        put(table.root / f"{number}.dm4")
    table.wait_synced()
    table.wait(lambda: table.ledger.counts["behind"] == 2)
    first = table.take(2)
    table.ready(0, [job.lease for job in first])
    table.worker.close()
    table.worker = table.connect("worker-1")
    second = table.take(2, life="worker-1:2")
    assert {job.frame.path for job in second} == {job.frame.path for job in first}
    attempts = {job.frame.path: job.attempt for job in second}
    assert attempts[first[0].frame.path] == 2  # it was in the hand of the one that died
    assert attempts[first[1].frame.path] == 1


@pytest.fixture
def restless(monkeypatch):
    """Frames that a worker died over are handed out again at once."""
    monkeypatch.setattr("pychip_stream.acquisition.ledger._SUSPECT_REST_S", 0.01)


def test_a_poison_frame_is_given_up_and_the_next_one_is_not(table, restless):
    put(table.root / "poison.dm4")
    table.wait_synced()
    for life in range(3):
        job = table.take(1, life=f"worker-1:{life}")[0]
        table.ready(0, [job.lease], life=f"worker-1:{life}")
    table.ready(0, life="worker-1:3")
    table.wait(lambda: table.failures)
    assert table.failures[0].frame.path == "poison.dm4"
    assert "given up after 3 workers" in table.failures[0].reason
    put(table.root / "good.dm4")
    assert table.take(1, life="worker-1:3")[0].frame.path == "good.dm4"


def test_the_age_of_the_newest_result_and_the_backlog_are_published(table):
    put(table.root / "a.dm4")
    table.wait_synced()
    table.archive(table.take(1)[0].frame)
    put(table.root / "b.dm4")
    table.wait(lambda: table.statuses and table.statuses[-1].counters.get("newest_age_s"))
    table.wait(lambda: table.statuses[-1].counters["behind"] == 1)
    counters = table.statuses[-1].counters
    assert 0 < counters["newest_age_s"] < 300
    assert (counters["seen"], counters["archived"], counters["settling"]) == (2, 1, 0)


def test_a_file_that_is_waited_for_is_named_with_its_reason(table):
    """S11: incomplete files were a number, for two minutes."""
    table.watcher._watch._settler._incomplete_s = 60.0
    (table.root / "torn.dm4").write_bytes(FRAME[: len(FRAME) // 2])
    table.wait(lambda: table.statuses and table.statuses[-1].files)
    (file,) = table.statuses[-1].files
    assert (file.path, file.state) == ("torn.dm4", "incomplete")
    assert file.reason
    (table.root / "torn.dm4").write_bytes(FRAME)
    table.wait(lambda: not table.statuses[-1].files)


def test_a_root_that_is_away_is_said_and_loses_nothing(table, tmp_path):
    put(table.root / "a.dm4")
    table.wait_synced()
    table.wait(lambda: table.ledger.counts["behind"] == 1)
    table.root.rename(tmp_path / "away")
    table.wait(lambda: table.statuses and table.statuses[-1].state == "paused")
    assert "cannot be reached" in table.statuses[-1].detail
    table.ready(1)
    for _ in range(20):
        table.step()
    assert table.jobs == []
    (tmp_path / "away").rename(table.root)
    table.wait(lambda: table.statuses[-1].state == "running")
    table.wait(lambda: table.jobs)
    assert table.ledger.counts["behind"] == 1


def test_a_file_of_the_future_does_not_stay_the_newest(table, monkeypatch):
    shown = []
    monkeypatch.setattr(table.watcher._beacon, "show", lambda seen: shown.append(seen.frame.path))
    moment = time.time() + 20 * 365 * 86400
    os.utime(put(table.root / "late.dm4"), (moment, moment))
    table.wait(lambda: shown == ["late.dm4"])
    put(table.root / "next.dm4")
    table.wait(lambda: shown[1:] == ["next.dm4"], timeout_s=20.0)


def test_a_renamed_file_is_told_until_that_is_archived(table):
    put(table.root / "a.dm4")
    table.wait_synced()
    table.archive(table.take(1)[0].frame, digest="ab")
    (table.root / "a.dm4").rename(table.root / "b.dm4")
    second = table.take(1)[0].frame
    assert second.path == "b.dm4"
    table.archive(second, digest="ab")
    table.wait(lambda: len(table.moved) >= 2, "told again")
    assert (table.moved[0].frame.path, table.moved[0].to) == ("a.dm4", "b.dm4")
    table.archive(table.moved[0].frame, moved=True)
    table.wait(lambda: table.ledger.counts["archived"] == 1)
    count = len(table.moved)
    (table.root / "b.dm4").rename(table.root / "a.dm4")  # it comes back
    assert table.take(1)[0].frame.path == "a.dm4"
    assert len(table.moved) == count


def test_a_file_that_was_renamed_while_nothing_ran_is_told_after_the_start(table):
    put(table.root / "b.dm4")
    table.wait_synced()
    frame = table.take(1)[0].frame
    table.archive(replace(frame, path="a.dm4"), digest="ab")
    table.archive(frame, digest="ab")
    table.wait(lambda: table.moved, "told")
    assert (table.moved[0].frame.path, table.moved[0].to) == ("a.dm4", "b.dm4")


def test_of_a_stack_that_has_grown_the_rest_is_handed_out(table):
    path, done = table.root / "a.tif", []
    table.wait_synced()
    for number in range(4):
        tifffile.imwrite(path, PAGE + np.uint16(number), append=number > 0)
        table.wait(lambda count=number: len(table.jobs) > count or table.ready(1), "a job")
        frame = table.jobs[-1].frame
        read, _ = read_checked(path, frame.index, frame.size, frame.mtime_ns)
        table.archive(frame, digest=read.frame_hash)
        table.wait(lambda: table.ledger.counts["behind"] == 0 or table.ready(1), "compared")
        done.append(frame.index)
    assert done == [0, 1, 2, 3]
    assert len(table.jobs) == 4
