"""Guarded reading: files of others are looked at and read in a process of their own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from pychip_stream.config import WatchConfig
from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.domain.pixel_size import by_hand
from pychip_stream.errors import FrameLostError, GuardError
from pychip_stream.formats import reading
from pychip_stream.formats.reading import IN_MEMORY, MAX_BYTES, Contents
from pychip_stream.guard import Guard, Limits

PATIENCE_S = 30.0
"""Seconds that a look at a file may take unless a configuration says otherwise."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_SLOWEST = 4 << 20


class GuardedReader:
    """Reads files in a process of its own: one that hangs it, crashes it or swells it costs itself.

    Threads may share a reader; they wait for each other.

    Parameters
    ----------
    max_bytes
        Memory that one frame may need, as for `read_frame`; the process gets twice that and some.
    patience_s
        A look at a file may take so long, and a second more for each 4 MiB of the file.
    detector
        As `read_frame` takes it.
    pixel_size
        Of every frame, by hand, as `by_hand` reads it; empty: what the files say.

    Notes
    -----
    The methods are the functions of `reading` with the same names. They raise FrameLostError
    beside what those raise.
    """

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        patience_s: float = PATIENCE_S,
        detector: str = "",
        pixel_size: str = "",
    ) -> None:
        self._max_bytes = max_bytes
        self._detector = detector
        self.pixel_size = pixel_size
        self._patience_s = patience_s
        self._guard = Guard((reading.__name__,))

    @classmethod
    def of(cls, watch: WatchConfig) -> Self:
        """Make one as a configuration wants it."""
        return cls(watch.max_frame_bytes, watch.patience_s, watch.detector, watch.pixel_size)

    def contents(self, path: str | Path, size: int | None = None, final: bool = False) -> Contents:
        """Look for the frames of a file."""
        return self._call(path, reading.contents, path, size, final, detector=self._detector)

    def own_time(self, path: str | Path) -> Stamp | None:
        """Ask a file when its first frame was taken."""
        return self._call(path, reading.own_time, path)

    def read_frame(self, path: str | Path, index: int = 0, detector: str | None = None) -> Frame:
        """Read one frame; of another detector where one is given."""
        limit, detector = self._max_bytes, self._detector if detector is None else detector
        frame = self._call(
            path, reading.read_frame, path, index, max_bytes=limit, detector=detector
        )
        return self.sized(frame)

    def read_checked(
        self, path: str | Path, index: int, size: int, mtime_ns: int
    ) -> tuple[Frame, str]:
        """Read one frame of exactly the revision that was meant."""
        frame, digest = self._call(
            path, reading.read_checked, path, index, size, mtime_ns,
            max_bytes=self._max_bytes, detector=self._detector,
        )  # fmt: skip
        return self.sized(frame), digest

    def sized(self, frame: Frame) -> Frame:
        """Give a frame, read by whomever, the pixel size that was given by hand."""
        if not self.pixel_size:
            return frame
        size, unit = by_hand(self.pixel_size)
        told = {**frame.metadata, "pixel_size_from": "hand"}
        if frame.pixel_size is not None and "pixel_size_from" not in frame.metadata:
            told["pixel_size_of_file"] = f"{frame.pixel_size:.12g} {frame.unit}"
        return replace(frame, pixel_size=size, unit=unit, pixel_ratio=1.0, metadata=told)

    def frame_hashes(
        self, path: str | Path, size: int, mtime_ns: int, indices: Sequence[int]
    ) -> dict[int, str]:
        """Hash frames of exactly the revision that was meant."""
        return self._call(
            path, reading.frame_hashes, path, size, mtime_ns, indices, detector=self._detector
        )

    def start(self) -> None:
        """Let the process start, so that the first file finds it ready."""
        self._guard.start()

    def close(self) -> None:
        """End the process; another call starts one again."""
        self._guard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(
        self, path: str | Path, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        try:
            size = min(Path(path).stat().st_size, self._max_bytes)
        except (OSError, ValueError):
            size = 0  # the reader will say what is wrong
        limits = Limits(self._patience_s + size / _SLOWEST, 2 * self._max_bytes + IN_MEMORY)
        try:
            return self._guard.call(limits, work, *args, **kwargs)
        except GuardError as error:
            raise FrameLostError(
                f"{path}: {error} while it was read; it is damaged, or too large for this machine"
            ) from error
