"""Versions: save a draft, load, compare and publish versions, label the past again."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pychip_stream.analysis.drafting import agreement
from pychip_stream.domain.progress import Progress
from pychip_stream.domain.support import SupportSet, current_user
from pychip_stream.errors import PychipError

from ..accounts import MAY_LOOK, Viewer
from ..work.background import Background, Cancellable
from ..work.drafts import Draft, DraftState
from ..work.frame_pictures import Key
from ..work.recent import Every
from ..work.words import published, support_name
from ..work.workbench import Workbench
from .layouts import in_row, note, plain_text, small_button, wrapped

_LIST_S = 2.0
_LABEL = ".MuiInputLabel-root:not(.MuiInputLabel-shrink) { transform: translate(14px, 9px); }"
"""An empty select would write its label over its lower border."""


class VersionsPanel:
    """What becomes of a draft. One piece of work at a time; its outcome is said below."""

    def __init__(
        self,
        bench: Workbench,
        background: Background,
        viewer: Viewer,
        draft: Draft,
        key: Callable[[], Key | None],
    ) -> None:
        self._bench = bench
        self._background = background
        self._viewer = viewer
        self._draft = draft
        self._key = key
        self._job: tuple[str, Cancellable] | None = None
        self._list_time = Every(_LIST_S)
        self._listed: tuple[tuple[dict[str, str], str | None], str | None] | None = None
        self._note = pmui.TextInput(
            label="note", placeholder="what has changed, and why", size="small",
            sizing_mode="stretch_width", margin=(4, 0),
        )  # fmt: skip
        select: dict[str, Any] = {"size": "small", "margin": in_row(8), "width": 320}
        select["stylesheets"] = [_LABEL]
        self._version = pmui.Select(label="version", **select)
        self._other = pmui.Select(label="compare with", **select)
        small = {"margin": in_row(), "disabled": not viewer.operator}
        plain = {"variant": "outlined", **small}
        self._save = small_button("Save version", self._do_save, color="primary", **small)
        self._publish = small_button(
            "Publish to the run", self._do_publish, color="success", **small
        )
        self._load = small_button("Load", self._do_load, **plain)
        self._compare = small_button("Compare", self._do_compare, **plain)
        self._relabel = small_button("Re-label the past", self._do_relabel, **plain)
        self._cancel = small_button("Cancel", self._do_cancel, visible=False, **plain)
        self._bar = pmui.LinearProgress(
            value=0, visible=False, sizing_mode="stretch_width", margin=(4, 0)
        )
        self._state = plain_text()

    def panel(self) -> Any:
        """Lay it out."""
        return pn.Column(
            self._note,
            wrapped(self._save, self._publish, self._cancel),
            wrapped(self._version, self._load, self._relabel),
            wrapped(self._other, self._compare),
            self._bar,
            self._state,
            sizing_mode="stretch_width",
        )

    def pull(self, now: float) -> None:
        """Show the list of versions and how far the work is."""
        if self._list_time.due(now):
            self._background.do(
                self._list_versions, self._show_list, failed=lambda _text: None, slot="versions"
            )
        if self._job is not None and (share := self._job[1].share) is not None:
            self._bar.value = round(100 * share)

    def _begin(
        self, what: str, work: Callable[[Progress], str], pool: ThreadPoolExecutor | None = None
    ) -> None:
        if not self._viewer.operator:
            note(self._state, MAY_LOOK, "error")
            return
        if self._job is not None:
            note(self._state, f"wait: {self._job[0]} is not done yet", "error")
            return
        note(self._state, f"{what}…")
        progress = Cancellable()
        self._job = (what, progress)
        self._background.do(
            lambda: work(progress),
            self._end,
            failed=lambda text: self._end(f"{what} failed: {text}", "error"),
            pool=pool or self._bench.fits,
        )

    def _end(self, text: str, level: str = "good") -> None:
        self._job = None
        self._bar.visible = self._cancel.visible = False
        note(self._state, text, level)
        self._list_time.hurry()

    def _do_cancel(self) -> None:
        if self._job is not None:
            self._job[1].cancel()

    def _do_save(self) -> None:
        if (save := self._saver()) is not None:
            self._begin("saving", lambda _progress: f"saved as {save()[:8]}")

    def _do_publish(self) -> None:
        """Publish the draft; an unsaved one is saved first."""
        bench, saved, author, save = self._bench, self._draft.saved, self._author, self._saver()
        if save is None:
            return

        def work(_progress: Progress) -> str:
            version = saved or save()
            bench.sets.publish(version, author)
            return published(version)

        self._begin("publishing", work)

    @property
    def _author(self) -> str:
        return self._viewer.user or current_user()

    def _saver(self) -> Callable[[], str] | None:
        """Work that saves the draft as it is now, and returns its version; None without a frame."""
        bench, draft, key = self._bench, self._draft, self._key()
        state, note, author = draft.state, self._note.value, self._author
        if key is None:
            return None

        def save() -> str:
            support = bench.save(state, key, author, note)
            if draft.state == state:
                draft.change(DraftState.of(support), saved=support.version)
            return support.version

        return save

    def _do_load(self) -> None:
        bench, draft, version = self._bench, self._draft, self._chosen(self._version)
        if not version:
            return

        def work(_progress: Progress) -> str:
            support = bench.sets.support(version)
            draft.change(DraftState.of(support), saved=version)
            return f"loaded {version[:8]}; undo brings the former draft back"

        self._begin("loading", work)

    def _do_compare(self) -> None:
        bench, key = self._bench, self._key()
        first, second = self._chosen(self._version), self._chosen(self._other)
        if not (first and second and key):
            return

        def work(_progress: Progress) -> str:
            sets = [bench.sets.support(v) for v in (first, second)]
            trials = [bench.attempt_set(s, key) for s in sets]
            return comparison(sets[0], sets[1], trials)

        self._begin("comparing", work)

    def _do_relabel(self) -> None:
        """Give the frames of the run so far their labels under a version, from what is kept."""
        bench, version = self._bench, self._chosen(self._version)
        if not version:
            note(self._state, "save or choose a version first", "error")
            return
        self._begin(
            "labelling the past",
            lambda progress: bench.sets.relabel(version, progress),
            pool=bench.long,
        )
        self._bar.visible = self._cancel.visible = self._job is not None

    def _chosen(self, select: Any) -> str | None:
        """Version that is chosen; None for what was not on offer."""
        found = self._listed[0][0].values() if self._listed else ()
        return select.value if select.value in found else None

    def _list_versions(self) -> tuple[dict[str, str], str | None]:
        """Version by what is shown of it, the newest first, and the one in use."""
        try:
            current = self._bench.sets.folder.current_version()
            versions = self._bench.sets.folder.versions()[::-1]
        except OSError as error:
            raise PychipError(f"the support sets cannot be listed: {error}") from error
        return {self._name(v) + " (in use)" * (v == current): v for v in versions}, current

    def _show_list(self, found: tuple[dict[str, str], str | None]) -> None:
        options, saved = found[0], self._draft.saved
        if (found, saved) == self._listed:
            return
        self._listed = (found, saved)
        for select in (self._version, self._other):
            chosen = select.value
            select.options = options
            if chosen in options.values():
                select.value = chosen
        if saved in options.values():
            self._version.value = saved

    def _name(self, version: str) -> str:
        try:
            support = self._bench.sets.support(version)
        except PychipError:
            return f"{version[:8]} (damaged)"
        return support_name(support)


def comparison(first: SupportSet, second: SupportSet, trials: list[Any]) -> str:
    """Say in lines of text how two versions differ, and what each makes of one frame."""
    lines = [f"{first.version[:8]} beside {second.version[:8]}"]
    if first.chip_size != second.chip_size:
        lines.append(f"chip size {first.chip_size} / {second.chip_size}")
    one, two = (t.result.fractions for t in trials)
    for name in dict.fromkeys((*first.names, *second.names, "unknown")):
        parts = []
        for support, fractions in ((first, one), (second, two)):
            chips = support.counts.get(name)
            share = f"{fractions[name].value:.1%}" if name in fractions else "–"
            parts.append(share if chips is None else f"{share} from {chips} chips")
        lines.append(f"{name}: {parts[0]} / {parts[1]}")
    same = agreement(trials[0].result, trials[1].result)
    if same is not None:
        lines.append(f"{same:.1%} of the chips of this frame have the same label")
    return "\n".join(lines)
