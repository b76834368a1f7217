"""The order in which sightings and vanished files are handed over."""

import threading
import time

from pychip_stream.acquisition.settling import Sighting
from pychip_stream.acquisition.watch import Outbox
from pychip_stream.domain.frames import FrameRef


def sighting(path, size=1):
    return Sighting(FrameRef(path=path, size=size, mtime_ns=1))


def test_a_file_that_is_there_again_has_not_vanished():
    box = Outbox()
    box.vanish(["a", "b"])
    box.sight(sighting("a"))
    assert [one.frame.path for one in box.take(0.0)] == ["a"]
    assert box.take_vanished() == ["b"]


def test_nobody_hears_that_a_file_is_gone_before_its_sighting():
    box = Outbox()
    box.sight(sighting("a"))
    box.vanish(["a", "b"])
    assert box.take_vanished() == ["b"]
    assert len(box.take(0.0)) == 1
    assert box.take_vanished() == ["a"]
    assert box.take_vanished() == []


def test_whoever_waits_is_woken():
    box = Outbox()
    assert box.take(0.01) == []
    threading.Timer(0.1, lambda: box.sight(sighting("a"))).start()
    start = time.monotonic()
    assert len(box.take(60.0)) == 1
    assert time.monotonic() - start < 50
