"""Run view: one opened run, its frames and its curve."""

import html
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.events import RangesUpdate, Reset

from pychip_stream.archive.exclusions import Exclusion
from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.domain.colors import told_apart
from pychip_stream.domain.support import current_user
from pychip_stream.errors import PychipError
from pychip_stream.export.kinds import ExportSource
from pychip_stream.export.pictures import Rect

from ..accounts import Viewer
from ..work.background import Background
from ..work.display import Contrast
from ..work.frame_pictures import FramePicture
from ..work.history import Curves
from ..work.links import NOTHING, Link
from ..work.opened_run import POINTS, OpenedRun
from ..work.readers import Readers
from ..work.recent import Every
from ..work.rescorer import Rescorer
from ..work.words import AS_ACQUIRED, moment
from ..work.workbench import Workbench
from .clock_panel import ClockPanel
from .components import Scrubber
from .curve_plot import Axes, CurvePlot
from .frame_view import FrameView
from .layouts import grown, side_by_side, wrapped
from .leaving_out import LeavingOut, blank_words
from .rescore_panel import RescorePanel
from .review_tables import same_frame
from .run_sections import RunSections

_REFRESH_S = 2.0
_CANVAS_HEIGHT = "max(calc(100vh - 5.5rem - 150px), 440px)"
_NOTHING = Curves(np.empty(0), {})


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
    viewer
        Who looks.
    bench
        Support sets that were saved, and the thread for what takes minutes.
    readers
        As for `OpenedRun`.
    asked
        Frame and part of the curve that are shown first.
    """

    def __init__(
        self,
        path: Path,
        root: Path,
        others: dict[str, Path],
        leave: Callable[[], None],
        viewer: Viewer,
        bench: Workbench,
        readers: Readers | None = None,
        asked: Link = NOTHING,
    ) -> None:
        self._asked = asked
        self._user = viewer.user or current_user()
        self._path = path
        self._readers = readers
        self._root = root
        self._others = others
        self._background = Background(self._on_trouble)
        self._opened: OpenedRun | None = None
        self._picture: FramePicture | None = None
        self._asked_for = 0
        self._marked: Exclusion | None = None
        self._end = 0
        self._refresh = Every(_REFRESH_S)
        self._view = FrameView(self._background, self._crop, self._on_canvas, self._repaint)
        self._leaving = LeavingOut(viewer, self._leave_out)
        self._scrubber = Scrubber(self._on_scrub, sizing_mode="stretch_width")
        self._plot: CurvePlot | None = None
        self._curve = pn.Column(sizing_mode="stretch_width", min_height=300, margin=0)
        self._axes = Axes(self._draw_curves)
        self._clocks = ClockPanel(self._background, viewer, self._draw_curves)
        self._rescoring = RescorePanel(
            self._background, viewer, Rescorer(bench.sets, path, others, readers), bench.long,
            self._refresh.hurry,
        )  # fmt: skip
        self._sections = RunSections(
            self._background, list(others), self._reopen, self._source, self._on_compared,
            lambda: self._refreshed(True), viewer, self._clocks, self._rescoring,
        )  # fmt: skip
        self._title = pn.pane.HTML(
            f"{html.escape(path.stem)} is opened…", margin=(8, 0), styles={"font-size": "1rem"}
        )
        self._back = pmui.Button(
            label="← all runs", variant="outlined", size="small", on_click=lambda _event: leave()
        )
        self._scoring = pmui.Select(
            label="scoring",
            options={AS_ACQUIRED: ACQUIRED},
            value=ACQUIRED,
            size="small",
            width=300,
        )
        self._scoring.param.watch(lambda event: self._load(event.new), "value")
        head = wrapped(self._back, self._title, self._scoring)
        head.margin, head.styles = (4, 16), {**head.styles, "gap": "0 14px"}
        self._place = pn.Column(head, sizing_mode="stretch_width")
        self._load(None)

    def panel(self) -> Any:
        """Show the head at once, the rest as one piece when the run has been read."""
        return grown(self._place)

    def _body(self) -> Any:
        """Lay the run out: frame and scrubber left, curve and questions right."""
        left = pn.Column(
            self._view.canvas, self._scrubber, self._leaving.button, sizing_mode="stretch_width"
        )
        left.styles = {"--canvas-height": _CANVAS_HEIGHT}
        right = pn.Column(
            pn.Row(*self._axes.widgets, styles={"gap": "8px"}),
            self._curve,
            self._sections.panel(),
            sizing_mode="stretch_width",
        )
        return side_by_side(left, right)

    def pull(self, now: float) -> None:
        """Follow downloads, a live run, and what others leave out."""
        self._sections.downloads.pull(now)
        self._clocks.pull(now)
        self._rescoring.pull()
        opened = self._opened
        if opened is not None and self._refresh.due(now):
            self._background.do(opened.refresh, self._refreshed, slot="refresh")

    def close(self) -> None:
        """Let go of the run."""
        self._sections.close()
        self._rescoring.close()
        self._background.close()
        self._opened = self._picture = None

    # -- opening

    def _load(self, scoring: str | None) -> None:
        known = self._opened
        if known is None or scoring != known.run.scoring:
            self._background.do(lambda: self._open(self._path, scoring), self._loaded)

    def _reopen(self, kind: str, name: str) -> OpenedRun:
        if kind == "scoring":
            return self._open(self._path, name)
        if name not in self._others:
            raise PychipError(f"there is no run {name!r} here")
        return self._open(self._others[name])

    def _open(self, path: Path, scoring: str | None = None) -> OpenedRun:
        return OpenedRun(path, self._root, scoring, self._readers)

    def _loaded(self, opened: OpenedRun) -> None:
        before, self._opened = self._picture, opened
        self._offer_scorings(opened)
        self._scoring.value = opened.run.scoring
        self._say_title(opened)
        self._make_plot()
        self._sections.about(opened)
        if len(self._place) == 1:
            self._place.append(grown(self._body()))
        asked, self._asked = self._asked, NOTHING
        if asked.window is not None and self._plot is not None:
            self._plot.look_at(*asked.window)
        first = opened.keys.index(asked.frame) if asked.frame in opened.keys else 0
        self._seek(before.number if before else first)

    def _offer_scorings(self, opened: OpenedRun) -> None:
        self._scoring.options = {told: name for name, told in opened.scorings.items()}

    def link(self) -> Link:
        """Say what is shown; which run, the page knows."""
        frame = self._picture.key if self._picture else None
        return Link(frame=frame, window=self._plot.window if self._plot else None)

    def _say_title(self, opened: OpenedRun) -> None:
        run = opened.run
        failed = len(run) - run.count
        words = ["live" if run.live else "closed", moment(run.start), f"{run.count} frames"]
        words += [f"{failed} failed"] * bool(failed)
        left_out = int(opened.table["excluded"].sum())
        words += [f"{left_out} left out"] * bool(left_out)
        name = html.escape(self._path.stem)
        self._title.object = f"<b style='font-size:1.1em'>{name}</b> &nbsp; {' · '.join(words)}"

    def _refreshed(self, changed: bool) -> None:
        opened, picture = self._opened, self._picture
        if not changed or opened is None:
            return
        self._say_title(opened)
        self._offer_scorings(opened)
        self._draw_curves()
        self._sections.about(opened)
        if picture is None or 0 < self._end <= picture.number + 1:
            self._seek(opened.count - 1)  # who was at the end stays at the end
        elif opened.left_out.get(picture.key) != self._marked:
            self._seek(self._asked_for)
        else:
            self._tell_scrubber(picture)

    def _leave_out(self, undo: bool) -> None:
        opened, picture = self._opened, self._picture
        if opened is not None and picture is not None:
            self._background.do(
                lambda: opened.leave_out([picture.key], self._user, undo=undo),
                lambda _done: self._refreshed(True),
            )

    # -- frames

    def _seek(self, number: int) -> None:
        opened = self._opened
        if opened is None:
            return
        if opened.count == 0:
            self._on_trouble("no frame of this run could be analysed")
            return
        number = self._asked_for = min(max(number, 0), opened.count - 1)
        other = self._sections.other

        def read() -> tuple[FramePicture, FramePicture | None]:
            picture = opened.picture(number)
            there = None if other is None else same_frame(picture, other)
            return picture, None if other is None or there is None else other.picture(there)

        self._background.do(read, self._show)

    def _show(self, pictures: tuple[FramePicture, FramePicture | None]) -> None:
        picture, other = pictures
        if picture.number != self._asked_for:
            return  # two threads read; what was asked for last is on its way
        self._picture = picture
        swapped = other is not None and self._sections.swapped
        self._marked = self._opened.left_out.get(picture.key) if self._opened else None
        self._view.show(
            replace(other, jpeg=picture.jpeg, grey=picture.grey, key=picture.key)
            if other and swapped
            else picture,
            note=self._leaving.about(self._marked),
            warning=blank_words(self._marked),
        )
        if self._plot is not None:
            self._plot.point_at(picture.time)
        self._sections.about_frame(picture, other)

    def _show_again(self) -> None:
        if self._picture is not None:
            self._seek(self._picture.number)

    def _on_canvas(self, message: dict[str, Any]) -> None:
        if message["type"] == "painted" and self._picture is not None:
            self._tell_scrubber(self._picture)

    def _crop(self, shown: FramePicture, rect: Rect) -> bytes:
        return self._opened.crop(shown, rect) if self._opened else b""

    def _repaint(self, shown: FramePicture, contrast: Contrast) -> FramePicture:
        return self._opened.repaint(shown, contrast) if self._opened else shown

    def _on_scrub(self, message: dict[str, Any]) -> None:
        if message["type"] == "seek":
            self._seek(int(message.get("number") or 0))
        elif message["type"] == "ready" and self._picture is not None:
            self._tell_scrubber(self._picture)

    def _tell_scrubber(self, picture: FramePicture) -> None:
        if self._opened is not None:
            self._end = self._opened.count
            since = picture.time - self._opened.run.start
            place = f"{picture.number + 1} of {self._end}"
            text = f"{place} · {since:.2f} s · {moment(picture.time)}"
            self._scrubber.send(type="at", count=self._end, at=picture.number, text=text)

    def _on_trouble(self, text: str) -> None:
        if self._opened is None:
            self._title.object = html.escape(text)
        self._view.blank(text)

    # -- curve

    def _on_pick(self, time: float) -> None:
        opened = self._opened
        number = opened.nearest(time) if opened else None
        if number is not None:
            self._seek(number)

    def _make_plot(self) -> None:
        """Make the plot anew: other curves begin whole, not as the last ones were zoomed."""
        plot = self._plot = CurvePlot(
            self._on_pick, "review", other="B", height=300, start=self._common_start()
        )
        plot.figure.on_event(RangesUpdate, self._on_range)
        plot.figure.on_event(Reset, lambda _event: self._draw_curves())
        self._draw_curves()
        plot.point_at(self._picture.time if self._picture else None)
        figure = pn.pane.Bokeh(plot.layout, sizing_mode="stretch_width", margin=0)
        self._curve[:] = [plot.legend, figure]

    def _common_start(self) -> float | None:
        """Time of the first frame, from which on two runs are drawn; None for one alone."""
        opened, other = self._opened, self._sections.other
        if opened is None or other is None or other.run.run_id == opened.run.run_id:
            return None
        return opened.run.start

    def _on_range(self, event: Any) -> None:
        """Draw the part that was zoomed into from its own buckets."""
        if self._plot is not None and self._opened is not None and self._opened.count > POINTS:
            margin = (event.x1 - event.x0) / 2
            since, until = event.x0 - margin, event.x1 + margin
            self._draw_curves(self._plot.time(since), self._plot.time(until))

    def _draw_curves(self, since: float | None = None, until: float | None = None) -> None:
        opened, plot = self._opened, self._plot
        if opened is None or plot is None:
            return
        curves = opened.curves(since, until)
        other = self._sections.other
        second = _NOTHING if other is None else _beside(opened, other)
        marks = self._clocks.moments(opened.events)
        theirs = other.colors if other is not None else {}
        colors = told_apart(theirs | opened.colors, opened.colors)
        plot.update(curves, second, colors, marks)

        def done(found: Curves) -> None:
            axes, found = self._axes, self._clocks.shifted(found)
            axes.offer(opened.run.names, found.columns)
            plot.add_quantities(curves, found, below=axes.below, along=axes.along)

        self._background.do(lambda: opened.quantities(since, until), done)

    def _on_compared(self) -> None:
        self._make_plot()
        self._show_again()

    def _source(self) -> ExportSource | None:
        opened = self._opened
        if opened is None or opened.count == 0:
            return None
        shown = self._picture.number if self._picture else 0
        return ExportSource(
            opened.exported(), opened.pixel_reader(), shown, against=self._axes.along
        )


def _beside(first: OpenedRun, other: OpenedRun) -> Curves:
    """Curves of another run or scoring; another run begins where the first one does."""
    if other.run.run_id == first.run.run_id:
        return other.curves()
    return other.curves_from(first.run.start)
