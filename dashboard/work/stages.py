"""Health: how the services and the machine are, as tables for people."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from pychip_stream.wire.messages import Live, Status

from ..pages.review_tables import size
from .machine import Machine
from .state import SILENT_S, Alert, RunState

Table = dict[str, Any]
Cell = dict[str, str]

_WINDOW_S = 30.0
_SHOTS = 100
_LOW_SHARE, _LOW_BYTES = 0.05, 5e9
_STATES = {
    "running": ("good", "●"),
    "starting": ("plain", "…"),
    "waiting": ("plain", "…"),
    "paused": ("warn", "▲"),
    "stopping": ("plain", "○"),
    "stalled": ("bad", "■"),
    "failed": ("bad", "✕"),
}
_LEVELS = {"info": ("plain", "●"), "warning": ("warn", "▲")}
_LATENCY = "latency."
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
    "missing": "files that vanished",
    "failed": "failed frames",
    "duplicates": "duplicates refused",
    "dropped": "messages dropped",
}


class HealthBoard:
    """Follows the counters of a run for one viewer and writes the tables."""

    def __init__(self, run: RunState) -> None:
        self._run = run
        self._counts: dict[tuple[str, str], deque[tuple[float, float]]] = {}
        self._stages: deque[list[float]] = deque(maxlen=_SHOTS)
        self._shot = 0

    def sample(self, now: float) -> None:
        """Take in what the services say now; once a second or so."""
        for instance, status in self._run.statuses.items():
            for name, value in status.counters.items():
                if (status.service, name) in _RATES:
                    series = self._counts.setdefault((instance, name), deque())
                    if series and value < series[-1][1]:
                        series.clear()  # it was started again
                    series.append((now, value))
                    while now - series[0][0] > _WINDOW_S:
                        series.popleft()
        shot = self._run.shot
        if shot is not None and shot.number != self._shot:
            self._shot = shot.number
            self._stages.append([seconds for _, seconds in stages(shot.live)])

    def tables(self, machine: Machine | None) -> list[Table]:
        """Everything that the page shows."""
        parts = [
            services_table(self._run.statuses, self._run.silence),
            {"title": "Rates", "right": [1], "rows": self._rates(), "empty": "nothing heard yet"},
            machine_table(machine),
            self._latency(),
            {"title": "Queues", "right": [1], "rows": self._queues(), "empty": "nothing heard yet"},
            percentile_table(self._run.statuses),
            alerts_table(self._run.alerts),
        ]
        lines = list(machine.log) if machine else []
        parts.append(
            {
                "title": "Log",
                "lines": lines,
                "empty": "no log yet; `pychip-stream run` writes it beside the archive",
            }
        )
        return parts

    def _rates(self) -> list[list[str]]:
        totals: dict[str, float] = {}
        statuses = self._run.statuses
        for (instance, name), series in self._counts.items():
            (t0, v0), (t1, v1) = series[0], series[-1]
            label = _RATES[(statuses[instance].service, name)]
            totals.setdefault(label, 0.0)
            if t1 > t0:
                totals[label] += (v1 - v0) / (t1 - t0)
        rows = [[label, f"{rate:.2f}/s"] for label, rate in totals.items()]
        chips = sum(s.counters.get("chips_per_s", 0.0) for s in statuses.values())
        if chips:
            rows.append(["chips classified while busy", f"{chips:,.0f}/s"])
        return rows

    def _queues(self) -> list[list[str]]:
        totals: dict[str, float] = {}
        for status in self._run.statuses.values():
            for name, value in status.counters.items():
                if name in _QUEUES:
                    totals[name] = totals.get(name, 0.0) + value
        return [[label, f"{totals[name]:.0f}"] for name, label in _QUEUES.items() if name in totals]

    def _latency(self) -> Table:
        rows = []
        shot = self._run.shot
        if self._stages and shot is not None:
            values = np.array(self._stages)
            names = [name for name, _ in stages(shot.live)]
            middle, late = np.percentile(values, (50, 95), axis=0)
            rows = [
                [name, _span(new), _span(mid), _span(high)]
                for name, new, mid, high in zip(names, values[-1], middle, late, strict=True)
            ]
        return {
            "title": "Latency",
            "note": f"of the last {len(rows and self._stages)} frames shown" if rows else "",
            "head": ["stage", "newest", "median", "95 %"],
            "right": [1, 2, 3],
            "rows": rows,
            "empty": "no frame yet",
        }


def stages(live: Live) -> list[tuple[str, float]]:
    """Seconds that a frame spent in each stage; clocks of other machines may be off."""
    moments = [
        live.frame.mtime_ns / 1e9, live.frame.seen, live.read, live.classified, live.received,
    ]  # fmt: skip
    names = ("written to seen", "to read", "to classified", "to archiver")
    spans = [max(end - start, 0.0) if start and end else 0.0 for start, end in pairwise(moments)]
    return [*zip(names, spans, strict=True), ("in all", sum(spans))]


def services_table(statuses: Mapping[str, Status], silence: Mapping[str, float]) -> Table:
    """Tell of every service instance in a row."""
    rows: list[list[Any]] = []
    for instance, status in sorted(statuses.items()):
        quiet = silence.get(instance, 0.0)
        state = _badge(*_STATES.get(status.state, ("plain", "?")), status.state)
        if quiet > SILENT_S:
            state = _badge("bad", "✕", "silent")
        numbers = " · ".join(
            f"{n} {_number(v)}" for n, v in status.counters.items() if not n.startswith(_LATENCY)
        )
        heard = f"{quiet:.0f} s ago" if quiet >= 1 else "now"
        rows.append([instance, state, heard, status.detail, numbers])
    return {
        "title": "Services",
        "head": ["service", "state", "heard", "what it says", "counters"],
        "rows": rows,
        "empty": "no service has been heard yet",
        "wide": True,
    }


def percentile_table(statuses: Mapping[str, Status]) -> Table:
    """Delays that the services measured themselves, over all frames."""
    found: dict[str, dict[str, float]] = {}
    for status in statuses.values():
        for name, value in status.counters.items():
            if name.startswith(_LATENCY):
                stage, _, share = name.removeprefix(_LATENCY).rpartition(".")
                found.setdefault(stage, {})[share] = value
    shares = ("p50", "p95", "p99")
    return {
        "title": "Delays, all frames",
        "head": ["from the file to", "median", "95 %", "99 %"],
        "right": [1, 2, 3],
        "rows": [
            [stage, *(_span(values[s]) if s in values else "–" for s in shares)]
            for stage, values in found.items()
        ],
        "empty": "nothing heard yet",
    }


def machine_table(machine: Machine | None) -> Table:
    """Disk, processor, memory and GPU of the machine that the dashboard runs on."""
    rows: list[list[Any]] = []
    if machine is not None:
        rows.append(["disk of the archive", _disk(machine)])
        rows.append(["archive folder", size(machine.archive_bytes)])
        rows.append(["processor", f"{machine.cpu_percent:.0f} % busy"])
        rows.append(["memory", f"{machine.memory_percent:.0f} % used"])
        rows += [
            [f"GPU {n}", f"{g.name}: {g.busy_percent} % busy, {g.memory_used} of "
             f"{g.memory_total} MiB, {g.temperature} °C"]
            for n, g in enumerate(machine.gpus)
        ]  # fmt: skip
        if not machine.gpus:
            rows.append(["GPU", "none found"])
    return {"title": "This machine", "rows": rows, "empty": "is being looked at"}


def alerts_table(alerts: list[Alert]) -> Table:
    """Alerts of this run, the newest first."""
    rows = []
    for alert in reversed(alerts):
        level = _badge(*_LEVELS.get(alert.level, ("bad", "✕")), alert.level)
        ended = "still holds" if alert.ended is None else f"until {_clock(alert.ended)}"
        rows.append([_clock(alert.time), level, alert.text, ended])
    return {
        "title": "Alerts",
        "head": ["when", "level", "what", "until"],
        "rows": rows,
        "empty": "none since this page's server started",
        "wide": True,
    }


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


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment).strftime("%H:%M:%S")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.3g}"


def _span(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
