"""What the ledger makes of workers and archivers that die."""

import pytest

from pychip_stream.acquisition.ledger import Ledger
from pychip_stream.acquisition.settling import Sighting
from pychip_stream.domain.frames import FrameRef


def sighting(path, time=0.0):
    return Sighting(FrameRef(path=path, size=1, mtime_ns=1, time=time))


@pytest.fixture
def ledger():
    ledger = Ledger(max_attempts=3, lease_s=60.0, grace_s=5.0)
    for number, name in enumerate("abc"):
        ledger.add(sighting(name, float(number)))
    return ledger


def take(ledger, worker, now, count=2):
    leases = [ledger.lease(worker, now) for _ in range(count)]
    ledger.renew(worker, now, [lease.number for lease in leases])
    return leases


def test_a_poison_frame_does_not_take_its_neighbour_along():
    ledger = Ledger(max_attempts=3)
    ledger.add(sighting("poison", 0.0))
    ledger.add(sighting("good", 1.0))
    given_up = []
    for life in range(10):
        leases = []
        while (lease := ledger.lease(f"w:{life}", float(life))) is not None:
            leases.append(lease)
        ledger.renew(f"w:{life}", float(life), [lease.number for lease in leases])
        for lease in leases:  # the worker takes them in order and dies of the poison
            if lease.frame.path == "poison":
                break
            ledger.archived(lease.frame)
        ledger.lost(f"w:{life}", life + 0.5)
        given_up += ledger.failures(life + 0.5)
    assert {(task.frame.path, task.attempts) for task in given_up} == {("poison", 3)}
    assert ledger.counts["archived"] == 1


def test_the_frames_of_a_dead_worker_wait_again_at_once(ledger):
    take(ledger, "w:1", 0.0)
    assert len(ledger.lost("w:1", 1.0)) == 2
    assert ledger.counts["leased"] == 0
    assert ledger.lease("w:2", 1.0) is not None


def test_results_lost_with_an_archiver_are_done_again_soon(ledger):
    first, second = take(ledger, "w:1", 0.0)
    ledger.renew("w:1", 1.0, [second.number])
    ledger.archiver_changed(2.0)
    assert [lease.frame.path for lease in ledger.expire(7.5)] == [first.frame.path]


def test_a_job_lost_on_the_way_waits_again_without_blame(ledger):
    lost = ledger.lease("w:1", 0.0)
    assert ledger.travelling_count("w:1") == 1
    ledger.renew("w:1", 1.0, [])
    assert ledger.counts["leased"] == 1
    ledger.renew("w:1", 6.0, [])
    assert ledger.counts["leased"] == ledger.travelling_count("w:1") == 0
    again = [ledger.lease("w:1", 6.0) for _ in range(3)]
    assert lost.frame.path in {lease.frame.path for lease in again}
    assert all(lease.attempt == 1 for lease in again)


def test_a_busy_worker_keeps_its_frames(ledger):
    held = [lease.number for lease in take(ledger, "w:1", 0.0)]
    for now in range(0, 600, 50):
        ledger.renew("w:1", float(now), held)
        assert ledger.expire(now + 1.0) == []
