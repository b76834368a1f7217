"""Live view: the newest frame, how fresh it is, and the fractions over time."""

import time
from datetime import datetime
from typing import Any

import panel as pn
import panel_material_ui as pmui

from ..page import FULL_HEIGHT, SMALL_BUTTONS, Desk, Viewer, side_by_side
from ..parts.components import StatusStrip
from ..parts.curve_plot import CurvePlot
from ..work.background import Later
from ..work.frame_pictures import FrameView
from ..work.state import Shot

WINDOWS: dict[str, float | None] = {"2 min": 2, "10 min": 10, "1 h": 60, "whole run": None}
_CURVE_S = 0.5
_STRIP_S = 0.25
_SYMBOLS = {
    "live": "●", "behind": "▲", "stalled": "■", "idle": "○", "waiting": "…", "lost": "✕",
}  # fmt: skip


class LiveView:
    """The operator's first page."""

    title = "Live"

    def __init__(self, desk: Desk, viewer: Viewer) -> None:
        self._desk = desk
        self._viewer = viewer
        self._sent = self._painted = 0
        self._skipped = 0
        self._later = Later(self._on_trouble, shared=desk.studio.frames)
        self._picks = 0
        self._pinned = False
        self._trouble = ""
        self._curve_at = 0.0
        self._curve_of: tuple[int, float | None] = (-1, None)
        self._strip_at = 0.0
        self._frame = FrameView(desk.studio, lambda shot: desk.run.truth_of(shot.live.frame))
        self._strip = StatusStrip(lambda _message: None, sizing_mode="stretch_width")
        self._plot = CurvePlot(self._on_pick)
        self._curve = pn.pane.Bokeh(
            self._plot.figure, visible=False, sizing_mode="stretch_both", min_height=240, margin=0
        )
        small: dict[str, Any] = {"size": "small", "sx": SMALL_BUTTONS, "margin": (4, 0)}
        self._window = pmui.RadioButtonGroup(
            options=list(WINDOWS), value="whole run", label="", **small
        )
        self._back = pmui.Button(label="Back to live", color="warning", visible=False, **small)
        self._back.on_click(lambda _event: self._go_live())

    def panel(self) -> Any:
        """Lay the page out: frame left, numbers right, under each other where it is narrow."""
        right = pn.Column(
            self._strip,
            pn.Row(self._window, self._back, styles={"gap": "12px"}),
            self._curve,
            sizing_mode="stretch_width",
            styles={"height": FULL_HEIGHT},
        )
        return side_by_side(self._frame.canvas, right)

    def pull(self, now: float) -> None:
        """Send the newest shot, unless one is on its way; then curves and status."""
        shot = self._desk.run.shot
        newer = shot is not None and shot.number != self._sent
        if shot is not None and newer and not self._pinned and self._frame.free(now):
            if self._sent:
                self._skipped += shot.number - self._sent - 1 + shot.skipped
            self._sent = shot.number
            self._frame.show(shot, now)
        painted = self._frame.painted
        if painted is not None and painted[0].number > self._painted and not self._pinned:
            if self._painted:  # the first one had been waiting for this page, not the reverse
                self._desk.run.painted(*painted)
            self._painted = painted[0].number
        if now - self._curve_at > _CURVE_S:
            self._curve_at = now
            self._update_curves()
        if now - self._strip_at > _STRIP_S:
            self._strip_at = now
            self._strip.send(**self._status())

    def close(self) -> None:
        """Leave nothing behind; the session is over."""
        self._later.close()
        self._frame.close()

    def _on_pick(self, moment: float) -> None:
        """Show the frame of a time that was clicked on the curve."""
        key = self._desk.run.nearest(moment)
        if key is None:
            return
        self._picks += 1
        past, pick = self._desk.past, self._picks
        self._later.do(lambda: past.shot(key), lambda shot: self._show_past(shot, pick))

    def _show_past(self, shot: Shot, pick: int) -> None:
        """Show a past frame, unless something else has been asked for since."""
        if pick != self._picks:
            return
        self._trouble = ""
        self._pinned = self._back.visible = True
        clock = datetime.fromtimestamp(shot.live.frame.time).strftime("%H:%M:%S")
        self._frame.show(shot, time.monotonic(), note=f"of {clock}: ")
        self._plot.point_at(shot.live.frame.time)

    def _on_trouble(self, text: str) -> None:
        self._trouble = text

    def _go_live(self) -> None:
        self._picks += 1
        self._pinned = self._back.visible = False
        self._plot.point_at(None)
        self._sent = 0

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
        if self._trouble:
            alerts.append(["info", self._trouble])
        alerts += [["warning", line] for line in run.troubles()]
        return {
            "light": "idle" if self._pinned else state.light,
            "symbol": "◀" if self._pinned else _SYMBOLS[state.light],
            "text": "a past frame" if self._pinned else state.text,
            "detail": f"the run: {state.text}" if self._pinned else state.detail,
            "facts": facts,
            "steps": latency_steps(*self._frame.painted)
            if self._frame.painted and not self._pinned
            else [],
            "alerts": alerts,
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
