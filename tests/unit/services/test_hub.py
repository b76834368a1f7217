"""A published support set: its bytes travel as they are, and each listener reads them once."""

import socket
import threading
import time
from collections import Counter

import pytest
from archive_samples import support

from pychip_stream import config as configuration
from pychip_stream.archive import support_sets
from pychip_stream.archive.support_sets import SupportFolder, read_file, save_support
from pychip_stream.cli import main
from pychip_stream.domain import support as domain
from services.archiver import Archiver
from services.hub import Hub

PORTS = ("tasks", "results", "requests", "events")


def free_ports():
    held = {n: socket.create_server(("127.0.0.1", 0)) for n in PORTS}
    ports = {name: one.getsockname()[1] for name, one in held.items()}
    for one in held.values():
        one.close()
    return ports


@pytest.fixture
def counted(monkeypatch):
    """How often a support set was encoded, decoded and hashed."""
    counts = Counter()

    def count(module, name):
        original = getattr(module, name)

        def counting(*args, **options):
            counts[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(module, name, counting)

    count(support_sets, "write_support")
    count(support_sets, "read_support")
    count(domain, "_content_hash")
    return counts


def test_a_publish_encodes_nothing_and_each_listener_decodes_once(tmp_path, counted):
    made = support()
    save_support(made, tmp_path / "set.h5")
    assert counted == {"write_support": 1, "read_support": 1, "_content_hash": 2}
    text = f"watch: {{root: .}}\narchive: {{folder: runs}}\nwire: {free_ports()}\n"
    (tmp_path / "run.yaml").write_text(text)
    config = configuration.load(tmp_path / "run.yaml")
    hub, archiver = Hub(config), Archiver(config)
    counted.clear()
    words = ["support", "publish", str(tmp_path / "set.h5"), "--config", str(tmp_path / "run.yaml")]
    command = threading.Thread(target=main._run, args=(words,), kwargs={"debug": False})
    command.start()
    deadline = time.monotonic() + 60
    while command.is_alive() or made.version not in archiver._supports:
        assert time.monotonic() < deadline
        hub.step()
        archiver.step()
    command.join()
    # The command before it sends, the hub, the archiver.
    assert counted == {"read_support": 3, "_content_hash": 3}
    folder = SupportFolder(config.support.folder)
    assert folder.current_version() == made.version
    assert read_file(folder.path(made.version)) == (tmp_path / "set.h5").read_bytes()
    assert archiver._writer._supports[made.version] == (tmp_path / "set.h5").read_bytes()
    archiver.close()
    hub.close()
