"""Events panel: what happened in an opened run, marks to make and change, changes to look for."""

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pychip_stream.analysis.change_points import ChangePoint, change_points_of
from pychip_stream.archive.marks import CHANGE, MARK, Event, change_mark, mark
from pychip_stream.archive.run import Run
from pychip_stream.domain.support import current_user

from ..accounts import Viewer
from ..work.background import Background
from ..work.opened_run import OpenedRun
from ..work.words import moment
from .components import MarkField, table
from .layouts import in_row, note, plain_text, small_button, wrapped

_NEW = "new, at this frame"
_MOST_ROWS = 500


def mark_field(
    viewer: Viewer, act: Callable[[str], None], opened: Callable[[], None] | None = None,
    **options: Any,
) -> MarkField:  # fmt: skip
    """Make the field in which an operator writes a mark.

    Parameters
    ----------
    act
        Called with the text of each.
    opened
        Called when somebody begins to write.
    """

    def heard(message: dict[str, Any]) -> None:
        text = " ".join(str(message.get("text") or "").split())
        if viewer.operator and message["type"] == "opened" and opened is not None:
            opened()
        elif viewer.operator and message["type"] == "mark" and text:
            act(text)

    return MarkField(heard, margin=(8, 0), visible=viewer.operator, **options)


class EventsPanel:
    """The section of an opened run.

    Parameters
    ----------
    told
        Called with the tables to show.
    changed
        Called when a mark was made or changed.
    """

    def __init__(
        self,
        background: Background,
        viewer: Viewer,
        told: Callable[[list[dict[str, Any]]], None],
        changed: Callable[[], None],
    ) -> None:
        self._background, self._viewer = background, viewer
        self._user = viewer.user or current_user()
        self._told, self._changed = told, changed
        self._opened: OpenedRun | None = None
        self._found: list[ChangePoint] = []
        self._time = float("nan")
        self._which = pmui.Select(
            label="which", options={_NEW: ""}, value="", size="small", width=220, margin=in_row(8)
        )
        self._text = mark_field(viewer, self._write, width=240)
        operator: dict[str, Any] = {"margin": in_row(8), "visible": viewer.operator}
        self._remove = small_button("Remove mark", self._take_back, **operator)
        self._keep = small_button("Keep as marks", self._take_over, **operator | {"visible": False})
        self._note = plain_text()
        self.widget = pn.Column(
            wrapped(
                self._which,
                self._text,
                self._remove,
                small_button("Find changes", self._find, margin=in_row(8)),
                self._keep,
            ),
            self._note,
            sizing_mode="stretch_width",
            visible=False,
        )
        self._which.visible = viewer.operator

    def about(self, opened: OpenedRun) -> None:
        """Answer for this run, or for what has come to it since."""
        if self._opened is None or self._opened.run.scoring != opened.run.scoring:
            self._found = []
        self._opened = opened
        own = [one for one in opened.events if one.kind in (MARK, CHANGE) and one.who == self._user]
        options = {_NEW: ""} | {f"{one.text[:40]} ({one.event})": one.event for one in own}
        if options != self._which.options:
            chosen = self._which.value
            self._which.options = options
            self._which.value = chosen if chosen in options.values() else ""
        self._tell()

    def about_time(self, time: float) -> None:
        """Say at which moment, in seconds since 1970, a new mark is made."""
        self._time = time

    def _tell(self) -> None:
        opened = self._opened
        if opened is None:
            return
        rows = [_row(opened.run, one) for one in opened.events[:_MOST_ROWS]]
        head = ["after", "kind", "what", "by", "when"]
        tables = [table("Events", rows, head, right=[0], empty="none yet", wide=True)]
        if self._found:
            proposed = [[_after(opened.run, p.time), p.text] for p in self._found]
            tables.append(table("Changes found", proposed, ["after", "what"], right=[0], wide=True))
        self._keep.visible = bool(self._found) and self._viewer.operator
        self._told(tables)

    def _write(self, text: str) -> None:
        which, time, user = str(self._which.value), self._time, self._user
        if which:
            self._edit(lambda run: change_mark(run, which, who=user, text=text))
        else:
            self._edit(lambda run: mark(run, time, text, who=user))

    def _take_back(self) -> None:
        which, user = str(self._which.value), self._user
        if which:
            self._edit(lambda run: change_mark(run, which, who=user, removed=True))

    def _take_over(self) -> None:
        found, user, self._found = self._found, self._user, []

        def keep(run: Run) -> None:
            for point in found:
                mark(run, point.time, point.text, who=user, kind=CHANGE)

        self._edit(keep)

    def _edit(self, act: Callable[[Run], object]) -> None:
        opened = self._opened
        if opened is not None and self._viewer.operator:
            note(self._note, "")
            self._background.do(
                lambda: opened.edit(act), lambda _: self._changed(), failed=self._say
            )

    def _find(self) -> None:
        opened = self._opened
        if opened is None:
            return
        note(self._note, "looking for changes…")

        def done(found: list[ChangePoint]) -> None:
            self._found = found
            note(self._note, "" if found else "nothing changes beyond the noise")
            self._tell()

        run = opened.exported()
        self._background.do(lambda: change_points_of(run), done, failed=self._say)

    def _say(self, text: str) -> None:
        note(self._note, text, "error")


def _after(run: Run, time: float) -> str:
    return f"{time - run.start:.2f} s"


def _row(run: Run, one: Event) -> list[str]:
    return [_after(run, one.time), one.kind, one.text, one.who, moment(one.when)]
