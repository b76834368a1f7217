"""Frame view: a canvas that shows shots, one in flight, with crops as recorded when zoomed in."""

import time
from collections.abc import Callable
from typing import Any

from pychip_stream.domain.support import UNKNOWN, UNKNOWN_COLOR

from .components import ChipCanvas
from .later import Later
from .pictures import checked_rect, crop_jpeg
from .state import Shot
from .studio import Studio

_LOST_ACK_S = 3.0


class FrameView:
    """Sends whole shots to one browser's canvas; for the live page and for reviews.

    Parameters
    ----------
    truth_of
        True fractions of a shot, where they are known.
    """

    def __init__(self, studio: Studio, truth_of: Callable[[Shot], dict[str, float]]) -> None:
        self._studio = studio
        self._truth_of = truth_of
        self._seq = 0
        self._sent_at = 0.0
        self._in_flight = False
        self._later = Later(lambda _text: self._on_crop(None), shared=studio.frames)
        self._cropping = False
        self.shot: Shot | None = None
        self.painted: tuple[Shot, float] | None = None
        self.canvas = ChipCanvas(self._on_message, sizing_mode="stretch_width")

    def free(self, now: float) -> bool:
        """Whether the browser has painted what it was sent (or has forgotten it)."""
        return not self._in_flight or now - self._sent_at > _LOST_ACK_S

    def show(self, shot: Shot, now: float, note: str = "") -> None:
        """Send a shot."""
        self.shot = shot
        self._seq += 1
        self._sent_at, self._in_flight = now, True
        self.canvas.send(**frame_message(shot, self._truth_of(shot), self._seq, note))

    def close(self) -> None:
        """Send no crop any more."""
        self._later.close()

    def _on_message(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self._in_flight = False
            if self.shot is not None:
                self.show(self.shot, time.monotonic())
        elif kind == "painted" and message.get("seq") == self._seq:
            self._in_flight = False
            if self.shot is not None:
                self.painted = (self.shot, time.time())
        elif kind == "crop" and message.get("seq") == self._seq:
            self._ask_crop(message.get("rect"))

    def _ask_crop(self, asked: object) -> None:
        shot = self.shot
        rect = checked_rect(asked, shot.live.shape) if shot is not None else None
        if shot is None or rect is None or self._cropping:
            return
        studio, seq = self._studio, self._seq

        def work() -> dict[str, Any]:
            frame = studio.frame((shot.live.frame.path, shot.live.frame.index))
            scale = studio.scale_of(shot.live.support_version)
            jpeg = crop_jpeg(frame.pixels, scale, rect)
            return {"type": "crop", "seq": seq, "rect": list(rect), "jpeg": jpeg}

        self._cropping = True
        self._later.do(work, self._on_crop)

    def _on_crop(self, message: dict[str, Any] | None) -> None:
        """Send a crop; without one the picture stays as coarse as it is."""
        self._cropping = False
        if message is not None:
            self.canvas.send(**message)


def frame_message(shot: Shot, truth: dict[str, float], seq: int, note: str = "") -> dict[str, Any]:
    """Turn a shot into what the canvas wants."""
    live = shot.live
    names = (*live.names, UNKNOWN)
    colors = (*live.colors, UNKNOWN_COLOR)
    bars = [
        {
            "name": name,
            "color": color,
            "value": float(value),
            "low": float(low),
            "high": float(high),
            "truth": truth.get(name),
        }
        for name, color, (value, low, high) in zip(names, colors, shot.intervals, strict=True)
    ]
    words = ", ".join(f"{b['name']} {b['value']:.0%}" for b in bars)
    return {
        "type": "frame",
        "seq": seq,
        "jpeg": shot.jpeg,
        "shape": list(live.shape),
        "chip": list(live.chip_size),
        "grid": list(shot.label_map.shape),
        "labels": shot.label_map.tobytes(),
        "palette": [{"name": n, "color": c} for n, c in zip(names, colors, strict=True)],
        "pixel_size": live.pixel_size,
        "unit": live.unit,
        "bars": bars,
        "caption": note + live.frame.path + (f" #{live.frame.index}" if live.frame.index else ""),
        "alt": f"frame {live.frame.path}: {words}",
    }
