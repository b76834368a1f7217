"""Live page: the newest frame, how fresh it is, and the fractions over time."""

import math
from typing import Any, ClassVar

import panel as pn
import panel_material_ui as pmui
from panel.io import unlocked

from pychip_stream.archive.exclusions import BLANK, Exclusion
from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.archive.marks import mark
from pychip_stream.domain.clock import told
from pychip_stream.domain.support import UNKNOWN, current_user
from pychip_stream.operation.latency import stretches
from pychip_stream.wire.messages import Live

from ..accounts import Viewer
from ..page import Desk, View
from ..parts.clock_panel import ClockPanel
from ..parts.components import StatusStrip
from ..parts.corrections import Corrections
from ..parts.curve_plot import Axes, CurvePlot
from ..parts.events_panel import mark_field
from ..parts.frame_view import FrameView
from ..parts.layouts import FULL_HEIGHT, SMALL_BUTTONS, grown, side_by_side, small_button
from ..parts.leaving_out import LeavingOut, blank_words
from ..parts.thresholds import Thresholds
from ..work.background import Background
from ..work.frame_pictures import FramePicture, Key
from ..work.links import NOTHING, Link
from ..work.recent import Every
from ..work.state import Alarm, Shot
from ..work.words import LIGHTS, STAGE_WORDS, clock, count, duration

_SIMULATION = (
    "A simulated specimen; dashed lines are the truth. Try: Examples, click other chips, Publish."
)
_SIMULATION_OVER = (
    "The simulated specimen is at its end; look back at it in Review, or start the demo again."
)
_AGAINST = 'The lower curve is {0}; choose {0} at "along x" to draw the fractions against it.'
WINDOWS: dict[str, float | None] = {"2 min": 2, "10 min": 10, "1 h": 60, "whole run": None}
_CURVE_S = 0.5
_STRIP_S = 0.25
_CONTROL_MARGIN = (8, 0, 2, 0)
"""Room above for the names of fields, which stand on their upper edge."""
_LINES = 3
"""Of one kind above the badge; more would leave no room for the curve."""
_AWAY_S = 2.0
"""A page that was not looked after for so long had been left, and knows not when frames came."""


class LivePage(View):
    """The operator's first page."""

    name: ClassVar = "live"
    title: ClassVar = "Live"
    place: ClassVar = 0

    def __init__(self, desk: Desk, viewer: Viewer) -> None:
        self._desk, self._viewer, self._operator = desk, viewer, viewer.operator
        self._user = viewer.user or current_user()
        self._shot: Shot | None = None
        self._painted = self._skipped = 0
        self._pulled = float("-inf")
        self._steps: list[list[Any]] = []
        self._picks = 0
        self._pinned = self._whole = False
        asked = desk.asked if desk.asked.page == self.name else NOTHING
        self._asked, self._looked_at = asked.frame, asked.window
        self._note = ""
        self._trouble = ""
        self._curve_time, self._strip_time = Every(_CURVE_S), Every(_STRIP_S)
        self._curve_of: tuple[object, ...] = ()
        self._background = Background(self._on_trouble, shared=desk.bench.frames)
        self._frame = FrameView(
            self._background, desk.bench.crop, lambda m: self._correct.take(m), desk.bench.repaint
        )
        self._correct = Corrections(viewer, desk.drafts, desk.run, self._frame, self._hold)
        self._leaving = LeavingOut(viewer, self._leave_out)
        self._mark = mark_field(viewer, self._mark_frame, self._open_mark, width=150)
        self._mark_moment: float | None = None
        self._left_out: Exclusion | None = None
        self._frame.blank(f"watching {desk.config.watch.root}: no frame is there yet")
        if desk.run.shot is not None:
            # The canvas shows it as soon as it is there, long before all of the page is.
            self._show(desk.run.shot)
            self._painted = desk.run.shot.number  # it came before anybody looked
        self._place = pn.Column(sizing_mode="stretch_width", styles={"height": FULL_HEIGHT})

    def panel(self) -> Any:
        """Lay the page out: frame left, numbers right, under each other where it is narrow."""
        return side_by_side(self._frame.canvas, self._place)

    def _furnish(self) -> None:
        """Make what stands beside the frame, for which the first picture has not waited."""
        desk, viewer = self._desk, self._viewer
        self._strip = StatusStrip(self._on_strip, sizing_mode="stretch_width")
        self._plot = CurvePlot(self._on_pick)
        if self._looked_at is not None:
            self._plot.look_at(*self._looked_at)
        self._thresholds = Thresholds(self._plot.figure, desk.rules, self._background, viewer)
        self._curve = pn.pane.Bokeh(
            self._plot.layout, sizing_mode="stretch_both", min_height=240, margin=0
        )
        self._span = "whole run"
        self._window = pmui.CheckButtonGroup(  # one at a time, but it can be pressed again
            options=list(WINDOWS), value=[self._span], label="", size="small", sx=SMALL_BUTTONS
        )
        self._window.param.watch(lambda event: self._on_window(event.new), "value")
        self._axes = Axes(lambda: None, desk.config.dashboard.below)
        self._bands = pmui.Checkbox(label="intervals", value=True)
        self._bands.param.watch(lambda event: self._plot.show_bands(event.new), "value")
        self._clocks = ClockPanel(self._background, viewer, self._draw_anew)
        self._clocks.about(desk.past)
        self._line_up = pmui.Checkbox(label="clocks", value=False)
        self._line_up.param.watch(lambda event: self._clocks.show(event.new), "value")
        self._back = small_button("Back to live", self._go_live, color="warning", visible=False)
        self._publish = small_button(
            "Judge and publish on Examples", lambda: desk.go("examples"),
            variant="contained", visible=False,
        )  # fmt: skip
        self._choose = small_button(
            "Choose examples on this frame", lambda: desk.go("examples"),
            variant="contained", visible=False, margin=(4, 0),
        )  # fmt: skip
        controls = [
            self._window, *self._axes.widgets, self._bands, self._line_up, self._back,
            self._leaving.button, self._correct.button, self._mark, self._publish,
        ]  # fmt: skip
        for one in controls:
            one.margin = _CONTROL_MARGIN
        for select in self._axes.widgets:
            select.width = 120
        self._plot.legend.sizing_mode = None  # as wide as its names: limits stand beside it
        names = pn.Row(
            self._plot.legend,
            self._thresholds.widget,
            sizing_mode="stretch_width",
            margin=0,
            styles={"flex-wrap": "wrap", "gap": "0 16px", "align-items": "center"},
        )
        self._of_curve = [
            self._window, *self._axes.widgets, self._bands, self._line_up, names, self._curve
        ]  # fmt: skip
        self._show_curve(False)
        right = [
            self._strip,
            self._choose,
            pn.Row(
                *controls,
                styles={"gap": "0 8px", "flex-wrap": "wrap", "align-items": "center"},
                margin=0,
            ),
            self._clocks.widget,
            names,
            self._curve,
        ]
        self._place.objects = [grown(part) for part in right]

    def pull(self, now: float) -> None:
        """Send the newest shot, unless one is on its way; then curves and status."""
        away, self._pulled = now - self._pulled > _AWAY_S, now
        if not self._place.objects and self._frame.free(now):
            self._furnish()
            self._pulled = math.inf  # that takes a while, which is no absence
            return
        shot, sent = self._desk.run.shot, self._shot
        newer = shot is not None and (sent is None or shot.number != sent.number)
        if shot is not None and newer and not self._pinned and self._frame.free(now):
            if sent is not None:
                self._skipped += max(shot.number - sent.number - 1, 0) + shot.skipped
            self._show(shot)
            if away:
                self._painted = shot.number
                self._steps = []
        self._mark_anew()
        self._note_painted()
        self._correct.pull()
        if self._whole:
            self._pull_right(now)

    def _pull_right(self, now: float) -> None:
        if self._asked is not None and self._desk.run.course.number_of(self._asked) is not None:
            self._show_key(self._asked)
            self._asked = None
        self._clocks.pull(now)
        if self._curve_time.due(now):
            self._update_curves()
        self._back.visible = self._pinned or self._plot.zoomed
        self._publish.visible = self._correct.on
        if self._strip_time.due(now):
            self._thresholds.show(self._desk.run.colors, self._desk.run.health.fractions)
            self._strip.send(**self._status())

    def link(self) -> Link:
        """Say what is shown; the newest frame has no place of its own."""
        picture = self._frame.picture if self._pinned else None
        window = self._plot.window if self._place.objects else self._looked_at
        return Link(self.name, frame=picture.key if picture else None, window=window)

    def close(self) -> None:
        """Leave nothing behind; the session is over."""
        self._background.close()

    def _show(self, shot: Shot) -> None:
        self._shot = shot
        self._present(shot.picture)

    def _present(self, picture: FramePicture, note: str = "") -> None:
        """Show a frame with what is known of it."""
        run = self._desk.run
        self._left_out = run.course.left_out.get(picture.key)
        self._note = note
        words = self._leaving.about(self._left_out)
        self._frame.show(
            picture,
            note=note + words,
            truth=run.course.truth_of(picture.key),
            warning=blank_words(self._left_out),
            colors=run.colors,
        )

    def _mark_anew(self) -> None:
        """Say that somebody has left the shown frame out, or taken it back."""
        picture = self._frame.picture
        left_out = self._desk.run.course.left_out
        if picture is not None and left_out.get(picture.key) != self._left_out:
            self._present(picture, self._note)

    def _leave_out(self, undo: bool) -> None:
        """Leave the frame that is on the screen out, or take it back; it stays there."""
        picture = self._frame.painted[0] if self._frame.painted else self._frame.picture
        if picture is None:
            return
        past, user, key = self._desk.past, self._user, picture.key
        self._picks += 1
        pick = self._picks

        def work() -> FramePicture:
            past.leave_out(key, user, undo=undo)
            return past.picture(key)

        self._background.do(work, lambda found: self._show_past(found, pick))

    def _mark_frame(self, text: str) -> None:
        """Mark the moment at which the field was opened."""
        if self._mark_moment is None:
            self._open_mark()
        moment, self._mark_moment = self._mark_moment, None
        if moment is not None:
            past, user = self._desk.past, self._user
            self._background.do(
                lambda: past.edit(lambda run: mark(run, moment, text, who=user)),
                lambda _done: None,
            )

    def _open_mark(self) -> None:
        """Note the moment of the frame on the screen; frames go on while somebody writes."""
        picture = self._frame.painted[0] if self._frame.painted else self._frame.picture
        self._mark_moment = picture.time if picture is not None else None

    def _note_painted(self) -> None:
        painted, shot = self._frame.painted, self._shot
        if painted is None or shot is None or painted[0] is not shot.picture:
            return
        if shot.number == self._painted or shot.live is None:
            return
        self._desk.run.painted(shot, painted[1])
        self._painted = shot.number
        self._steps = latency_steps(shot.live, painted[1])

    def _on_pick(self, moment: float) -> None:
        """Show the frame of a time that was clicked on the curve."""
        key = self._desk.run.course.nearest(moment)
        if key is not None:
            self._show_key(key)

    def _show_key(self, key: Key) -> None:
        """Show a frame of the run, and stay there."""
        self._picks += 1
        past, pick = self._desk.past, self._picks
        self._background.do(lambda: past.picture(key), lambda found: self._show_past(found, pick))

    def _show_past(self, picture: FramePicture, pick: int) -> None:
        """Show a past frame, unless something else has been asked for since."""
        if pick != self._picks:
            return
        self._trouble = ""
        self._pinned = True
        self._present(picture, f"of {clock(picture.time)}: ")
        self._plot.point_at(picture.time)

    def _on_trouble(self, text: str) -> None:
        self._trouble = text

    def _on_strip(self, _message: dict[str, Any]) -> None:
        """Bring what stands beside the frame up to date from now on; be ready for examples.

        What is drawn before the browser has it would overtake the plot that it is for.
        """
        self._whole = True
        if self._operator:
            self._desk.bench.warm_up()

    def _hold(self) -> None:
        """Stay at the frame that is shown."""
        if not self._pinned and self._frame.picture is not None:
            self._picks += 1
            self._pinned = True
            self._plot.point_at(self._frame.picture.time)

    def _go_live(self) -> None:
        self._picks += 1
        self._pinned = False
        self._correct.stop()
        self._plot.point_at(None)
        if self._plot.zoomed:
            self._plot.follow()
        if self._desk.run.shot is not None:
            self._show(self._desk.run.shot)

    def _on_window(self, pressed: list[str]) -> None:
        """Show the one that was pressed, whole; what was zoomed to is left."""
        if pressed == [self._span]:
            return
        others = [name for name in WINDOWS if name != self._span]
        self._span = next((name for name in pressed if name in others), self._span)
        self._window.value = [self._span]
        self._plot.follow()

    def _show_curve(self, there: bool) -> None:
        """Show the curve and what is about it, or nothing of these before there is one."""
        with unlocked():
            for one in self._of_curve:
                one.visible = there

    def _draw_anew(self) -> None:
        self._curve_of = ()
        self._curve_time.hurry()

    def _update_curves(self) -> None:
        run, minutes = self._desk.run, WINDOWS[self._span]
        course = run.course
        below, along = self._axes.below, self._axes.along
        asked = (course.changes, minutes, below, along)
        if asked == self._curve_of:
            return
        self._curve_of = asked
        measured, beside, quantities = course.curves(minutes)
        quantities = self._clocks.shifted(quantities)
        self._show_curve(len(measured) > 0)
        marks = [(one.time, self._desk.bench.sets.called(one.version)) for one in course.marks[1:]]
        marks += self._clocks.moments(course.events)
        self._plot.update(measured, beside, run.colors, marks, course.beside)
        classes = [name for name in measured.columns if name != UNKNOWN]
        self._axes.offer(classes, quantities.columns)
        self._plot.add_quantities(measured, quantities, below=below, along=along)

    def _status(self) -> dict[str, Any]:
        run, health, support = self._desk.run, self._desk.run.health, self._desk.run.support
        course, state, config = run.course, health.liveness(), self._desk.config
        self._choose.visible = health.unsupported and self._operator and self._shot is not None
        facts = [
            ("run", config.archive.name),
            ("folder", str(config.watch.root)),
            ("frames", f"{health.counter('archived'):.0f} archived, {health.waiting} waiting"),
            ("arriving", f"{health.arriving:.1f}/s"),
        ]
        if self._skipped:
            facts.append(("not painted here", str(self._skipped)))
        if failed := health.counter("failed"):
            facts.append(("failed", f"{failed:.0f}"))
        if course.left_out:
            blank = sum(one.who == BLANK for one in course.left_out.values())
            out = count(len(course.left_out), "frame") + f", {blank} of them blank" * bool(blank)
            facts.append(("left out", out))
        if support is not None:
            names = f" ({', '.join(support.names)})" * bool(support.note)
            facts.append(("support set", support.called + names))
        if course.scoring != ACQUIRED:
            facts.append(("curve", f"labelled again under {course.scoring_name}"))
        rules = {alert.rule for alert in run.alerts}
        alarms = run.alarms()
        alerts = [_words(alarm) for alarm in alarms if alarm.name in rules]
        troubles = [_words(alarm) for alarm in alarms if alarm.name not in rules]
        alerts += _first(troubles, "; Health has them all")
        alerts += [["info", line] for line in (self._trouble, self._correct.words) if line]
        alerts += [["warning", line] for line in health.notices]
        strays = [["info", told(key[0], *times)] for key, times in course.displaced.items()]
        alerts += _first(strays, " frames")
        if course.simulated:
            alerts.append(["info", _SIMULATION_OVER if state.light == "idle" else _SIMULATION])
            if self._axes.below is not None and self._axes.along is None:
                alerts.append(["info", _AGAINST.format(self._axes.below)])
        return {
            "light": "idle" if self._pinned else state.light,
            "symbol": "◀" if self._pinned else LIGHTS[state.light],
            "text": "a past frame" if self._pinned else state.text,
            "detail": f"the run: {state.text}" if self._pinned else state.detail,
            "facts": facts,
            "steps": [] if self._pinned else self._steps,
            "alerts": alerts,
        }


def _words(alarm: Alarm) -> list[str]:
    known = f" (acknowledged by {alarm.acknowledged})" * bool(alarm.acknowledged)
    return [alarm.level, f"{alarm.name}: {alarm.text}{known}"]


def _first(lines: list[list[str]], rest: str) -> list[list[str]]:
    """Return the first lines, and how many more there are."""
    more = len(lines) - _LINES
    return [*lines[:_LINES], ["info", f"and {more} more{rest}"]] if more > 0 else lines


def latency_steps(live: Live, shown: float) -> list[list[Any]]:
    """Where the time went between the file's last write and the viewer's screen.

    Returns
    -------
    (name, text, share of the whole) of each step.
    """
    later = {"started": live.started, "received": live.received, "shown": shown}
    spans = stretches(live.frame, live.read, live.classified, **later)
    whole = spans.get("total") or 1.0
    shares = {stage: span / whole for stage, span in spans.items()} | {"total": 0.25}
    return [[STAGE_WORDS.get(s, s), duration(span), shares[s]] for s, span in spans.items()]
