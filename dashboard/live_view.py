"""Live view: the newest frame, how fresh it is, and the fractions over time."""

import time
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pychip_stream.domain.support import UNKNOWN, UNKNOWN_COLOR

from .components import ChipCanvas, StatusStrip
from .curve_plot import CurvePlot
from .layout import FULL_HEIGHT, side_by_side
from .state import Shot
from .viewer import Desk, Viewer

WINDOWS: dict[str, float | None] = {"2 min": 2, "10 min": 10, "1 h": 60, "whole run": None}
_CURVE_S = 0.5
_STRIP_S = 0.25
_LOST_ACK_S = 3.0
_SYMBOLS = {
    "live": "●", "behind": "▲", "stalled": "■", "idle": "○", "waiting": "…", "lost": "✕",
}  # fmt: skip


class LiveView:
    """The operator's first page."""

    title = "Live"

    def __init__(self, desk: Desk, viewer: Viewer) -> None:
        self._desk = desk
        self._viewer = viewer
        self._sent = 0
        self._sent_at = 0.0
        self._in_flight = False
        self._skipped = 0
        self._shown: tuple[Shot, float] | None = None
        self._curve_at = 0.0
        self._curve_of: tuple[int, float | None] = (-1, None)
        self._strip_at = 0.0
        self._canvas = ChipCanvas(self._on_canvas, sizing_mode="stretch_width")
        self._strip = StatusStrip(lambda _message: None, sizing_mode="stretch_width")
        self._plot = CurvePlot(self._on_pick)
        self._curve = pn.pane.Bokeh(
            self._plot.figure,
            visible=False,
            sizing_mode="stretch_both",
            min_height=240,
            margin=0,
        )
        self._window = pmui.RadioButtonGroup(
            options=list(WINDOWS),
            value="whole run",
            size="small",
            label="",
            margin=(4, 0),
            sx={
                "& button": {"padding": "2px 12px", "textTransform": "none", "whiteSpace": "nowrap"}
            },
        )

    def panel(self) -> Any:
        """Lay the page out: frame left, numbers right, under each other where it is narrow."""
        right = pn.Column(
            self._strip,
            self._window,
            self._curve,
            sizing_mode="stretch_width",
            styles={"height": FULL_HEIGHT},
        )
        return side_by_side(self._canvas, right)

    def pull(self, now: float) -> None:
        """Send the newest shot, unless one is on its way; then curves and status."""
        shot = self._desk.run.shot
        lost = self._in_flight and now - self._sent_at > _LOST_ACK_S
        if shot is not None and shot.number != self._sent and (not self._in_flight or lost):
            self._send(shot, now)
        if now - self._curve_at > _CURVE_S:
            self._curve_at = now
            self._update_curves()
        if now - self._strip_at > _STRIP_S:
            self._strip_at = now
            self._strip.send(**self._status())

    def close(self) -> None:
        """Nothing outlives the session."""

    def _send(self, shot: Shot, now: float) -> None:
        if self._sent:
            self._skipped += shot.number - self._sent - 1 + shot.skipped
        self._sent, self._sent_at, self._in_flight = shot.number, now, True
        self._canvas.send(**frame_message(shot, self._desk.run.truth_of(shot.live.frame)))

    def _on_canvas(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self._sent, self._in_flight = 0, False
        elif kind == "painted" and message.get("seq") == self._sent:
            self._in_flight = False
            shot = self._desk.run.shot
            if shot is not None and shot.number == self._sent:
                self._shown = (shot, time.time())

    def _on_pick(self, moment: float) -> None:
        """Follow a click on the curve."""

    def _update_curves(self) -> None:
        run, minutes = self._desk.run, WINDOWS[self._window.value]
        if self._curve_of == (run.changes, minutes):
            return
        self._curve_of = (run.changes, minutes)
        measured, true = run.curves(minutes)
        marks = [(mark.time, mark.version) for mark in run.marks[1:]]
        self._curve.visible = len(measured) > 0
        self._plot.update(measured, true, run.colors, marks)

    def _status(self) -> dict[str, Any]:
        run = self._desk.run
        state = run.liveness()
        support = run.support
        watcher = run.statuses.get("watcher")
        counters = watcher.counters if watcher else {}
        facts = [
            ("frames", f"{counters.get('archived', 0):.0f} archived, {run.behind} behind"),
            ("arriving", f"{run.rate:.1f}/s"),
            ("skipped here", str(self._skipped)),
        ]
        if counters.get("failed"):
            facts.append(("failed", f"{counters['failed']:.0f}"))
        if support is not None:
            facts.append(("support set", f"{support.version[:8]} ({', '.join(support.names)})"))
        alerts = [[a.level, a.text] for a in run.alerts if a.ended is None]
        alerts += [["warning", line] for line in run.troubles()]
        return {
            "light": state.light,
            "symbol": _SYMBOLS[state.light],
            "text": state.text,
            "detail": state.detail,
            "facts": facts,
            "steps": latency_steps(*self._shown) if self._shown else [],
            "alerts": alerts,
        }


def frame_message(shot: Shot, truth: dict[str, float]) -> dict[str, Any]:
    """Turn a shot into what the canvas wants."""
    live = shot.live
    names = (*live.names, UNKNOWN)
    colors = (*live.colors, UNKNOWN_COLOR)
    bars = [
        {
            "name": n,
            "color": c,
            "value": float(v),
            "low": float(lo),
            "high": float(hi),
            "truth": truth.get(n),
        }
        for n, c, (v, lo, hi) in zip(names, colors, shot.intervals, strict=True)
    ]
    words = ", ".join(f"{b['name']} {b['value']:.0%}" for b in bars)
    return {
        "type": "frame",
        "seq": shot.number,
        "jpeg": shot.jpeg,
        "shape": list(live.shape),
        "chip": list(live.chip_size),
        "grid": list(shot.label_map.shape),
        "labels": shot.label_map.tobytes(),
        "palette": [{"name": n, "color": c} for n, c in zip(names, colors, strict=True)],
        "pixel_size": live.pixel_size,
        "unit": live.unit,
        "bars": bars,
        "caption": live.frame.path + (f" #{live.frame.index}" if live.frame.index else ""),
        "alt": f"newest frame {live.frame.path}: {words}",
    }


def latency_steps(shot: Shot, shown: float) -> list[list[Any]]:
    """Where the time went between the file's last write and the viewer's screen.

    Returns
    -------
    (name, text, share of the whole) of each step; differences of clocks on other machines can
    be off, so nothing is shown below zero.
    """
    live = shot.live
    moments = [
        ("seen", live.frame.mtime_ns / 1e9, live.frame.seen),
        ("read", live.frame.seen, live.read),
        ("classified", live.read, live.classified),
        ("archiver", live.classified, live.received),
        ("shown", live.received, shown),
    ]
    spans = [(name, max(end - start, 0.0)) for name, start, end in moments if start and end]
    total = sum(span for _, span in spans) or 1.0
    steps = [[name, _duration(span), span / total] for name, span in spans]
    return [*steps, ["in all", _duration(total), 0.25]]


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
