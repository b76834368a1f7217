"""Past: any classified frame of the run, from memory while it is fresh, else from the archive."""

import threading
from pathlib import Path

import numpy as np

from pychip_stream.archive.reader import Run, open_run
from pychip_stream.config import Config
from pychip_stream.errors import ArchiveError, FrameError
from pychip_stream.wire.messages import FrameRef, Live

from .pictures import to_jpeg
from .state import RunState, Shot
from .studio import Key, Studio


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
