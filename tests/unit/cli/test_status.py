"""`status` tells the truth: who is silent is listed, and what the archive lacks is told."""

import pytest

from pychip_stream import config as configuration
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli import status as module
from pychip_stream.operation.health import RunHealth
from pychip_stream.operation.running import expected
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Status
from tests.support.archive_samples import record
from tests.support.command import call_here


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of which three frames are archived and five were, and that has lost its worker."""
    path = tmp_path / "config.yaml"
    path.write_text("watch: {root: .}\ndashboard: {enabled: false}\n")
    config = configuration.load(path)

    class Monitor(RunHealth):
        def __init__(self, running, start_s):
            assert start_s < 10  # who is silent is told at once
            super().__init__(expected(running), 0.0)

        def listen(self, _timeout_s):
            for name in ("hub", "archiver", "watcher"):
                counters = {"archived": 5.0, "seen": 5.0} if name == "watcher" else {}
                status = Status(
                    service=name, instance=name, state="running", time=0.0, counters=counters
                )
                self.take(Received(Packet(status, {}), b"", b""))

        def line(self):
            return "a line"

        def close(self):
            pass

    monkeypatch.setattr(module, "SILENT_S", 0.1)
    monkeypatch.setattr(module, "Monitor", Monitor)
    monkeypatch.setattr(module, "running_config", lambda _path: config)
    writer = RunWriter(config.archive.folder, "run")
    for number in range(3):
        writer.append(record(number))
    writer.publish()
    yield path
    writer.close()


def test_who_is_silent_and_what_is_gone_are_told(run):
    told = call_here("status", run, "--json").document
    assert told["services"]["worker-1"]["state"] == "missing"
    silent, lost = told["troubles"]
    assert silent.startswith("worker-1 missing")
    assert "holds 3 of 5 frames that were archived" in lost
    shown = call_here("status", run)
    assert shown.code == 0
