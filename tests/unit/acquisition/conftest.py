"""Folders and watches for the tests of ingest."""

import threading

import pytest

from pychip_stream.acquisition.watch import FolderWatch
from pychip_stream.acquisition.writers import being_written
from pychip_stream.config import WatchConfig
from tests.support.material import Sightings


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "acquisition"
    folder.mkdir()
    return folder


@pytest.fixture
def told_of_writers(tmp_path):
    """Skip where the system does not tell of writers."""
    (tmp_path / "asked").touch()
    if being_written(tmp_path / "asked") is None:
        pytest.skip("this system or file system does not tell who writes a file")


@pytest.fixture
def watch(root):
    """Make and start watches with short times; all are stopped at the end."""
    made = []

    def make(folder=root, *, start=True, **options):
        times = {"quiet_s": 0.3, "scan_s": 0.05, "reconcile_s": 0.3, "incomplete_s": 60.0}
        one = FolderWatch(WatchConfig(root=folder, **(times | options)))
        made.append(one)
        if start:
            one.start()
        return Sightings(one)

    yield make
    for one in made:
        one.stop()
    assert not [t for t in threading.enumerate() if t.name == "folder-watch"]
