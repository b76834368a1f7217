"""Services, rates, queues and the machine, in words."""

import time

import pytest

from dashboard.accounts import MAY_LOOK, Viewer
from dashboard.pages.health_page import (
    HealthBoard,
    alerts_table,
    files_table,
    machine_table,
    percentile_table,
    rate,
    services_table,
)
from dashboard.parts.rule_editor import RuleEditor
from dashboard.work import machine
from dashboard.work.background import Background
from dashboard.work.machine import Machine, parse_gpus, tail
from dashboard.work.state import Failure, RunState
from pychip_stream.domain.frames import FrameRef
from pychip_stream.operation.health import RunHealth
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Alert, Live, Status, TroubledFile
from tests.support.live_frames import live, shot


def status(service="watcher", state="running", instance=None, files=(), **counters):
    return Status(
        service=service, instance=instance or service, state=state, time=0.0, counters=counters,
        files=files,
    )  # fmt: skip


def hear(health, *messages):
    for message in messages:
        health.take(Received(Packet(message, {}), b"", b""))


def health_of(*messages):
    health = RunHealth()
    hear(health, *messages)
    return health


def board_tables(run, board=None, machine=None):
    return {t["title"]: t for t in (board or HealthBoard(run)).tables(machine)}


def test_every_state_has_a_word_a_colour_and_a_symbol():
    states = [
        "running",
        "starting",
        "waiting",
        "paused",
        "stopping",
        "stopped",
        "stalled",
        "failed",
        "new",
    ]
    table = services_table(health_of(*(status(state=s, instance=s) for s in states)))
    found = {row[0]: row[1] for row in table["rows"]}
    assert {name: cell["text"] for name, cell in found.items()} == {s: s for s in states}
    assert all(cell["symbol"] and cell["state"] for cell in found.values())
    assert (found["running"]["state"], found["paused"]["state"], found["failed"]["state"]) == (
        "good", "warn", "bad",
    )  # fmt: skip


def test_service_that_says_nothing_is_silent_whatever_it_said_last():
    health = health_of(status("hub"))
    health.heard = {"hub": time.monotonic() - 30.0}
    (row,) = services_table(health)["rows"]
    assert (row[1]["text"], row[1]["state"], row[2]) == ("silent", "bad", "30 s ago")


def test_rates_follow_the_counters_and_survive_a_restart():
    run = RunState()
    board = HealthBoard(run)
    for second, seen in enumerate((100, 110, 120)):
        hear(run.health, status(seen=float(seen), archived=float(seen), behind=4.0))
        board.sample(float(second))
    tables = board_tables(run, board)
    assert ["frames seen", "10.00/s"] in tables["Rates"]["rows"]
    assert ["frames behind", "4"] in tables["Queues"]["rows"]
    hear(run.health, status(seen=0.0))
    board.sample(3.0)
    assert ["frames seen", "…"] in board_tables(run, board)["Rates"]["rows"]


@pytest.mark.parametrize(
    ("series", "found"),
    [
        ([(0, 5)], None),  # one look tells nothing
        ([(0, 5), (3, 5), (6, 15)], None),  # nor does one segment
        ([(0, 5), (3, 15), (4, 15), (8, 25), (9, 25), (13, 35)], 2.0),
        ([(0, 5), (2, 15), (7, 25), (12, 35), (29, 35)], 20 / 27),  # it has stopped
        ([(0, 5), (10, 5), (29, 5)], 0.0),
    ],
)
def test_rate_of_a_counter_that_moves_in_steps(series, found):
    """M24: "0.00/s" between two segments."""
    assert rate([(float(t), float(v)) for t, v in series]) == pytest.approx(found)


def test_files_in_trouble_have_a_name_a_reason_and_advice():
    """S11: "incomplete files 12, failed frames 3", and no word which and why."""
    torn = TroubledFile("b/torn.dm4", "incomplete", "its end is missing")
    failures = [Failure("old.tif", 0, "not an image"), Failure("stack.tif", 7, "no pixels")]
    rows = files_table(health_of(status(files=(torn,))), failures)["rows"]
    assert [(row[0]["text"], row[1]["text"], row[2]) for row in rows] == [
        ("b/torn.dm4", "incomplete", "its end is missing"),
        ("stack.tif #7", "failed", "no pixels"),
        ("old.tif", "failed", "not an image"),
    ]
    assert all(len(row[3]) > 20 for row in rows)
    once = files_table(health_of(status(files=(torn,))), [Failure(torn.path, 0, "cut off")])["rows"]
    assert [row[1]["text"] for row in once] == ["incomplete"]  # it is looked at again


def test_services_come_first_then_what_is_wrong():
    titles = [table["title"] for table in HealthBoard(RunState()).tables(None)]
    assert titles[:3] == ["Services", "Files in trouble", "Alerts"]
    assert titles[-1] == "Log"


def test_what_a_service_takes_of_the_machine_comes_last():
    counters = {"busy_s": 0.5, "rss_mb": 118.0, "newest_age_s": 2.0, "failed": 0.0, "at_hand": 3.0}
    (row,) = services_table(health_of(status(**counters)))["rows"]
    assert row[4] == "at hand 3 · 2 s since the newest frame · 0.5 s busy · 118 MB memory"


def test_latency_is_split_by_stage():
    frame = FrameRef(path="a", mtime_ns=10 * 10**9, seen=10.5)
    message = Live(
        frame=frame, names=("alpha",), colors=("#0072b2",), support_version="",
        chip_size=(1, 1), shape=(1, 1),
        status="ok", read=11.0, classified=13.0, received=13.25,
    )  # fmt: skip
    run = RunState()
    run.show(shot(message))
    board = HealthBoard(run)
    board.sample(0.0)
    rows = board_tables(run, board)["Latency"]["rows"]
    assert [row[:2] for row in rows] == [
        ["until seen", "500 ms"], ["until read", "500 ms"], ["until classified", "2.0 s"],
        ["until the archiver had it", "250 ms"], ["in all", "3.2 s"],
    ]  # fmt: skip
    assert rows[2] == ["until classified", "2.0 s", "2.0 s", "2.0 s"]
    assert board_tables(run, board)["Latency"]["note"] == "of the last 1 frame shown here"
    run.show(shot(live()))  # nothing is known of its way
    board.sample(1.0)
    assert board_tables(run, board)["Latency"]["rows"] == []


def test_delays_that_services_measured_stand_in_their_own_table():
    counters = {"latency.read.p50": 0.25, "latency.read.p95": 2.0, "archived": 7.0}
    health = health_of(status("archiver", **counters))
    assert percentile_table(health.latency())["rows"] == [["until read", "250 ms", "2.0 s", "–"]]
    (row,) = services_table(health)["rows"]
    assert row[4] == "archived 7"


def test_disk_that_is_nearly_full_is_marked():
    def words(free, total):
        table = machine_table(Machine(free, total, 5_000_000, 10.0, 20.0, (), ()))
        return table["rows"][0][1]

    assert words(50 * 10**9, 100 * 10**9) == "50.0 GB free of 100.0 GB"
    assert words(10**9, 100 * 10**9)["state"] == "warn"
    assert words(None, None)["state"] == "bad"


def test_alerts_stand_newest_first_and_say_whether_they_hold():
    old = Alert(id="1", rule="a", level="warning", state="off", reason="old", time=2.0)
    new = Alert(id="2", rule="b", level="critical", state="on", reason="new", time=3.0)
    alerts = [old, new]
    rows = alerts_table(alerts)["rows"]
    assert [row[2] for row in rows] == ["b: new", "a: old"]
    assert rows[0][3] == "still holds"
    assert [row[1]["text"] for row in rows] == ["critical", "warning"]


def test_tail_of_a_long_log_begins_with_a_whole_line(tmp_path):
    path = tmp_path / "run.log"
    path.write_text("".join(f"line {n}\n" for n in range(20_000)))
    lines = tail(path, 300)
    assert len(lines) == 300
    assert lines[-1] == "line 19999"
    assert all(line.startswith("line ") for line in lines)
    assert tail(tmp_path / "none") == ()


def test_cards_are_read_from_what_the_driver_prints():
    (card,) = parse_gpus("NVIDIA H100, 37, 1024, 81559, 41\n")
    assert card == "NVIDIA H100: 37 % busy, 1024 of 81559 MiB, 41 °C"
    assert parse_gpus("No devices were found\n") == ()


def test_look_reports_the_folder_and_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "gpus", lambda: ())
    (tmp_path / "a.h5").write_bytes(bytes(100))
    (tmp_path / "run.log").write_text("hub        up\n")
    found = machine.look(tmp_path, tmp_path / "run.log")
    assert found.archive_bytes == 100 + 14
    assert found.log == ("hub        up",)
    assert found.disk_free and found.disk_total


def editor(desk, viewer):
    one = RuleEditor(desk.rules, Background(lambda _text: None), viewer, ["alpha", "beta"])
    one._name.value, one._class.value, one._limit.value = "beta appears", "beta", "20 %"
    one._for_s.value, one._level.value = "3", "critical"
    return one


def test_an_operator_makes_changes_and_removes_a_rule(desk):
    one = editor(desk, Viewer("ann"))
    one._save.clicks += 1
    (rule,) = desk.rules.current().rules
    assert (rule.class_, rule.above, rule.for_s, rule.level) == ("beta", 0.2, 3.0, "critical")
    assert desk.rules.edited()["beta appears"].who == "ann"
    again = editor(desk, Viewer("ann"))
    again._name.value = ""
    again._chosen.value = "beta appears"
    assert (again._name.value, again._limit.value) == ("beta appears", "0.2")
    again._side.value = "below"
    again._save.clicks += 1
    (rule,) = desk.rules.current().rules
    assert (rule.above, rule.below) == (None, 0.2)
    again._limit.value = "much"
    again._save.clicks += 1
    assert "is no number" in again._state.object
    again._limit.value, again._name.value = "0,3", ""
    again._save.clicks += 1
    assert again._state.object.startswith("✕ name")
    again._name.value = "beta appears"
    again._remove.clicks += 1
    assert desk.rules.current().rules == ()


def test_a_viewer_makes_no_rule(desk):
    one = editor(desk, Viewer("bob", operator=False))
    one._save.clicks += 1
    one._remove.clicks += 1
    assert MAY_LOOK in one._state.object
    assert not desk.rules.path.exists()


def test_a_limit_that_is_moved_over_the_curves_is_followed_unless_it_is_edited(desk):
    desk.rules.put({"name": "high", "quantity": "unknown", "above": 0.5}, "ann")
    following, editing = editor(desk, Viewer("ann")), editor(desk, Viewer("ann"))
    for one in (following, editing):
        one._chosen.value = "high"
    editing._limit.value = "0.2"
    desk.rules.put({"name": "high", "quantity": "unknown", "above": 0.7}, "bob")
    for one in (following, editing):
        one.offer(["alpha"])
    assert (following._limit.value, editing._limit.value) == ("0.7", "0.2")
