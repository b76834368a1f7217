"""Download bar: export buttons of one viewer, the work behind them, and the way to the browser."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pychip_stream.domain.progress import Progress
from pychip_stream.errors import PychipError
from pychip_stream.export import EXPORTS
from pychip_stream.export.kinds import ExportKind, ExportSource

from ..work import scratch
from ..work.background import Background, Cancellable
from ..work.recent import Every
from .components import Downloads

KINDS = tuple(kind for kind in EXPORTS if kind.label)
"""What pages offer."""

_SHOWN_S = 0.2
_PIECE_BYTES = 2 << 20
_MOST_BYTES = 2 << 30


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
        self._making: tuple[ExportKind, Cancellable] | None = None
        self._media = ""
        self._made: Path | None = None
        self._sending: BinaryIO | None = None
        self._told: tuple[object, ...] = ()
        self._show = Every(_SHOWN_S)
        self.widget = Downloads(self._on_message, sizing_mode="stretch_width")

    def pull(self, now: float) -> None:
        """Tell how far it is."""
        if self._making is not None and self._show.due(now):
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
            self._send()
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
        progress = Cancellable()

        def work() -> Path:
            folder = scratch.folder("export")
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
        self._sending = made.open("rb")
        self._tell("busy", f"sending {made.name}", None)
        self._send(first=True)

    def _send(self, *, first: bool = False) -> None:
        """Send the next piece; an empty file is one piece."""
        file, made = self._sending, self._made
        if file is None or made is None:
            return
        data = file.read(_PIECE_BYTES)
        if not (data or first):
            return  # all is sent
        self.widget.send(
            type="piece", content=data, first=first, last=file.tell() >= made.stat().st_size,
            name=made.name, media=self._media,
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


def write_export(kind: ExportKind, source: ExportSource, folder: Path, progress: Progress) -> Path:
    """Make a file in a folder.

    Raises
    ------
    PychipError
        If it cannot be made, was cancelled, or is too large for a browser.
    """
    path = folder / f"{source.run.path.stem}{kind.suffix}"
    kind.make(source, path, progress)
    progress(1, 1)
    if path.stat().st_size > _MOST_BYTES:
        raise PychipError(
            f"{path.name} has {path.stat().st_size / 2**30:.1f} GiB, too much for a browser; "
            "use `pychip-stream export` on the machine with the archive"
        )
    return path
