"""Frame view: a canvas with one picture on its way, and crops as recorded when zoomed in."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pychip_stream.export.pictures import Rect

from ..work.background import Background
from ..work.display import Contrast
from ..work.frame_pictures import FramePicture, checked_rect
from .components import ChipCanvas, Handler

_LOST_ACK_S = 3.0


class FrameView:
    """Shows pictures on one browser's canvas.

    Parameters
    ----------
    crop
        Makes the JPEG of a part of a picture's frame, on a thread; empty where it cannot.
    on_message
        Told what the browser says besides: ready, painted, picks.
    repaint
        Makes a picture in another contrast, on a thread.

    Attributes
    ----------
    picture
        What was sent last.
    painted
        What the browser has painted last, and when (seconds since 1970).
    """

    def __init__(
        self,
        background: Background,
        crop: Callable[[FramePicture, Rect], bytes],
        on_message: Handler = lambda _message: None,
        repaint: Callable[[FramePicture, Contrast], FramePicture] = lambda picture, _contrast: (
            picture
        ),
    ) -> None:
        self._background = background
        self._crop = crop
        self._repaint = repaint
        self._contrast = Contrast()
        self._tell = on_message
        self._seq = 0
        self._sent_at = 0.0
        self._in_flight = False
        self._options: dict[str, Any] = {}
        self._wanted: object = None
        self._blank = ""
        self.picture: FramePicture | None = None
        self._sent: FramePicture | None = None
        self.painted: tuple[FramePicture, float] | None = None
        self.canvas = ChipCanvas(self._on_message, sizing_mode="stretch_width")

    def free(self, now: float) -> bool:
        """Whether the browser has painted what it was sent (or has forgotten it)."""
        return not self._in_flight or now - self._sent_at > _LOST_ACK_S

    def shows(self, seq: object) -> bool:
        """Whether the browser, where it names a picture, means the one that was sent last."""
        return seq == self._seq

    def lock(self) -> None:
        """Let no chip be chosen on what the canvas shows."""
        self.canvas.send(type="picks", classes=[], picks=[], echo=0, locked=True)

    def show(self, picture: FramePicture, **options: Any) -> None:
        """Send a picture; for the options see `FramePicture.message`."""
        self.picture, self._options = picture, options
        self._wanted = None
        self._seq += 1
        self._sent_at, self._in_flight = time.monotonic(), True
        seq, contrast = self._seq, self._contrast
        if contrast == Contrast() or not picture.jpeg:
            self._send(seq, picture)
            return
        self._background.do(
            lambda: self._repaint(picture, contrast),
            lambda painted: self._send(seq, painted),
            failed=lambda _text: self._send(seq, picture),
        )

    def _send(self, seq: int, picture: FramePicture) -> None:
        if seq == self._seq and self.picture is not None:
            self._sent = picture
            self.canvas.send(**picture.message(seq, **self._options))

    def blank(self, text: str) -> None:
        """Show a text in place of a picture."""
        self.picture, self._sent, self._blank = None, None, text
        empty = FramePicture(key=("", 0), shape=(1, 1), title=text).message(self._seq)
        self.canvas.send(**empty | {"note": text, "caption": "", "labels": b"", "grid": [1, 1]})

    def _on_message(self, message: dict[str, Any]) -> None:
        kind, current = message["type"], message.get("seq") == self._seq
        picture = self.picture
        if kind == "ready" and picture is not None:
            self.show(picture, **self._options)
        elif kind == "ready" and self._blank:
            self.blank(self._blank)
        elif kind == "painted" and current and picture is not None:
            self._in_flight = False
            self.painted = (picture, time.time())
        elif kind == "crop":
            if current and self._sent is not None:
                self._send_crop(self._sent, message.get("rect"))
            return
        elif kind == "contrast":
            self._contrast = Contrast.asked(message)
            if picture is not None:
                self._send_grey(picture)
            return
        self._tell(message)

    def _send_grey(self, picture: FramePicture) -> None:
        """Send the picture in the contrast that is wanted now; what lies over it stays."""
        seq, contrast = self._seq, self._contrast

        def send(painted: FramePicture) -> None:
            if seq == self._seq and contrast == self._contrast and self.picture is not None:
                self._sent = painted
                grey = None if painted.grey is None else painted.grey._asdict()
                self.canvas.send(type="picture", seq=seq, jpeg=painted.jpeg, grey=grey)

        self._background.do(lambda: self._repaint(picture, contrast), send)

    def _send_crop(self, picture: FramePicture, asked: object) -> None:
        rect, seq = checked_rect(asked, picture.shape), self._seq
        if rect is None:
            return

        def send(jpeg: bytes) -> None:
            if jpeg:
                self.canvas.send(type="crop", seq=seq, rect=list(rect), jpeg=jpeg)
            go_on()

        def go_on(_text: str = "") -> None:
            """Send what was asked for last meanwhile; what cannot be cut stays coarse."""
            wanted, self._wanted = self._wanted, None
            if wanted is not None and self._sent is not None:
                self._send_crop(self._sent, wanted)

        work = partial(self._crop, picture, rect)
        if not self._background.do(work, send, failed=go_on, slot="crop"):
            self._wanted = asked
