"""Clock panel: another offset of the clock of a source, tried on the curve before it is kept."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import panel as pn
import panel_material_ui as pmui

from pychip_stream.analysis.offset_suggestion import Suggestion, suggested
from pychip_stream.archive.clock_offsets import set_offset
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.marks import Event
from pychip_stream.archive.readings import Stimulus
from pychip_stream.archive.run import Run
from pychip_stream.domain.support import current_user

from ..accounts import Viewer
from ..work.background import Background
from ..work.history import Curves, triples
from ..work.recent import Every
from ..work.words import moment
from .layouts import in_row, note, plain_text, small_button, wrapped

_REACH_S = 60.0
"""The slider reaches so far to both sides; the number beside it any distance."""
_MOST_S = 1e9
_LOOK_S = 2.0


class Source(Protocol):
    """A run that can be looked at and edited; both may take long."""

    def exported(self) -> Run:
        """Return the run as it is now."""

    def edit(self, act: Callable[[Run], object]) -> None:
        """Change something of the run, for everybody."""


class ClockPanel:
    """Whoever looks may try an offset; only an operator keeps one.

    Parameters
    ----------
    moved
        Called when the quantities are to be drawn anew.
    """

    def __init__(self, background: Background, viewer: Viewer, moved: Callable[[], object]) -> None:
        self._background, self._viewer, self._moved = background, viewer, moved
        self._user = viewer.user or current_user()
        self._run: Source | None = None
        self._stimulus = Stimulus()
        self._trial: Stimulus | None = None
        self._found: Suggestion | None = None
        self._silent = False
        self._look_time = Every(_LOOK_S)
        self._source = pmui.Select(
            label="clock of", options=[], size="small", width=150, margin=in_row(8)
        )
        self._slider = pmui.EditableFloatSlider(
            label="offset (s)", value=0.0, start=-_REACH_S, end=_REACH_S, step=0.1, width=300,
            margin=(8, 14),
        )  # fmt: skip
        button: dict[str, Any] = {"margin": in_row(8)}
        self._keep = small_button("Keep offset", self._do_keep, **button, visible=viewer.operator)
        self._note = plain_text()
        self.widget = pn.Column(
            wrapped(
                self._source,
                self._slider,
                small_button("Suggest offset", self._suggest, **button),
                self._keep,
            ),
            self._note,
            sizing_mode="stretch_width",
            visible=False,
        )
        self._source.param.watch(lambda _event: self._drop(), "value")
        self._slider.param.watch(lambda _event: self._try(), "value")

    def about(self, run: Source) -> None:
        """Answer for this run."""
        if self._run is not run:
            self._run = run
            self._drop()
        self._look()

    def show(self, shown: bool) -> None:
        """Show the panel; what is tried ends when it is hidden."""
        self.widget.visible = shown
        self._drop()
        self._look()

    def pull(self, now: float) -> None:
        """Take in what has come to the readings since, while an offset is tried."""
        if self._trial is not None and self._look_time.due(now):
            self._look()

    def shifted(self, quantities: Curves) -> Curves:
        """Return quantities as they would be with the offset that is tried."""
        if self._trial is None:
            return quantities
        there = quantities.columns
        values = self._trial.columns(quantities.times)
        known = {n: triples(v) for n, v in values.items() if n in there or np.isfinite(v).any()}
        return Curves(quantities.times, {**there, **known})

    def moments(self, events: Iterable[Event]) -> list[tuple[float, str]]:
        """When events were and their texts, notes of a log with the offset that is tried."""
        trial, kept = self._trial or self._stimulus, self._stimulus
        by = {source: trial.offset_s(source) - kept.offset_s(source) for source in kept.sources}
        return [(one.time + by.get(one.source, 0.0), one.text) for one in events]

    @property
    def _kept(self) -> float:
        return self._stimulus.offset_s(str(self._source.value))

    @property
    def _wanted(self) -> float:
        value = self._slider.value
        return float(value) if value is not None and abs(value) < _MOST_S else self._kept

    def _look(self) -> None:
        run = self._run
        if run is not None and self.widget.visible:
            self._background.do(
                lambda: run.exported().stimulus, self._take, failed=self._fail, slot="clocks"
            )

    def _take(self, stimulus: Stimulus) -> None:
        self._stimulus = stimulus
        sources = list(stimulus.sources)
        if sources != self._source.options:
            chosen = self._source.value
            self._source.options = sources
            self._source.value = chosen if chosen in sources else next(iter(sources), None)
        if self._trial is None:
            self._set(self._kept)
        else:
            self._try()
        self._tell()

    def _tell(self) -> None:
        """Say which offset is kept, and who set it."""
        if not self._stimulus.sources:
            note(self._note, "this run has no readings of a holder, a furnace, …")
            return
        offset, found = self._stimulus.offsets.get(str(self._source.value)), self._found
        text = f"kept: {self._kept:+.1f} s"
        if offset is not None:
            text += f", by {offset.who} at {moment(offset.when)}, {offset.how}"
        if found is not None:
            words = "suggested" if found.sure else "nothing clear; the best is"
            text += f"\n{words} {found.told}, {found.how} ({found.agreement:.2f})"
        note(self._note, text)

    def _set(self, seconds: float) -> None:
        """Show an offset without trying it."""
        self._silent = True
        start, end = float(self._slider.start), float(self._slider.end)
        if not start <= seconds <= end:
            start, end = seconds - _REACH_S, seconds + _REACH_S
        self._slider.param.update(start=start, end=end, value=seconds)
        self._silent = False

    def _try(self) -> None:
        source, seconds, stimulus = str(self._source.value), self._wanted, self._stimulus
        if self._silent or source not in stimulus.sources:
            return

        def work() -> Stimulus:
            trial = stimulus.shifted(source, seconds)
            _ = trial.series  # put in order here, not on the page's loop
            return trial

        def done(trial: Stimulus) -> None:
            if not self.widget.visible:
                return
            self._trial = trial
            self._moved()
            if (source, seconds) != (self._source.value, self._wanted):
                self._try()  # moved on meanwhile

        self._background.do(work, done, failed=self._fail, slot="clock on trial")

    def _drop(self) -> None:
        """End what is tried."""
        tried, self._trial, self._found = self._trial, None, None
        self._set(self._kept)
        self._tell()
        if tried is not None:
            self._moved()

    def _suggest(self) -> None:
        run, source = self._run, str(self._source.value)
        if run is None or source not in self._stimulus.sources:
            return
        note(self._note, "looking for what the readings and the frames both saw…")

        def done(found: Suggestion | None) -> None:
            if source != self._source.value:
                return
            self._found = found
            self._tell()
            if found is None:
                note(self._note, f"nothing that {source} and the frames both saw tells its offset")
            elif found.sure:
                self._set(found.offset_s)
                self._try()

        self._background.do(
            lambda: suggested(run.exported(), source), done, failed=self._fail, slot="suggestion"
        )

    def _do_keep(self) -> None:
        run, source, seconds, user = self._run, str(self._source.value), self._wanted, self._user
        if run is None or not self._viewer.operator or source not in self._stimulus.sources:
            return
        found = self._found
        how = found.how if found is not None and found.offset_s == seconds else "by hand"

        def keep(one: Run) -> None:
            places = RunPlaces.of(one.path)
            set_offset(places, one.run_id, source, seconds, who=user, how=how)

        self._background.do(lambda: run.edit(keep), lambda _: self._look(), failed=self._fail)

    def _fail(self, text: str) -> None:
        note(self._note, text, "error")
