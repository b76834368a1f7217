"""Replay: real files, stored again at a rate as if they were being acquired."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from pychip_stream.acquisition import series
from pychip_stream.domain.frames import natural
from pychip_stream.errors import UsageError
from pychip_stream.formats import reading
from pychip_stream.sim.storage import Delivery, MakeStorage, Storage, play


class Replay:
    """Copies the frames of a folder into an acquisition folder, in order of time.

    Parameters
    ----------
    source
        Folder of frames; its layout is kept.
    out
        Acquisition folder; made if it is not there.
    rate_hz
        Files per second.
    files
        End after this many; None: all.
    storage
        How files are put into the acquisition folder; default: without faults.

    Raises
    ------
    UsageError
        If there is nothing to replay, or `out` lies in the folder or holds such a file already.
    """

    def __init__(
        self,
        source: Path,
        out: Path,
        rate_hz: float = 2.0,
        *,
        files: int | None = None,
        storage: MakeStorage = Storage,
    ) -> None:
        if not 0 < rate_hz <= 10_000:
            raise UsageError(f"rate {rate_hz:g}: choose frames per second above 0, up to 10000")
        if not source.is_dir():
            raise UsageError(f"{source}: is no folder; give the folder to replay")
        if out.resolve().is_relative_to(source.resolve()):
            raise UsageError(f"{out}: lies in the folder that is replayed; choose another")
        self._source, self._rate = source, float(rate_hz)
        self._paths = in_order_of_time(source)[:files]
        if not self._paths:
            raise UsageError(f"{source}: holds no frames (dm3, dm4, tif, tiff, png, …)")
        taken = next((path for path in self._paths if (out / path).exists()), None)
        if taken is not None:
            raise UsageError(f"{out / taken}: is there already; choose another folder")
        out.mkdir(parents=True, exist_ok=True)
        self._storage = storage(out, None)

    def __len__(self) -> int:
        return len(self._paths)

    def run(
        self,
        stop: threading.Event | None = None,
        on_file: Callable[[Delivery], None] | None = None,
    ) -> int:
        """Store all files, or until `stop` is set.

        Returns
        -------
        Number of files stored.

        Raises
        ------
        OSError
            If a file cannot be read or written.
        """
        done = 0

        def count(delivery: Delivery) -> None:
            nonlocal done
            done += 1
            if on_file is not None:
                on_file(delivery)

        play(self.deliveries(), self._storage, stop or threading.Event(), count)
        return done

    def deliveries(self) -> Iterator[Delivery]:
        """Read the files one at a time, as fast as they are asked for."""
        for number, path in enumerate(self._paths):
            data = (self._source / path).read_bytes()
            yield Delivery(number, path, data, due_s=number / self._rate)


def in_order_of_time(folder: Path) -> list[str]:
    """Find the frames below a folder, oldest first.

    Returns
    -------
    Paths relative to `folder`, with forward slashes. In-situ series are ordered by their names,
    which tell the time to the frame; anything else by the time of the last change, and names
    (numbers by value) where that is the same, as in a copy.
    """
    found = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if reading.is_frame_name(path.name)
        and not any(reading.is_left_alone(part) for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    moments = {path: series.parse(path) for path in found}
    if all(moment is not None for moment in moments.values()):
        return sorted(found, key=lambda path: (moments[path], path))
    return sorted(found, key=lambda path: ((folder / path).stat().st_mtime_ns, natural(path)))
