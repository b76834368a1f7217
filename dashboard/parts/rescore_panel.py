"""Re-score panel: an archived run under another support set, as a further scoring of it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pychip_stream.errors import PychipError

from ..accounts import MAY_LOOK, Viewer
from ..work.background import Background, Cancellable
from ..work.opened_run import OpenedRun
from ..work.rescorer import NO_SET, SUFFIX, THIS_RUN, UPLOADED, Rescorer, live_words
from .components import DropZone
from .layouts import in_row, note, plain_text, small_button, wrapped

_NEXT = "choose it above as scoring, or under Compare"


class RescorePanel:
    """For operators; one run is scored at a time, and leaving it cancels.

    Parameters
    ----------
    pool
        Thread on which the runs of all viewers are scored, one after the other.
    scored
        Called when the run has got a scoring.
    """

    def __init__(
        self,
        background: Background,
        viewer: Viewer,
        rescorer: Rescorer,
        pool: ThreadPoolExecutor,
        scored: Callable[[], object],
    ) -> None:
        self._background, self._viewer, self._pool = background, viewer, pool
        self._rescorer, self._scored = rescorer, scored
        self._run: OpenedRun | None = None
        self._job: Cancellable | None = None
        select: dict[str, Any] = {"size": "small", "margin": in_row(8)}
        self._source = pmui.Select(
            label="support sets of", options={"this run": THIS_RUN}, value=THIS_RUN, width=200,
            **select,
        )  # fmt: skip
        self._set = pmui.Select(label="support set", options={}, width=320, **select)
        self._encoder = pmui.TextInput(
            label="encoder", value="", placeholder="as the run says", width=160, **select
        )
        self._all_known = pmui.Checkbox(label="no unknown", value=False)
        self._default = pmui.Checkbox(label="show it to everybody from now on", value=False)
        self._drop = DropZone(self._on_drop, sizing_mode="stretch_width")
        plain: dict[str, Any] = {"margin": in_row()}
        self._start = small_button("Re-score", self._do_start, color="primary", **plain)
        self._cancel = small_button(
            "Cancel", self._do_cancel, variant="outlined", visible=False, **plain
        )
        self._bar = pmui.LinearProgress(
            value=0, visible=False, sizing_mode="stretch_width", margin=(4, 0)
        )
        self._state = plain_text()
        self.widget = pn.Column(
            wrapped(self._source, self._set, self._encoder),
            wrapped(self._all_known, self._default, self._start, self._cancel),
            self._bar,
            self._state,
            self._drop,
            sizing_mode="stretch_width",
            visible=False,
        )
        self._source.param.watch(lambda _event: self._look(), "value")

    def about(self, opened: OpenedRun) -> None:
        """Answer for this run."""
        self._run = opened

    def show(self, shown: bool) -> None:
        """Show the panel, with the support sets that there are now."""
        self.widget.visible = shown
        if shown:
            self._look()
            if self._job is None and self._run is not None and self._run.run.live:
                note(self._state, live_words(self._run.run), "error")

    def pull(self) -> None:
        """Show how far it is."""
        if self._job is not None and (share := self._job.share) is not None:
            self._bar.value = round(100 * share)

    def close(self) -> None:
        """Cancel, and forget what is on its way."""
        if self._job is not None:
            self._job.cancel()
        self._rescorer.close()

    def _look(self) -> None:
        """List the support sets that are on offer."""
        if not self._viewer.operator:
            return
        rescorer, source = self._rescorer, str(self._source.value)

        def done(found: tuple[dict[str, str], dict[str, str]]) -> None:
            if source != self._source.value:
                self._look()  # chosen meanwhile
                return
            self._source.options = found[0]
            chosen, self._set.options = self._set.value, found[1]
            versions = list(found[1].values())
            self._set.value = chosen if chosen in versions else next(iter(versions), None)

        self._background.do(
            lambda: (rescorer.sources(), rescorer.sets(source)), done, failed=self._fail,
            slot="support sets",
        )  # fmt: skip

    def _do_start(self) -> None:
        source, version, encoder = (s.value for s in (self._source, self._set, self._encoder))
        default, reject = bool(self._default.value), not self._all_known.value
        if not self._viewer.operator:
            self._fail(MAY_LOOK)
        elif self._job is not None:
            return
        elif not version:
            self._fail(f"{NO_SET}: choose one, or drop its file below")
        else:
            job = self._job = Cancellable()
            self._bar.value = 0
            self._busy(True)
            note(self._state, "re-scoring…")
            self._background.do(
                lambda: self._rescorer.rescore(
                    str(source),
                    str(version),
                    job,
                    default=default,
                    reject=reject,
                    encoder=str(encoder or "").strip(),
                ),
                self._done,
                failed=lambda text: self._end(
                    "cancelled; the run stays as it was" if job.cancelled else text, "error"
                ),
                pool=self._pool,
            )

    def _done(self, text: str) -> None:
        self._end(f"{text}\n{_NEXT}", "good")
        self._scored()

    def _end(self, text: str, level: str) -> None:
        self._job = None
        self._busy(False)
        note(self._state, text, level)

    def _busy(self, busy: bool) -> None:
        self._bar.visible = self._cancel.visible = busy
        self._start.disabled = busy

    def _do_cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            note(self._state, "cancelling…")

    def _fail(self, text: str) -> None:
        note(self._state, text, "error")

    def _on_drop(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self._drop.send(
                type="accept", suffixes=[SUFFIX], words="", name="support set file",
                title="Or drop the file of a support set here, or choose it: ",
            )  # fmt: skip
            return
        try:
            if not self._viewer.operator:
                raise PychipError(MAY_LOOK)
            if kind == "nothing":
                raise PychipError(NO_SET)
            if kind == "begin":
                self._rescorer.expect(str(message["name"]), int(message["size"]))
                self._drop.send(type="more")
            elif kind == "piece":
                self._rescorer.add(bytes(message["data"]))
                if not message["last"]:
                    self._drop.send(type="more")
                else:
                    self._background.do(
                        self._rescorer.finish, self._arrived, failed=self._not_arrived
                    )
        except PychipError as error:
            self._not_arrived(str(error))

    def _arrived(self, name: str) -> None:
        self._drop.send(type="say", text=name, level="good")
        self._source.options = {**self._source.options, "the file": UPLOADED}
        if self._source.value == UPLOADED:
            self._look()
        self._source.value = UPLOADED

    def _not_arrived(self, text: str) -> None:
        self._drop.send(type="say", text=text, level="error")
