"""Health page: services, rates, queues, latency, machine, alerts and the log."""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import panel as pn

from pychip_stream.operation.health import RunHealth
from pychip_stream.operation.latency import LatencySplit, stretches
from pychip_stream.wire.messages import Alert

from ..accounts import Viewer
from ..page import Desk, View
from ..parts.components import Tables, table
from ..parts.rule_editor import RuleEditor
from ..work.background import Background
from ..work.machine import Machine, look
from ..work.recent import Every
from ..work.state import Failure, RunState
from ..work.words import clock, count, duration, size

Table = dict[str, Any]
Cell = dict[str, str]

_WINDOW_S = 30.0
_SHOTS = 100
_FILES_SHOWN = 20
_LOW_SHARE, _LOW_BYTES = 0.05, 5e9
_STATES = {
    "running": ("good", "●"),
    "starting": ("plain", "…"),
    "waiting": ("plain", "…"),
    "paused": ("warn", "▲"),
    "stopping": ("plain", "○"),
    "stopped": ("plain", "○"),
    "silent": ("bad", "✕"),
    "stalled": ("bad", "■"),
    "failed": ("bad", "✕"),
}
_ADVICE = {
    "silent": "it is started again by itself; the log below says what happened",
    "failed": "the log below says why; it is started again by itself",
    "stalled": "it is started again if this goes on; look at the disk and the share",
    "paused": "it goes on by itself once this is mended",
}
_FILES = {
    "failed": "mend or export the file again; what has changed is analysed anew",
    "incomplete": "nothing, if it is still being written; else copy it again",
    "missing": "look whether the camera's software has saved them",
    "unreadable": "check its name and who may read it",
}
"""States of files, and what to do."""
_UNITS = {
    "chips_per_s": "chips/s",
    "newest_age_s": "s since the newest frame",
    "stimulus_silence": "s since the last reading",
    "busy_s": "s busy",
    "rss_mb": "MB memory",
    "cpu_s": "s processor",
    "handles": "handles",
}
"""Counters that follow the others, as number and unit."""
_LEVELS = {"info": ("plain", "●"), "warning": ("warn", "▲")}
_LATENCY = "latency."
_STAGES = {
    "started": "until its turn", "received": "until the archiver had it", "total": "in all",
}  # fmt: skip
_RATES = {
    ("watcher", "seen"): "frames seen",
    ("watcher", "archived"): "frames archived",
    ("inference", "done"): "frames classified",
}
_QUEUES = {
    "behind": "frames behind",
    "leased": "handed out",
    "queue": "waiting in workers",
    "pending": "waiting for the disk",
    "incomplete": "incomplete files",
    "missing": "missing from a series",
    "failed": "failed frames",
    "duplicates": "duplicates refused",
    "dropped": "messages dropped",
}
_SHOW_S = 1.0
_LOOK_S = 2.0
_NOTHING_YET = "nothing heard yet"


class HealthPage(View):
    """Whether everything runs, and if not, what is wrong."""

    name: ClassVar = "health"
    title: ClassVar = "Health"
    place: ClassVar = 3

    def __init__(self, desk: Desk, viewer: Viewer) -> None:
        archive = desk.config.archive
        self._folder = archive.folder
        self._log = archive.folder / f"{archive.name}.log"
        self._run = desk.run
        self._board = HealthBoard(desk.run)
        self._background = Background(lambda _text: None, threads=1)
        self._rules = RuleEditor(desk.rules, self._background, viewer, list(desk.run.colors))
        self._machine: Machine | None = None
        self._look, self._show = Every(_LOOK_S), Every(_SHOW_S)
        self._tables = Tables(self._on_message, sizing_mode="stretch_width", margin=(12, 16))

    def panel(self) -> Any:
        """Tables that flow beside each other, and the rules of alerts below."""
        return pn.Column(self._tables, self._rules.panel(), sizing_mode="stretch_width")

    def pull(self, now: float) -> None:
        """Refresh once a second."""
        if self._show.due(now):
            self._board.sample(now)
            self._send()
        if self._look.due(now):
            self._rules.offer(list(self._run.colors))
            look_now = partial(look, self._folder, self._log)
            self._background.do(look_now, self._on_look, slot="look")

    def close(self) -> None:
        """Let go of the thread."""
        self._background.close()

    def _on_look(self, machine: Machine) -> None:
        self._machine = machine

    def _on_message(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self._send()

    def _send(self) -> None:
        self._tables.send(type="tables", tables=self._board.tables(self._machine))


class HealthBoard:
    """Follows the counters of a run for one viewer and writes the tables."""

    def __init__(self, run: RunState) -> None:
        self._run = run
        self._counts: dict[tuple[str, str], deque[tuple[float, float]]] = {}
        self._latency_split = LatencySplit(_SHOTS)
        self._newest: dict[str, float] = {}
        self._shot = self._shots = 0

    def sample(self, now: float) -> None:
        """Take in what the services say now; once a second or so."""
        for instance, status in self._run.health.statuses.items():
            for name, value in status.counters.items():
                if (status.service, name) in _RATES:
                    series = self._counts.setdefault((instance, name), deque())
                    if series and value < series[-1][1]:
                        series.clear()  # it was started again
                    series.append((now, value))
                    while now - series[0][0] > _WINDOW_S:
                        series.popleft()
        shot = self._run.shot
        live = shot.live if shot is not None else None
        if shot is not None and live is not None and shot.number != self._shot:
            self._shot = shot.number
            self._shots = min(self._shots + 1, _SHOTS)
            moments = {"started": live.started, "received": live.received}
            self._newest = stretches(live.frame, live.read, live.classified, **moments)
            self._latency_split.add(self._newest)

    def tables(self, machine: Machine | None) -> list[Table]:
        """Everything that the page shows."""
        health = self._run.health
        parts = [
            services_table(health),
            files_table(health, self._run.failures),
            alerts_table(self._run.alerts),
            table("Rates", self._rates(), right=[1], empty=_NOTHING_YET),
            machine_table(machine),
            self._latency(),
            table("Queues", self._queues(), right=[1], empty=_NOTHING_YET),
            percentile_table(health.latency()),
        ]
        lines = list(machine.log) if machine else []
        empty = "no log yet; `pychip-stream run` writes it beside the archive"
        return [*parts, {"title": "Log", "lines": lines, "empty": empty}]

    def _rates(self) -> list[list[str]]:
        totals: dict[str, list[float | None]] = {}
        statuses = self._run.health.statuses
        for (instance, name), series in self._counts.items():
            label = _RATES[(statuses[instance].service, name)]
            totals.setdefault(label, []).append(rate(series))
        rows = []
        for label, rates in totals.items():
            known = [one for one in rates if one is not None]
            rows.append([label, f"{sum(known):.2f}/s" if known else "…"])
        chips = sum(s.counters.get("chips_per_s", 0.0) for s in statuses.values())
        if chips:
            rows.append(["chips classified while busy", f"{chips:,.0f}/s"])
        return rows

    def _queues(self) -> list[list[str]]:
        totals: dict[str, float] = {}
        for status in self._run.health.statuses.values():
            for name, value in status.counters.items():
                if name in _QUEUES:
                    totals[name] = totals.get(name, 0.0) + value
        return [[label, f"{totals[name]:.0f}"] for name, label in _QUEUES.items() if name in totals]

    def _latency(self) -> Table:
        found = self._latency_split.counters()
        rows = [
            [_stage(stage), duration(newest),
             *(duration(found[f"{_LATENCY}{stage}.{share}"]) for share in ("p50", "p95"))]
            for stage, newest in self._newest.items()
        ]  # fmt: skip
        note = f"of the last {count(self._shots, 'frame')} shown here" if rows else ""
        head = ["stage", "newest", "median", "95 %"]
        return table("Latency", rows, head, right=[1, 2, 3], note=note, empty="no frame yet")


def rate(series: Sequence[tuple[float, float]]) -> float | None:
    """Growth per second of a counter that moves in steps; None while that cannot be told yet.

    Parameters
    ----------
    series
        (seconds, value) of the last half minute, oldest first.
    """
    (start, low), (now, high) = series[0], series[-1]
    steps = [later for before, later in pairwise(series) if later[1] > before[1]]
    if len(steps) < 2:
        return (high - low) / (now - start) if now - start > 0.9 * _WINDOW_S else None
    (first, base), (last, top) = steps[0], steps[-1]
    usual = (last - first) / (len(steps) - 1)
    return (top - base) / ((last if now - last < 2 * usual else now) - first)


def _stage(name: str) -> str:
    return _STAGES.get(name, f"until {name}")


def services_table(health: RunHealth) -> Table:
    """Tell of every service instance in a row."""
    rows: list[list[Any]] = []
    for instance, status in sorted(health.statuses.items()):
        quiet, shown = health.quiet_s(instance), health.state(instance)
        if shown == "stalled" and health.silent(instance):
            shown = "silent"
        state = _badge(*_STATES.get(shown, ("plain", "?")), shown)
        heard = f"{quiet:.0f} s ago" if quiet >= 1 else "now"
        says = "; ".join(filter(None, (status.detail, _ADVICE.get(shown, ""))))
        rows.append([instance, state, heard, says, _counters(status.counters)])
    for instance in sorted(health.missing):
        missing = _badge("bad", "✕", "missing")
        rows.append([instance, missing, "never", health.detail(instance), ""])
    head = ["service", "state", "heard", "what it says", "counters"]
    return table("Services", rows, head, empty="no service has been heard yet", wide=True)


def _counters(counters: Mapping[str, float]) -> str:
    """Write what a service counts that is not 0, and at the end what it takes of the machine."""
    counted = {n: value for n, value in counters.items() if value and not n.startswith(_LATENCY)}
    own = (n for n in counted if n not in _UNITS)
    parts = [f"{n.replace('_', ' ')} {_number(counted[n])}" for n in own]
    parts += [f"{_number(counted[n])} {unit}" for n, unit in _UNITS.items() if n in counted]
    return " · ".join(parts)


def files_table(health: RunHealth, failures: Sequence[Failure]) -> Table:
    """Name the files in trouble, with the reason and what to do; the newest failures first."""
    found = [
        (file.path, file.state, file.reason)
        for status in health.statuses.values()
        for file in status.files
    ]
    again = {path for path, *_ in found}  # a file that failed, and is looked at once more
    found += [
        (one.path + (f" #{one.index}" if one.index else ""), "failed", one.reason)
        for one in reversed(failures)
        if one.path not in again
    ]
    rows = [
        [{"text": path, "mono": True},
         _badge("bad", "✕", state) if state == "failed" else _badge("warn", "▲", state),
         reason, _FILES.get(state, "")]
        for path, state, reason in found
    ]  # fmt: skip
    head = ["file", "state", "reason", "what to do"]
    note = "the first of each kind; Review › Failed has all" if len(rows) >= _FILES_SHOWN else ""
    return table("Files in trouble", rows, head, note=note, empty="none", wide=True)


def percentile_table(latency: Mapping[str, Mapping[str, float]]) -> Table:
    """Delays that the services measured themselves, over all frames."""
    shares = ("p50", "p95", "p99")
    rows = [
        [_stage(stage), *(duration(values[s]) if s in values else "–" for s in shares)]
        for stage, values in latency.items()
    ]
    head = ["stage", "median", "95 %", "99 %"]
    return table("Delays, all frames of the run", rows, head, right=[1, 2, 3], empty=_NOTHING_YET)


def machine_table(machine: Machine | None) -> Table:
    """Disk, processor, memory and GPU of the machine that the dashboard runs on."""
    rows: list[list[Any]] = []
    if machine is not None:
        rows.append(["disk of the archive", _disk(machine)])
        rows.append(["archive folder", size(machine.archive_bytes)])
        rows.append(["processor", f"{machine.cpu_percent:.0f} % busy"])
        rows.append(["memory", f"{machine.memory_percent:.0f} % used"])
        rows += [[f"GPU {n}", text] for n, text in enumerate(machine.gpus)]
        if not machine.gpus:
            rows.append(["GPU", "none found"])
    return table("This machine", rows, empty="is being looked at")


def alerts_table(alerts: Sequence[Alert]) -> Table:
    """Alerts of this run, the newest first."""
    rows = []
    for alert in reversed(alerts):
        level = _badge(*_LEVELS.get(alert.level, ("bad", "✕")), alert.level)
        ended = "still holds" if alert.state == "on" else clock(alert.time)
        rows.append([clock(alert.time), level, f"{alert.rule}: {alert.reason}", ended])
    head = ["when", "level", "what", "until"]
    return table("Alerts", rows, head, empty="none since this page's server started", wide=True)


def _disk(machine: Machine) -> str | Cell:
    free, total = machine.disk_free, machine.disk_total
    if free is None or not total:
        return _badge("bad", "✕", "out of reach")
    text = f"{size(free)} free of {size(total)}"
    if free < _LOW_BYTES or free / total < _LOW_SHARE:
        return _badge("warn", "▲", f"{text}: nearly full")
    return text


def _badge(state: str, symbol: str, text: str) -> Cell:
    return {"state": state, "symbol": symbol, "text": text}


def _number(value: float) -> str:
    whole = abs(value) >= 100 or value % 1 == 0
    return f"{value:,.0f}" if whole else f"{value:.3g}"
