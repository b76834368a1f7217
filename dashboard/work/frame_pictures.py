"""Frame view: a canvas that shows shots, one in flight, with crops as recorded when zoomed in."""

import io
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pychip_stream.archive.run import Run, open_run
from pychip_stream.config import Config
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import UNKNOWN, UNKNOWN_COLOR
from pychip_stream.errors import ArchiveError, FrameError
from pychip_stream.wire.messages import Live

from ..parts.components import ChipCanvas
from .background import Later
from .state import RunState, Shot
from .workbench import Key, Studio

VIEW_PX = 1024
"""Longest edge of a picture sent to a browser."""
_QUALITY = 85


def to_jpeg(
    pixels: npt.NDArray[np.generic], normalization: Normalization | None, edge: int = VIEW_PX
) -> tuple[bytes, tuple[int, int]]:
    """Encode a frame, or a part of it, for the screen.

    Parameters
    ----------
    pixels
        (H, W) counts.
    normalization
        Of the run, so that an empty frame looks empty; None: the frame's own percentiles.
    edge
        Longest edge of the picture in pixels; larger frames are averaged down.

    Returns
    -------
    The JPEG, and its height and width.
    """
    factor = max(max(pixels.shape) // edge, 1)
    if factor > 1:
        pixels = _averaged(pixels, factor)
    scale = normalization or Normalization.from_percentiles(pixels)
    values = scale.apply(pixels)
    grey = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    picture = Image.fromarray(grey)
    longest = max(picture.size)
    if longest > edge:
        size = (
            max(round(picture.width * edge / longest), 1),
            max(round(picture.height * edge / longest), 1),
        )
        picture = picture.resize(size, Image.Resampling.BOX)
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=_QUALITY)
    return target.getvalue(), (picture.height, picture.width)


def crop_jpeg(
    pixels: npt.NDArray[np.generic],
    normalization: Normalization | None,
    rect: tuple[int, int, int, int],
) -> bytes:
    """Encode the part (left, top, right, bottom) of a frame as it was recorded.

    The grey values are those of the whole frame's picture.
    """
    left, top, right, bottom = rect
    scale = normalization or Normalization.from_percentiles(pixels)
    return to_jpeg(pixels[top:bottom, left:right], scale, edge=2 * VIEW_PX)[0]


def checked_rect(rect: object, shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Whole pixels of a part of a frame that a browser asks for; None where that is nonsense."""
    if not isinstance(rect, list) or len(rect) != 4:
        return None
    try:
        left, top, right, bottom = (int(v) for v in rect)
    except (TypeError, ValueError, OverflowError):
        return None
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, shape[1]), min(bottom, shape[0])
    return (left, top, right, bottom) if right > left and bottom > top else None


def _averaged(pixels: npt.NDArray[np.generic], factor: int) -> npt.NDArray[np.float32]:
    """(H/factor, W/factor) mean of squares; a remainder at the edges is left out."""
    height, width = (n // factor * factor for n in pixels.shape)
    squares = pixels[:height, :width].reshape(height // factor, factor, width // factor, factor)
    return np.asarray(squares.mean(axis=(1, 3), dtype=np.float32))


class PastFrames:
    """Looks frames up; one thread at a time reads the archive."""

    def __init__(self, config: Config, run: RunState, studio: Studio) -> None:
        self._path: Path = config.run_path
        self._run = run
        self._studio = studio
        self._lock = threading.Lock()
        self._archive: Run | None = None
        self._numbers: dict[Key, int] = {}

    def shot(self, key: Key) -> Shot:
        """Make a shot of a frame; its picture is empty where the file is gone.

        Raises
        ------
        ArchiveError
            If nothing is known of it.
        """
        recent = self._run.recent(key)
        if recent is None:
            with self._lock:
                recent = self._archived(key)
        try:
            frame = self._studio.frame(key)
            scale = self._studio.scale_of(recent.live.support_version)
            jpeg, _ = to_jpeg(frame.pixels, scale)
        except FrameError:
            jpeg = b""
        return Shot(0, recent.live, recent.label_map, recent.intervals, jpeg)

    def _archived(self, key: Key) -> Shot:
        if self._archive is None:
            self._archive = open_run(self._path)
        elif key not in self._numbers:
            self._archive.refresh()
            self._numbers = {}
        run = self._archive
        if not self._numbers:
            table = run.fractions
            places = zip(table["path"], table["index"], strict=True)
            self._numbers = {(str(p), int(i)): n for n, (p, i) in enumerate(places)}
        number = self._numbers.get(key)
        if number is None:
            raise ArchiveError(f"{key[0]}: is not in the archive yet; try again in a moment")
        result = run.result(number)
        row = run.frames[run.frames["frame"] == number].iloc[0]
        size = float(row["pixel_size"])
        live = Live(
            frame=FrameRef(path=key[0], index=key[1], time=run.start + float(row["time_s"])),
            names=result.names,
            colors=tuple(run.colors[n] for n in result.names),
            support_version=result.support_version,
            chip_size=(int(row["chip_width"]), int(row["chip_height"])),
            shape=(int(row["height"]), int(row["width"])),
            status="ok",
            pixel_size=size if np.isfinite(size) and size > 0 else None,
            unit=str(row["unit"]) or None,
        )
        return Shot(0, live, result.label_map, result.intervals)


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
