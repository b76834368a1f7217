"""The page must never lie about being live."""

import pytest

from dashboard.work.state import Pulse, judge, troubles
from pychip_stream.wire.messages import Status


def pulse(**changes):
    usual = {
        "heard_at": 100.0, "shown_at": 99.9, "seen_at": 99.8, "behind": 0, "gap_s": 0.5,
        "started_at": 0.0,
    }  # fmt: skip
    return Pulse(**(usual | changes))


@pytest.mark.parametrize(
    ("changes", "light"),
    [
        ({}, "live"),
        ({"behind": 2}, "live"),
        ({"behind": 3}, "behind"),
        ({"behind": 3, "shown_at": 90.0}, "stalled"),
        ({"behind": 1, "shown_at": None}, "stalled"),
        ({"shown_at": 90.0}, "idle"),
        ({"shown_at": 90.0, "gap_s": 30.0}, "live"),
        ({"shown_at": None}, "waiting"),
        ({"heard_at": 90.0}, "lost"),
        ({"heard_at": None}, "lost"),
        ({"heard_at": None, "started_at": 98.0}, "waiting"),
    ],
)
def test_light(changes, light):
    if light == "waiting":
        changes = {"shown_at": None} | changes
    assert judge(pulse(**changes), now=100.0).light == light


def test_words_say_how_many_and_since_when():
    assert judge(pulse(behind=12), 100.0).text == "12 frames behind"
    stalled = judge(pulse(behind=1, shown_at=50.0), 100.0, clock="12:00:01")
    assert stalled.text == "stalled since 12:00:01"
    assert stalled.detail == "1 frame waiting"


def test_services_that_are_silent_or_unwell_are_named():
    statuses = {
        "watcher": Status(service="watcher", instance="watcher", state="running", time=0),
        "worker-1": Status(
            service="inference", instance="worker-1", state="waiting", time=0, detail="no set"
        ),
        "hub": Status(service="hub", instance="hub", state="running", time=0),
    }
    heard = {"watcher": 90.0, "worker-1": 100.0, "hub": 100.0}
    assert troubles(statuses, heard, 100.0) == ["watcher is silent", "worker-1 waiting: no set"]
