"""Run view: one opened run, its frames and its curve."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.events import RangesUpdate, Reset

from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.export.kinds import ExportSource

from ..page import side_by_side
from ..parts.components import ChipCanvas, Scrubber
from ..parts.curve_plot import CurvePlot
from ..work.background import Later
from ..work.history import Curves
from ..work.opened_run import POINTS, Replay, Still
from ..work.runs import pixel_reader
from .examples_page import Questions
from .review_tables import moment, same_frame, scoring_label

_REFRESH_S = 2.0
_CANVAS_HEIGHT = "max(calc(100vh - 250px), 440px)"


class RunView:
    """An opened run for one viewer; reading happens on threads, drawing in the session.

    Parameters
    ----------
    path, root
        Of the run, and the acquisition folder where it does not know its own.
    others
        Name and path of the runs that it can be compared with.
    leave
        Called when the viewer goes back to the list.
    """

    def __init__(
        self, path: Path, root: Path, others: dict[str, Path], leave: Callable[[], None]
    ) -> None:
        self._path = path
        self._root = root
        self._others = others
        self._later = Later(self._on_trouble)
        self._replay: Replay | None = None
        self._still: Still | None = None
        self._sequence = 0
        self._end = 0
        self._refresh_at = 0.0
        self._refreshing = False
        self._canvas = ChipCanvas(self._on_canvas, sizing_mode="stretch_width")
        self._scrubber = Scrubber(self._on_scrub, sizing_mode="stretch_width")
        self._plot: CurvePlot | None = None
        self._curve = pn.Column(sizing_mode="stretch_width", min_height=300, margin=0)
        self._questions = Questions(
            self._later, list(others), self._reopen, self._source, self._on_compared
        )
        self._title = pn.pane.HTML(f"{html.escape(path.stem)} is opened…", margin=(8, 0))
        self._back = pmui.Button(
            label="← all runs", variant="outlined", size="small", on_click=lambda _event: leave()
        )
        self._scoring = pmui.Select(
            label="scoring",
            options={scoring_label(ACQUIRED): ACQUIRED},
            value=ACQUIRED,
            size="small",
            width=190,
        )
        self._scoring.param.watch(lambda event: self._load(event.new), "value")
        head = pn.Row(self._back, self._title, self._scoring, margin=(4, 16))
        head.styles = {"gap": "14px", "align-items": "center"}
        self._place = pn.Column(head, sizing_mode="stretch_width")
        self._load(None)

    def panel(self) -> Any:
        """Show the head at once, the rest as one piece when the run has been read."""
        return self._place

    def _body(self) -> Any:
        """Lay the run out: frame and scrubber left, curve and questions right."""
        left = pn.Column(self._canvas, self._scrubber, sizing_mode="stretch_width")
        left.styles = {"--canvas-height": _CANVAS_HEIGHT}
        right = pn.Column(self._curve, self._questions.panel(), sizing_mode="stretch_width")
        return side_by_side(left, right)

    def pull(self, now: float) -> None:
        """Follow a live run, and downloads."""
        self._questions.downloads.pull(now)
        replay = self._replay
        if replay is None or not replay.run.live or self._refreshing:
            return
        if now - self._refresh_at > _REFRESH_S:
            self._refresh_at, self._refreshing = now, True
            self._later.do(replay.refresh, self._refreshed)

    def close(self) -> None:
        """Let go of the run."""
        self._questions.close()
        self._later.close()
        self._replay = self._still = None

    # -- opening

    def _load(self, scoring: str | None) -> None:
        known = self._replay
        if known is None or scoring != known.run.scoring:
            self._later.do(lambda: Replay(self._path, self._root, scoring), self._loaded)

    def _reopen(self, kind: str, name: str) -> Replay:
        if kind == "scoring":
            return Replay(self._path, self._root, name)
        return Replay(self._others[name], self._root)

    def _loaded(self, replay: Replay) -> None:
        before, self._replay = self._still, replay
        self._scoring.options = {scoring_label(s): s for s in replay.run.scorings}
        self._scoring.value = replay.run.scoring
        self._say_title(replay)
        self._make_plot()
        self._questions.about(replay)
        if len(self._place) == 1:
            self._place.append(self._body())
        self._seek(before.number if before else 0)

    def _say_title(self, replay: Replay) -> None:
        run = replay.run
        failed = len(run) - run.count
        words = ["live" if run.live else "closed", moment(run.start), f"{run.count} frames"]
        words += [f"{failed} failed"] * bool(failed)
        name = html.escape(self._path.stem)
        self._title.object = f"<b style='font-size:17px'>{name}</b> &nbsp; {' · '.join(words)}"

    def _refreshed(self, changed: bool) -> None:
        self._refreshing = False
        replay, still = self._replay, self._still
        if not changed or replay is None:
            return
        self._say_title(replay)
        self._draw_curves()
        self._questions.about(replay)
        if still is None or still.number >= self._end - 1:
            self._seek(replay.count - 1)  # who was at the end stays at the end
        else:
            self._tell_scrubber(still)

    # -- frames

    def _seek(self, number: int) -> None:
        replay = self._replay
        if replay is None:
            return
        if replay.count == 0:
            self._on_trouble("no frame of this run could be analysed")
            return
        number = min(max(number, 0), replay.count - 1)
        other = self._questions.other

        def read() -> tuple[Still, Still | None]:
            still = replay.still(number)
            there = None if other is None else same_frame(still, other)
            return still, None if other is None or there is None else other.still(there)

        self._later.do(read, self._show)

    def _show(self, stills: tuple[Still, Still | None]) -> None:
        still, other = stills
        self._still = still
        self._sequence += 1
        shown = other if other is not None and self._questions.swapped else still
        self._canvas.send(**still_message(shown, still.jpeg, self._sequence))
        if self._plot is not None:
            self._plot.point_at(still.time)
        self._questions.about_frame(still, other)

    def _show_again(self) -> None:
        if self._still is not None:
            self._seek(self._still.number)

    def _on_canvas(self, message: dict[str, Any]) -> None:
        kind, still = message["type"], self._still
        if kind == "ready":
            self._show_again()
        elif still is None or message.get("seq") != self._sequence:
            return
        elif kind == "painted":
            self._tell_scrubber(still)
        elif kind == "crop" and self._replay is not None:
            self._crop(self._replay, still, [int(v) for v in message["rect"]])

    def _crop(self, replay: Replay, still: Still, rect: list[int]) -> None:
        left, top, right, bottom = rect
        height, width = still.shape
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            return
        sequence = self._sequence

        def send(jpeg: bytes) -> None:
            if jpeg:
                self._canvas.send(type="crop", seq=sequence, rect=rect, jpeg=jpeg)

        self._later.do(lambda: replay.crop(still.number, (left, top, right, bottom)), send)

    def _on_scrub(self, message: dict[str, Any]) -> None:
        if message["type"] == "seek":
            self._seek(int(message.get("number") or 0))
        elif message["type"] == "ready" and self._still is not None:
            self._tell_scrubber(self._still)

    def _tell_scrubber(self, still: Still) -> None:
        if self._replay is not None:
            self._end = self._replay.count
            place = f"{still.number + 1} of {self._end}"
            text = f"{place} · {still.time_s:.2f} s · {moment(still.time)}"
            self._scrubber.send(type="at", count=self._end, at=still.number, text=text)

    def _on_trouble(self, text: str) -> None:
        self._refreshing = False
        if self._replay is None:
            self._title.object = html.escape(text)
        self._canvas.send(
            type="frame", seq=self._sequence, jpeg=b"", shape=[1, 1], chip=[1, 1], grid=[1, 1],
            labels=b"", palette=[], bars=[], note=text, caption="", alt=text,
        )  # fmt: skip

    # -- curve

    def _on_pick(self, time: float) -> None:
        replay = self._replay
        number = replay.nearest(time) if replay else None
        if number is not None:
            self._seek(number)

    def _make_plot(self) -> None:
        """Make the plot anew: other curves begin whole, not as the last ones were zoomed."""
        plot = self._plot = CurvePlot(self._on_pick, "review", other="B")
        plot.figure.update(sizing_mode="stretch_width", height=300)
        plot.figure.on_event(RangesUpdate, self._on_range)
        plot.figure.on_event(Reset, lambda _event: self._draw_curves())
        self._draw_curves()
        plot.point_at(self._still.time if self._still else None)
        self._curve[:] = [pn.pane.Bokeh(plot.figure, sizing_mode="stretch_width", margin=0)]

    def _on_range(self, event: Any) -> None:
        """Draw the part that was zoomed into from its own buckets."""
        if self._replay is not None and self._replay.count > POINTS:
            margin = (event.x1 - event.x0) / 2
            since, until = event.x0 - margin, event.x1 + margin
            self._draw_curves(CurvePlot.time(since), CurvePlot.time(until))

    def _draw_curves(self, since: float | None = None, until: float | None = None) -> None:
        replay, plot = self._replay, self._plot
        if replay is None or plot is None:
            return
        curves = replay.curves(since, until)
        other = self._questions.other
        second = Curves(curves.times[:0], {}, {}, {}) if other is None else _beside(replay, other)
        plot.update(curves, second, replay.colors)

    def _on_compared(self) -> None:
        self._make_plot()
        self._show_again()

    def _source(self) -> ExportSource | None:
        replay = self._replay
        if replay is None or replay.count == 0:
            return None
        shown = self._still.number if self._still else 0
        return ExportSource(replay.run, pixel_reader(replay.run, self._root), shown)


def still_message(still: Still, jpeg: bytes, sequence: int) -> dict[str, Any]:
    """Turn a frame into what the canvas wants."""
    pairs = list(zip(still.names, still.colors, strict=True))
    bars = [
        {"name": n, "color": c, "value": float(v), "low": float(lo), "high": float(hi)}
        for (n, c), (v, lo, hi) in zip(pairs, still.intervals, strict=True)
        if v == v  # a class that the frame's support set lacks has no fraction
    ]
    words = ", ".join(f"{b['name']} {b['value']:.0%}" for b in bars)
    where = still.path + (f" #{still.index}" if still.index else "")
    return {
        "type": "frame",
        "seq": sequence,
        "jpeg": jpeg,
        "shape": list(still.shape),
        "chip": list(still.chip),
        "grid": list(still.label_map.shape),
        "labels": still.label_map.tobytes(),
        "palette": [{"name": n, "color": c} for n, c in pairs],
        "pixel_size": still.pixel_size,
        "unit": still.unit,
        "bars": bars,
        "note": "" if jpeg else " ",
        "caption": where if jpeg else f"{where} · its file is out of reach: labels alone",
        "alt": f"frame {where}: {words}",
    }


def _beside(first: Replay, other: Replay) -> Curves:
    """Curves of another run or scoring; another run begins where the first one does."""
    if other.run.run_id == first.run.run_id:
        return other.curves()
    return other.curves_from(first.run.start)
