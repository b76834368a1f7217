"""Runs that are written once and copied: to write one takes longer than most tests of it."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import h5py

from pychip_stream.archive import hdf, layout


@functools.cache
def _home():
    home = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


@functools.cache
def _written(write, *facts):
    folder = Path(tempfile.mkdtemp(dir=_home()), "made")
    write(folder, *facts)
    return folder


def put(folder, write, *facts, root=None):
    """Lay what `write(another folder, *facts)` writes into a folder.

    A run then says that its frames lie in `root`; copies share what identifies the run.
    """
    before = set(folder.rglob("*.h5"))
    shutil.copytree(_written(write, *facts), folder, dirs_exist_ok=True)
    for path in set(folder.rglob("*.h5")) - before if root else ():
        with h5py.File(path, "r+") as file:
            for session in file.get(f"{layout.ENTRY}/{layout.SESSIONS}", {}).values():
                del session["root"]
                hdf.write_text(session, "root", str(root))
