"""Download bar: export buttons of one viewer, the work behind them, and the way to the browser."""

import shutil
import tempfile
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pychip_stream.export.kinds import ExportKind, ExportSource

from ..work.background import Job
from ..work.export_kinds import KINDS, pieces, write_export
from .components import Downloads

_SHOWN_S = 0.2


class DownloadBar:
    """One export at a time per viewer; the next piece goes out when the last one has arrived.

    Parameters
    ----------
    source
        What is exported at the moment of the click; None: nothing yet.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        source: Callable[[], ExportSource | None],
        kinds: Sequence[ExportKind] = KINDS,
    ) -> None:
        self._pool = pool
        self._source = source
        self._kinds = {kind.name: kind for kind in kinds}
        self._job: Job | None = None
        self._kind: ExportKind | None = None
        self._folder: Path | None = None
        self._made: Path | None = None
        self._sending: Generator[tuple[bytes, bool], None, None] | None = None
        self._told: tuple[object, ...] = ()
        self._shown_at = 0.0
        self.widget = Downloads(self._on_message, sizing_mode="stretch_width")

    def pull(self, now: float) -> None:
        """Tell how far it is, and begin to send what is finished."""
        job = self._job
        if job is None:
            return
        outcome = job.outcome()
        if outcome is None:
            if now - self._shown_at > _SHOWN_S:
                self._shown_at = now
                done = f" ({job.done} of {job.total})" if job.total > 1 else ""
                share = job.done / job.total if job.total else None
                self._tell("busy", f"making {job.what}{done}", share)
            return
        self._job = None
        well, text = outcome
        if not well:
            self._end(text)
            return
        self._made = Path(text)
        self._sending = pieces(self._made)
        self._tell("busy", f"sending {self._made.name}", None)
        self._send(first=True)

    def close(self) -> None:
        """Cancel, and remove what was made."""
        if self._job is not None:
            self._job.cancelled.set()
        self._clear()

    def _on_message(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            buttons = [(k.name, k.label, k.meaning) for k in self._kinds.values()]
            self.widget.send(type="kinds", kinds=buttons)
            self._told = ()
            self._tell("idle", "", None)
        elif kind == "start":
            self._start(self._kinds.get(str(message.get("kind"))))
        elif kind == "more":
            self._send(first=False)
        elif kind == "saved" and self._made is not None:
            self._end(f"{self._made.name} saved", "done")
        elif kind == "cancel":
            if self._job is not None:
                self._job.cancelled.set()
            else:
                self._end("cancelled")

    def _start(self, kind: ExportKind | None) -> None:
        if kind is None or self._job is not None or self._sending is not None:
            return
        source = self._source()
        if source is None:
            self._end("there is nothing to export yet")
            return
        self._clear()
        folder = self._folder = Path(tempfile.mkdtemp(prefix="pychip-stream-export-"))
        self._kind = kind

        def work(job: Job) -> str:
            try:
                return str(write_export(kind, source, folder, job.progress))
            finally:
                if job.cancelled.is_set():
                    shutil.rmtree(folder, ignore_errors=True)

        self._job = Job(self._pool, kind.label, work)
        self._tell("busy", f"making {kind.label}", None)

    def _send(self, *, first: bool) -> None:
        if self._sending is None or self._made is None or self._kind is None:
            return
        found = next(self._sending, None)
        if found is None:
            return
        data, last = found
        self.widget.send(
            type="piece", content=data, first=first, last=last,
            name=self._made.name, media=self._kind.media,
        )  # fmt: skip

    def _end(self, text: str, state: str = "failed") -> None:
        self._tell(state, text, None)
        self._clear()

    def _tell(self, state: str, text: str, share: float | None) -> None:
        told = (state, text, share)
        if told != self._told:
            self._told = told
            self.widget.send(type="state", state=state, text=text, share=share)

    def _clear(self) -> None:
        if self._sending is not None:
            self._sending.close()
        self._sending = self._made = None
        if self._folder is not None and self._job is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
