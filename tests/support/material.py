"""Material of the tests of ingest: a frame, how it is written, what is sighted."""

import base64
import gzip
from pathlib import Path

import numpy as np

from pychip_stream.errors import FrameError, FrameIncompleteError, FrameUnreachableError
from pychip_stream.formats.reading import contents
from pychip_stream.sim import dm4
from tests.support.waiting import wait_for

TINY = base64.b64decode(  # a PNG of one grey pixel, quickly judged
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
DATA = Path(__file__).parents[1] / "data"
FRAME = dm4.encode(np.arange(256, dtype=np.uint16).reshape(16, 16))


def hostile_file(name, folder):
    """Put `hang.emd` or `crash.emd` into a folder.

    They were found by changing bytes of a good file at random: reading one of the three frames
    never ends, or ends the process, inside of HDF5 2.0.
    """
    path = folder / name
    path.write_bytes(gzip.decompress((DATA / f"{name}.gz").read_bytes()))
    return path


def state_of(path, size=None):
    """What the structure of a file says: "whole", or why it is not handed on, and its reason."""
    try:
        contents(path, size)
    except FrameUnreachableError as error:
        return "unreachable", str(error)
    except FrameIncompleteError as error:
        return "incomplete", str(error)
    except FrameError as error:
        return "damaged", str(error)
    return "whole", ""


def put(path, data=FRAME):
    """Write a file as most programs do: under its name, in one go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


class Sightings:
    """Collects what a watch sights, by path, and what vanishes."""

    def __init__(self, watch):
        self.watch = watch
        self.all = []
        self.gone = []

    def poll(self, timeout_s=0.05):
        self.all += self.watch.poll(timeout_s)
        self.gone += self.watch.vanished()

    def wait(self, condition, what="", timeout_s=60.0):
        wait_for(
            lambda: self.poll() or condition(),
            lambda: f"{what}, {self.watch.health()}",
            timeout_s=timeout_s,
            pause_s=0.0,
        )

    def wait_paths(self, paths):
        self.wait(lambda: set(paths) <= self.paths, f"{len(set(paths) - self.paths)} files")

    def wait_passes(self, count=2):
        """Wait until the whole tree was looked at again, and all that was found is settled."""
        passes = self.watch.health().passes
        self.wait(lambda: self.watch.health().passes >= passes + count, "passes")
        self.wait(lambda: self.watch.health().pending_count == 0, "settled")
        self.poll()

    def of(self, path):
        return [sighting for sighting in self.all if sighting.frame.path == path]

    @property
    def paths(self):
        return {sighting.frame.path for sighting in self.all}
