"""Download bar: export buttons of one viewer, the work behind them, and the way to the browser."""

import shutil
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from pychip_stream.export.kinds import ExportKind, ExportSource

from ..work.background import Background, Progress
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
        background: Background,
        source: Callable[[], ExportSource | None],
        kinds: Sequence[ExportKind] = KINDS,
    ) -> None:
        self._background = background
        self._source = source
        self._kinds = {kind.name: kind for kind in kinds}
        self._making: tuple[ExportKind, Progress] | None = None
        self._media = ""
        self._made: Path | None = None
        self._sending: Generator[tuple[bytes, bool], None, None] | None = None
        self._told: tuple[object, ...] = ()
        self._shown_at = 0.0
        self.widget = Downloads(self._on_message, sizing_mode="stretch_width")

    def pull(self, now: float) -> None:
        """Tell how far it is."""
        if self._making is not None and now - self._shown_at > _SHOWN_S:
            self._shown_at = now
            kind, progress = self._making
            of = f" ({progress.done} of {progress.total})" if progress.total > 1 else ""
            self._tell("busy", f"making {kind.label}{of}", progress.share)

    def close(self) -> None:
        """Cancel, and remove what was made."""
        self._cancel()
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
        elif kind == "cancel" and not self._cancel():
            self._end("cancelled")

    def _cancel(self) -> bool:
        """End the making of a file; False where none is made."""
        if self._making is None:
            return False
        self._making[1].cancel()
        return True

    def _start(self, kind: ExportKind | None) -> None:
        if kind is None or self._making is not None or self._sending is not None:
            return
        source = self._source()
        if source is None:
            self._end("there is nothing to export yet")
            return
        self._clear()
        progress = Progress()

        def work() -> Path:
            folder = Path(tempfile.mkdtemp(prefix="pychip-stream-export-"))
            try:
                return write_export(kind, source, folder, progress)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

        self._making, self._media = (kind, progress), kind.media
        self._tell("busy", f"making {kind.label}", None)
        self._background.do(work, self._begin_sending, failed=self._end)

    def _begin_sending(self, made: Path) -> None:
        self._making, self._made = None, made
        self._sending = pieces(made)
        self._tell("busy", f"sending {made.name}", None)
        self._send(first=True)

    def _send(self, *, first: bool) -> None:
        if self._sending is None or self._made is None:
            return
        found = next(self._sending, None)
        if found is None:
            return
        data, last = found
        self.widget.send(
            type="piece", content=data, first=first, last=last,
            name=self._made.name, media=self._media,
        )  # fmt: skip

    def _end(self, text: str, state: str = "failed") -> None:
        self._making = None
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
        if self._made is not None:
            shutil.rmtree(self._made.parent, ignore_errors=True)
        self._sending = self._made = None
