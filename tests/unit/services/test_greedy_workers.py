"""Workers that ask for more than they do."""

import time

import pytest

from pychip_stream.acquisition import ledger as ledger_module
from pychip_stream.config import InferenceConfig
from pychip_stream.wire.messages import Ready
from services import watcher as module
from tests.support.material import put
from tests.support.waiting import wait_for


class Selfish:
    """Another worker at the table, who asks for all there is and finishes nothing."""

    def __init__(self, table, *, holds, busy=False):
        self.table, self.holds, self.busy, self.leases = table, holds, busy, []
        self.channel = table.connect("selfish")
        self.asked, self.steps = 0.0, 0

    def step(self):
        self.leases += [one.packet.message.lease for one in self.channel.drain(1000)]
        if time.monotonic() - self.asked > 0.05:
            self.asked = time.monotonic()
            held = tuple(self.leases) if self.holds else ()
            self.steps += self.busy
            self.channel.send(Ready(worker="selfish:1", credit=1000, held=held, steps=self.steps))
        self.table.step()


@pytest.fixture
def selfish(table, request):
    one = Selfish(table, **request.param)
    yield one
    one.channel.close()


HOLDS, LOSES, BUSY = {"holds": True}, {"holds": False}, {"holds": True, "busy": True}


@pytest.mark.parametrize("selfish", [HOLDS], indirect=True)
def test_nobody_gets_more_frames_than_a_worker_may_ask_for(table, selfish):
    for number in range(70):
        put(table.root / f"{number}.dm4")
    table.wait_synced()
    wait_for(lambda: table.ledger.counts["behind"] == 70 and selfish.leases, step=selfish.step)
    for _ in range(30):
        selfish.step()
    assert len(selfish.leases) == 64


@pytest.mark.parametrize("selfish", [HOLDS, LOSES, BUSY], indirect=True)
def test_frames_come_back_from_who_finishes_none(table, selfish, monkeypatch):
    monkeypatch.setattr(module, "_STUCK_S", 0.5)
    little = InferenceConfig(patience_s=0.5)
    monkeypatch.setattr(
        table.watcher, "_config", table.config.model_copy(update={"inference": little})
    )
    monkeypatch.setattr(ledger_module, "_TRAVEL_S", 0.2)
    for number in range(3):
        put(table.root / f"{number}.dm4")
    table.wait_synced()
    wait_for(lambda: len(selfish.leases) >= 3, step=selfish.step)
    held = []

    def honest():
        held.extend(job.lease for job in table.jobs if job.lease not in held)
        table.ready(3 - len(held), held)
        selfish.step()

    wait_for(lambda: len({job.frame.path for job in table.jobs}) == 3, step=honest, timeout_s=20)
    assert table.ledger.counts["failed"] == 0


@pytest.mark.parametrize("selfish", [HOLDS], indirect=True)
def test_who_finishes_a_frame_after_all_gets_others_again(table, selfish, monkeypatch):
    monkeypatch.setattr(module, "_STUCK_S", 0.3)
    monkeypatch.setattr(module, "_grace_s", lambda _config: 1.0)
    put(table.root / "first.dm4")
    table.wait_synced()
    wait_for(lambda: selfish.leases, step=selfish.step)
    wait_for(lambda: table.ledger.counts["leased"] == 0, step=selfish.step)
    selfish.leases.clear()
    finished = time.monotonic()
    # Its result is on its way to the archive: it must not get the frame once more meanwhile.
    wait_for(lambda: time.monotonic() - finished > 0.6 or selfish.leases, step=selfish.step)
    table.archive(next(iter(table.ledger._tasks)))
    put(table.root / "second.dm4")
    wait_for(lambda: len(selfish.leases) == 1, step=selfish.step)
    assert [task.frame.path for task in table.ledger._tasks.values()] == ["second.dm4"]
    assert table.ledger.counts["archived"] == 1
