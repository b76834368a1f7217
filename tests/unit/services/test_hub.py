"""A published support set: its bytes travel as they are, and each listener reads them once."""

import logging
import threading
import time
from collections import Counter

import pytest

from pychip_stream import config as configuration
from pychip_stream.archive import support_sets
from pychip_stream.archive.support_sets import (
    SupportFolder,
    read_file,
    save_support,
    support_to_bytes,
)
from pychip_stream.cli import main
from pychip_stream.domain import support as domain
from pychip_stream.wire import messages
from pychip_stream.wire.codec import bytes_array
from pychip_stream.wire.messages import PixelSizeChanged, PublishSupport, SetPixelSize
from services.archiver import Archiver
from services.hub import Hub
from tests.conftest import ROOT
from tests.support.archive_samples import support
from tests.support.ports import free_wire


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
    text = f"watch: {{root: .}}\narchive: {{folder: runs}}\nwire: {free_wire()}\n"
    (tmp_path / "run.yaml").write_text(text)
    config = configuration.load(tmp_path / "run.yaml")
    hub, archiver = Hub(config), Archiver(config, threading.Event())
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
    # The command before it sends, and the archiver; the hub does so in a process of its own.
    assert counted == {"read_support": 2, "_content_hash": 2}
    folder = SupportFolder(config.support.folder)
    assert folder.current_version() == made.version
    assert read_file(folder.path(made.version)) == (tmp_path / "set.h5").read_bytes()
    assert archiver._writer._supports[made.version] == (tmp_path / "set.h5").read_bytes()
    archiver.close()
    hub.close()


@pytest.fixture
def hub(tmp_path):
    tree = {"watch": {"root": "."}, "wire": free_wire()}
    one = Hub(configuration.parse(tree, "test", tmp_path))
    yield one
    one.close()


def test_who_published_a_support_set_is_in_the_log(hub, caplog):
    caplog.set_level(logging.INFO)
    data = bytes_array(support_to_bytes(support()))
    reply = hub._publish_support(PublishSupport(author="ada"), data)
    assert (reply.ok, reply.detail) == (True, support().version)
    assert f"support set {support().version[:8]} published by ada: alpha, beta" in caplog.text


def _crashing():
    """Bytes of a support set over which HDF5 2.0.0 ends its process."""
    data = bytearray((ROOT / "tests/data/support-set.h5").read_bytes())
    data[0x36C0:0x36C2] = bytes(2)  # an address in the tree of a group's names
    return bytes(data)


def test_a_support_set_over_which_hdf5_crashes_costs_its_message(hub):
    reply = hub._publish_support(PublishSupport(), bytes_array(_crashing()))
    assert not reply.ok
    assert "published support set" in reply.detail
    assert "\n" not in reply.detail
    assert hub._folder.current_version() is None
    assert hub._publish_support(PublishSupport(), bytes_array(support_to_bytes(support()))).ok


def test_a_current_support_set_over_which_hdf5_crashes_does_not_stop_the_hub(tmp_path, caplog):
    SupportFolder(tmp_path / "support").add("0" * 32, _crashing())
    Hub(
        configuration.parse({"watch": {"root": "."}, "wire": free_wire()}, "test", tmp_path)
    ).close()
    assert "publish a support set to go on" in caplog.text


def test_a_message_without_a_support_set_is_refused(hub):
    reply = hub._publish_support(PublishSupport(), {})
    assert (reply.ok, reply.detail) == (False, "the message carries no support set")


def test_another_initial_support_set_than_the_one_in_force_is_said(tmp_path, caplog):
    for number in range(2):
        save_support(support(seed=number), tmp_path / f"set{number}.h5")
    tree = {"watch": {"root": "."}, "wire": free_wire(), "support": {"initial": "set0.h5"}}

    def begin(initial):
        tree["support"]["initial"] = initial
        caplog.clear()
        one = Hub(configuration.parse(tree, "test", tmp_path))
        current = one._folder.current_version()
        one.close()
        return current, caplog.text

    first, second = support(seed=0).version, support(seed=1).version
    assert begin("set0.h5") == (first, "")
    assert begin("set0.h5") == (first, "")
    current, said = begin("set1.h5")
    assert current == first
    assert (
        f"set1.h5 is another support set ({second[:8]}) than the one in force ({first[:8]}" in said
    )
    assert "publish" in said
    SupportFolder(tmp_path / "support").add(second, read_file(tmp_path / "set1.h5"))
    assert begin("set0.h5") == (second, "")  # what was published since is not forgotten
    current, said = begin("gone.h5")
    assert current == second
    assert "gone.h5" in said


def sizes(hub):
    """Pixel sizes that a late joiner is told of."""
    return [p.message for (topic, _), p in hub._retained.items() if topic == messages.PIXEL_SIZE]


def test_a_pixel_size_by_hand_outlives_the_hub(hub, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert sizes(hub) == []
    reply = hub._set_pixel_size(SetPixelSize(size=" 0.5nm", author="ada"))
    assert (reply.ok, reply.detail) == (True, "0.5 nm")
    assert "pixel size set by ada: 0.5 nm" in caplog.text
    again = configuration.parse({"watch": {"root": "."}, "wire": free_wire()}, "test", tmp_path)
    other = configuration.parse(
        {"watch": {"root": "."}, "archive": {"name": "b"}, "wire": free_wire()}, "test", tmp_path
    )
    for config, known in ((again, [PixelSizeChanged(size="0.5 nm")]), (other, [])):
        next_one = Hub(config)
        assert sizes(next_one) == known
        next_one.close()
    assert hub._set_pixel_size(SetPixelSize()).ok
    assert sizes(hub) == [PixelSizeChanged()]
    assert not list(tmp_path.rglob("*.pixel_size.json"))


@pytest.mark.parametrize("size", ["0.5", "5 km", "1e9 nm", "x"])
def test_an_impossible_pixel_size_is_answered_and_changes_nothing(hub, size):
    assert not hub._set_pixel_size(SetPixelSize(size=size)).ok
    assert sizes(hub) == []


@pytest.mark.parametrize("text", ["", "{}x", '{"type": 1}', '{"size": "5 km"}'])
def test_a_damaged_note_of_the_pixel_size_is_said(tmp_path, caplog, text):
    config = configuration.parse({"watch": {"root": "."}, "wire": free_wire()}, "test", tmp_path)
    note = config.run_path.with_suffix(".pixel_size.json")
    note.parent.mkdir()
    note.write_text(text)
    one = Hub(config)
    assert sizes(one) == []
    assert "cannot be read" in caplog.text
    one.close()
