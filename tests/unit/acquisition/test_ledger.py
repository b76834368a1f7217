"""The ledger: who gets which frame, what becomes of it, and what the dead leave behind."""

import tracemalloc
from dataclasses import replace

import pytest

from pychip_stream.acquisition.ledger import Ledger
from pychip_stream.acquisition.settling import Sighting
from pychip_stream.acquisition.tasks import Attempts
from pychip_stream.domain.frames import FrameRef


def File(path, size=1, mtime_ns=1, frames=1, time=0.0, problem=None):
    return Sighting(FrameRef(path=path, size=size, mtime_ns=mtime_ns, time=time), frames, problem)


def series(count, start=0):
    return [File(f"{n:05}.dm4", time=float(n)) for n in range(start, start + count)]


def archive(ledger, lease, **options):
    ledger.archived(lease.frame, **options)


def test_frames_are_handed_out_once_and_counted():
    ledger = Ledger()
    assert [ledger.add(f) for f in [*series(3), File("stack.tif", frames=4)]] == [1, 1, 1, 4]
    assert ledger.add(series(1)[0]) == 0
    leases = [ledger.lease("w", 0.0) for _ in range(7)]
    assert len({(lease.frame.path, lease.frame.index) for lease in leases}) == 7
    assert ledger.lease("w", 0.0) is None
    assert (ledger.counts["seen"], ledger.counts["behind"], ledger.counts["leased"]) == (7, 7, 7)
    for lease in leases:
        archive(ledger, lease)
    assert (ledger.counts["seen"], ledger.counts["behind"], ledger.counts["leased"]) == (7, 0, 0)
    assert ledger.counts["archived"] == 7


def test_what_the_archive_has_is_not_done_again():
    ledger = Ledger()
    ledger.archived(FrameRef(path="00001.dm4", index=0, size=1, mtime_ns=1))
    ledger.archived(FrameRef(path="stack.tif", index=2, size=1, mtime_ns=1))
    assert [ledger.add(f) for f in [*series(2), File("stack.tif", frames=4)]] == [1, 0, 3]
    handed = set()
    while (lease := ledger.lease("w", 0.0)) is not None:
        handed.add((lease.frame.path, lease.frame.index))
    assert handed == {("00000.dm4", 0), ("stack.tif", 0), ("stack.tif", 1), ("stack.tif", 3)}


def test_newest_and_oldest_take_turns_while_the_backlog_is_filled():
    ledger = Ledger()
    for file in series(10):
        ledger.add(file)
    first = [ledger.lease("w", 0.0) for _ in range(2)]
    assert [lease.frame.path for lease in first] == ["00009.dm4", "00000.dm4"]
    assert [lease.newest for lease in first] == [True, False]
    for file in series(2, 10):
        ledger.add(file)
    order = []
    while (lease := ledger.lease("w", 0.0)) is not None:
        order.append(lease.frame.path)
    assert order[0] == "00011.dm4"  # 10 is no news any more
    assert order[1:] == [f"{n:05}.dm4" for n in [*range(1, 9), 10]]


def test_a_camera_that_is_always_ahead_does_not_starve_the_backlog():
    ledger = Ledger()
    for file in series(4):
        ledger.add(file)
    order = []
    for number in range(4, 12):
        ledger.add(*series(1, number))
        order.append(ledger.lease("w", 0.0).frame.path)
    assert order[::2] == [f"{n:05}.dm4" for n in (4, 6, 8, 10)]
    assert order[1::2] == [f"{n:05}.dm4" for n in range(4)]


def test_a_worker_that_keeps_up_gets_frames_in_order_all_of_them_new():
    ledger = Ledger()
    for file in series(5):
        ledger.add(file)
        lease = ledger.lease("w", file.frame.time)
        assert (lease.frame.path, lease.newest) == (file.frame.path, True)


def test_another_revision_takes_the_place_of_the_first():
    ledger = Ledger()
    ledger.add(File("a.dm4"))
    old = ledger.lease("w", 0.0)
    assert ledger.add(File("a.dm4", mtime_ns=2)) == 1
    assert ledger.counts["behind"] == 1
    assert ledger.lease("w", 0.0).frame.mtime_ns == 2
    ledger.release(old.number, "has changed")
    assert ledger.lease("w", 100.0) is None
    archive(ledger, old)  # it came through after all
    assert (ledger.counts["seen"], ledger.counts["behind"]) == (2, 1)


def test_a_file_that_is_gone_is_not_behind_for_ever():
    ledger = Ledger()
    ledger.add(File("a.dm4", frames=3))
    lease = ledger.lease("w", 0.0)
    ledger.forget("a.dm4")
    assert ledger.counts["behind"] == 0
    assert ledger.release(lease.number, "gone").frame.path == "a.dm4"
    assert ledger.lease("w", 100.0) is None
    assert ledger.counts["resting"] == 0
    ledger.forget("never.dm4")


def test_a_frame_given_back_rests_longer_each_time_and_nobody_is_blamed():
    ledger, now = Ledger(max_attempts=1), 0.0
    ledger.add(File("a.dm4"))
    pauses = []
    for _ in range(10):
        lease = ledger.lease("w", now)
        ledger.release(lease.number, "not now")
        assert ledger.counts["resting"] == 1
        start = now
        while ledger.lease("w", now) is None:
            now += 0.25
            ledger.expire(now)
        pauses.append(now - start)
        ledger.release(max(ledger._out), "not now")
        now += 31.0
    assert pauses[0] < 1.0
    assert max(pauses) <= 30.5
    assert list(ledger.failures(now)) == []
    assert ledger.release(12345) is None


def test_the_leases_of_a_silent_worker_go_to_another():
    ledger = Ledger(lease_s=10.0)
    ledger.add(File("a.dm4"))
    ledger.lease("w1", 0.0)
    ledger.renew("w1", 5.0)
    assert ledger.expire(14.0) == []
    assert [lease.frame.path for lease in ledger.expire(15.0)] == ["a.dm4"]
    assert (ledger.lease("w2", 18.0).frame.path, ledger.counts["leased"]) == ("a.dm4", 1)


def test_a_worker_that_lives_keeps_its_frames_but_not_those_it_never_got():
    ledger = Ledger(lease_s=10.0)
    for file in series(2):
        ledger.add(file)
    kept, lost = ledger.lease("w", 0.0), ledger.lease("w", 0.0)
    for now in range(1, 30):
        ledger.renew("w", float(now), held=(kept.number,))
    assert ledger.expire(30.0) == []
    assert ledger.counts["leased"] == 1
    again = ledger.lease("w", 30.0)
    assert (again.frame.path, again.attempt) == (lost.frame.path, 1)


def test_a_frame_that_ends_its_workers_is_given_up_and_its_neighbours_are_not():
    ledger = Ledger(max_attempts=3)
    for file in [File("0poison.dm4"), *series(6, 1)]:
        ledger.add(file)
    lives, done, failed = 0, set(), []
    for now in range(100):
        name = f"worker:{lives}"
        held = [lease for lease in (ledger.lease(name, now) for _ in range(2)) if lease]
        ledger.renew(name, now, [lease.number for lease in held])
        while held and held[0].frame.path != "0poison.dm4":
            archive(ledger, held[0])
            done.add(held.pop(0).frame.path)
            ledger.renew(name, now, [lease.number for lease in held])
        if held:
            lives += 1
            ledger.lost(name, now)
        failed += ledger.failures(now)
    assert {(task.frame.path, task.attempts) for task in failed} == {("0poison.dm4", 3)}
    assert (lives, len(done)) == (3, 6)
    assert ledger.counts["behind"] == 1
    archive(ledger, failed[0], failed=True)
    assert (ledger.counts["behind"], ledger.counts["failed"]) == (0, 1)


def test_workers_that_are_killed_one_after_the_other_do_not_have_the_same_frame_in_hand():
    ledger = Ledger()
    for file in series(8):
        ledger.add(file)
    suspects = []
    for life in range(8):
        lease = ledger.lease(f"worker:{life}", 0.1 * life)
        suspects.append(lease.frame.path)
        ledger.lost(f"worker:{life}", 0.1 * life)
    assert len(set(suspects)) == 8
    assert ledger.counts["resting"] == 8
    assert all(ledger.lease("w", 10.0) for _ in range(8))


def test_a_frame_whose_result_is_under_way_is_not_blamed_for_the_death():
    ledger = Ledger(max_attempts=1)
    for file in series(2):
        ledger.add(file)
    first, second = ledger.lease("w", 0.0), ledger.lease("w", 0.0)
    ledger.renew("w", 0.0, [first.number, second.number])
    ledger.renew("w", 0.0, [second.number])  # the first is finished, not archived yet
    ledger.lost("w", 0.0)
    assert [task.frame for task in ledger.failures(0.0)] == [second.frame]
    assert ledger.lease("x", 0.0).frame.path == first.frame.path


def test_a_file_with_a_problem_is_behind_until_it_is_recorded_as_failed():
    ledger = Ledger()
    assert ledger.add(File("a.dm4", frames=5, problem="cut off")) == 1
    assert ledger.lease("w", 0.0) is None
    assert ledger.counts["behind"] == 1
    ledger.archived(FrameRef(path="a.dm4", index=0, size=1, mtime_ns=1), failed=True)
    assert (ledger.counts["behind"], ledger.counts["failed"]) == (0, 1)
    assert ledger.add(File("a.dm4", mtime_ns=2)) == 1  # it completed after all


def test_the_time_of_the_newest_result():
    ledger = Ledger()
    assert ledger.newest_result is None
    for file in series(3):
        ledger.add(file)
    ledger.archived(FrameRef(path="00001.dm4", index=0, size=1, mtime_ns=1))
    assert ledger.newest_result == 1.0
    ledger.archived(FrameRef(path="00000.dm4", index=0, size=1, mtime_ns=1))
    assert ledger.newest_result == 1.0
    again = Ledger()
    again.archived(FrameRef(path="00002.dm4", size=1, mtime_ns=1))
    again.add(series(3)[2])
    assert again.newest_result == 2.0


def test_failures_are_told_until_they_are_recorded_those_of_earlier_revisions_never():
    ledger = Ledger()
    old, new = File("a.dm4", problem="cut"), File("a.dm4", mtime_ns=2, problem="damaged")
    ledger.add(old)
    assert next(ledger.failures(0.0)).frame == old.frame  # it was not told: nobody asked further
    ledger.add(new)
    assert [(task.frame, task.problem) for task in ledger.failures(0.0)] == [(new.frame, "damaged")]
    assert list(ledger.failures(1.0)) == []
    assert [task.frame for task in ledger.failures(3.0)] == [new.frame]
    ledger.archived(old.frame, failed=True)
    assert [task.frame for task in ledger.failures(6.0)] == [new.frame]
    ledger.archived(new.frame, failed=True)
    assert list(ledger.failures(9.0)) == []


def test_a_frame_that_can_never_be_read_is_handed_out_no_more():
    ledger = Ledger()
    ledger.add(File("a.dm4"))
    ledger.fail(ledger.lease("w", 0.0).number, "holds no image")
    assert ledger.lease("w", 100.0) is None
    assert [task.problem for task in ledger.failures(0.0)] == ["holds no image"]
    assert ledger.counts["behind"] == 1
    ledger.fail(12345, "nobody's")


def test_a_file_that_announces_many_frames_costs_what_is_handed_out_of_it():
    ledger = Ledger()
    tracemalloc.start()
    assert ledger.add(File("many.mrc", frames=10**8)) == 10**8
    assert tracemalloc.get_traced_memory()[0] < 50 << 20
    tracemalloc.stop()
    assert ledger.counts["behind"] == 10**8
    ledger.forget("many.mrc")
    assert ledger.counts["behind"] == 0
    assert ledger.lease("w", 0.0) is None


def test_every_frame_of_a_large_stack_is_handed_out_once(monkeypatch):
    monkeypatch.setattr("pychip_stream.acquisition.ledger._ENTERED", 10)
    ledger = Ledger()
    for index in range(0, 95, 5):
        ledger.archived(FrameRef(path="stack.tif", index=index, size=1, mtime_ns=1))
    ledger.add(File("stack.tif", frames=95))
    for file in series(3):
        ledger.add(file)
    handed = []
    while (lease := ledger.lease("w", 0.0)) is not None:
        handed.append(str(lease.frame))
        archive(ledger, lease)
    wanted = {f"stack.tif#{index}" for index in range(95) if index % 5}
    assert sorted(handed) == sorted(wanted | {f"0000{n}.dm4" for n in range(3)})
    assert ledger.counts["behind"] == 0


def test_a_frame_that_costs_its_reader_has_that_many_attempts_and_then_failed():
    ledger = Ledger(max_attempts=3)
    ledger.add(File("a.emd"))
    now, tries = 0.0, []
    while not (failed := list(ledger.failures(now))):
        now += 1.0
        lease = ledger.lease("w", now)
        if lease is not None:
            tries.append(lease.attempt)
            ledger.release(lease.number, "a.emd: crashed its reader (SIGSEGV)", lost=True)
    assert tries == [1, 2, 3]
    assert failed[0].problem == ("given up after 3 attempts: a.emd: crashed its reader (SIGSEGV)")
    assert ledger.release(12345, "nobody's", lost=True) is None


def test_attempts_are_remembered_over_restarts(tmp_path):
    file = tmp_path / "runs" / "run.attempts.json"
    for life in range(3):
        ledger = Ledger(max_attempts=3, attempts=Attempts(file))
        ledger.add(File("a.emd"))
        assert ledger.lease("w", 0.0).attempt == life + 1
        ledger.lost("w", 1.0)
    ledger = Ledger(max_attempts=3, attempts=Attempts(file))
    ledger.add(File("a.emd"))
    assert ledger.lease("w", 0.0) is None
    assert "given up after 3 workers" in next(ledger.failures(0.0)).problem
    ledger.archived(File("a.emd").frame, failed=True)
    assert not file.exists()
    ledger.add(File("a.emd", mtime_ns=2))  # another revision, another chance
    assert ledger.lease("w", 0.0).attempt == 1


def test_damaged_notes_of_attempts_stop_nothing(tmp_path, caplog):
    file = tmp_path / "run.attempts.json"
    for text in ("", "[[1]]", "{", '[["a", "b", 1, 1, 1]]', "[1]", '[["a", 0, 1, 1, {}]]'):
        file.write_text(text)
        assert Attempts(file).of(File("a").frame) == 0
    assert "counted anew" in caplog.text


def test_numbers_of_leases_can_begin_elsewhere():
    ledger = Ledger(first_lease=1000)
    ledger.add(File("a.dm4"))
    assert ledger.lease("w", 0.0).number == 1000


@pytest.mark.slow
def test_a_backlog_of_ninety_thousand_stays_small():
    tracemalloc.start()
    ledger = Ledger(lease_s=10.0)
    before = tracemalloc.get_traced_memory()[0]
    for number in range(90_000):
        ledger.add(File(f"run/Second_{number % 3600:04}/Frame_{number:06}.dm4", time=float(number)))
    per_frame = (tracemalloc.get_traced_memory()[0] - before) / 90_000
    tracemalloc.stop()
    assert per_frame < 1500
    # Leases that come and go leave nothing behind.
    for turn in range(20_000):
        lease = ledger.lease(f"w{turn % 50}", float(turn))
        if turn % 2:
            archive(ledger, lease)
        else:
            ledger.release(lease.number, "not now")
        if turn % 100 == 0:
            ledger.expire(float(turn))
    assert len(ledger._lanes._newest) <= 64 + 2 * 90_000
    assert len(ledger._lanes._oldest) <= 64 + 2 * 90_000
    assert ledger.counts["leased"] == 0
    assert len(ledger._heard) <= 50


def test_a_missing_section_is_one_failure():
    ledger = Ledger()
    ledger.add(replace(File("a.tif", frames=4), missing={1: "was cut off"}))
    handed = [ledger.lease("w", 0.0) for _ in range(4)]
    assert [lease.frame.index for lease in handed[:3]] == [3, 0, 2]
    assert handed[3] is None
    assert [(t.frame.index, t.problem) for t in ledger.failures(0.0)] == [(1, "was cut off")]
