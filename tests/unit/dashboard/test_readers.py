"""Files of others: the worst that one can do on the page is to cost itself."""

import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from dashboard.work import scratch
from dashboard.work.opened_run import OpenedRun
from dashboard.work.readers import Readers
from dashboard.work.runs import RunShelf
from dashboard.work.uploads import UploadBench
from dashboard.work.workbench import Workbench
from pychip_stream import config as configuration
from pychip_stream.archive import probe as probing
from pychip_stream.archive.probe import probe
from pychip_stream.archive.support_sets import SupportFolder, support_to_bytes
from pychip_stream.errors import ArchiveError, FrameError, PychipError
from pychip_stream.guard import Limits
from tests.conftest import ROOT
from tests.support.archive_samples import support
from tests.support.run_samples import make_run, write_frame


def hostile(name):
    return gzip.decompress((ROOT / "tests" / "data" / f"{name}.gz").read_bytes())


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(probing, "_LIMITS", Limits(5.0, 1 << 30))
    tree = {"watch": {"root": "acquisition", "patience_s": 5.0}}
    (tmp_path / "acquisition").mkdir()
    return configuration.parse(tree, "test", tmp_path)


@pytest.fixture
def looking(config):
    one = Readers(config)
    yield one
    one.close()


@pytest.mark.parametrize("name", ["hang.emd", "crash.emd"])
def test_an_upload_that_hangs_or_crashes_its_reader_costs_itself(config, tmp_path, name):
    """B18: the page died for everybody, or answered nobody any more."""
    bench = UploadBench(config)
    bench.begin(name, len(hostile(name)))
    bench.add(hostile(name))
    with pytest.raises(PychipError, match=r"took more than|crashed its reader"):
        bench.finish()
    write_frame(tmp_path / "good.tif", 1)
    good = (tmp_path / "good.tif").read_bytes()
    bench.begin("good.tif", len(good))
    bench.add(good)
    assert bench.finish().shape == (50, 70)
    bench.close()


def test_a_frame_of_the_run_that_crashes_its_reader_costs_its_picture(config, tmp_path):
    (tmp_path / "acquisition" / "crash.emd").write_bytes(hostile("crash.emd"))
    write_frame(tmp_path / "acquisition" / "good.tif", 1)
    bench = Workbench(config)
    with pytest.raises(FrameError, match="crashed its reader"):
        bench.picture(("crash.emd", 0))
    assert bench.picture(("good.tif", 0)).shape == (50, 70)
    bench.close()


def test_an_archive_is_looked_at_before_it_is_opened(looking, tmp_path):
    make_run(tmp_path / "runs", tmp_path / "a", 2, "good")
    (tmp_path / "runs" / "odd.h5").write_bytes(hostile("crash.emd"))
    cards = {c.name: c for c in RunShelf([tmp_path / "runs"], tmp_path, looking).look()}
    assert (cards["good"].frames, cards["good"].trouble) == (2, "")
    assert "crashed its reader (SIGSEGV) while it was looked at" in cards["odd"].trouble
    with pytest.raises(ArchiveError, match="is not opened"):
        OpenedRun(tmp_path / "runs" / "odd.h5", tmp_path, readers=looking)


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ({}, True),
        ({"users": "users.json"}, False),
        ({"trusted_network": True}, False),
        ({"users": "users.json", "frames": ["elsewhere"]}, True),
    ],
)
def test_an_archive_shows_others_no_folder_that_nobody_named(config, tmp_path, page, shown):
    """An archive names the folder of its frames, which may be that of anybody's pictures."""
    tree = {"watch": {"root": "acquisition"}, "dashboard": page}
    readers = Readers(configuration.parse(tree, "test", tmp_path))
    run = make_run(tmp_path / "runs", tmp_path / "elsewhere" / "a", 2, "odd")
    opened = OpenedRun(run, tmp_path / "acquisition", readers=readers)
    assert opened.run.root == tmp_path / "elsewhere" / "a"
    assert bool(opened.picture(0).jpeg) == shown
    (card,) = RunShelf([run], tmp_path / "acquisition", readers).look()
    assert card.frames == 2
    bare = RunShelf([run], tmp_path / "acquisition").look()[0].preview
    assert bool(card.preview == bare) == shown
    assert bool(opened.pixel_reader()(*opened.keys[0]) is not None) == shown  # exports
    readers.close()


def test_the_frames_of_this_run_and_those_beside_an_archive_are_shown(config, tmp_path):
    tree = {"watch": {"root": "acquisition"}, "dashboard": {"users": "users.json"}}
    readers = Readers(configuration.parse(tree, "test", tmp_path))
    for root in (tmp_path / "acquisition" / "a", tmp_path / "runs" / "frames"):
        run = make_run(tmp_path / "runs", root, 2, root.name)
        assert OpenedRun(run, tmp_path / "none", readers=readers).picture(0).jpeg
    (tmp_path / "secret").mkdir()
    write_frame(tmp_path / "secret" / "x.tif", 1)
    first = OpenedRun(run, tmp_path / "none", readers=readers).keys[0][0]
    (root / first).unlink()
    (root / first).symlink_to(tmp_path / "secret" / "x.tif")
    assert not OpenedRun(run, tmp_path / "none", readers=readers).picture(0).jpeg
    readers.close()


def test_a_support_set_is_looked_at_before_it_is_opened(config, tmp_path):
    bench = Workbench(config)
    made = support(seed=1)
    SupportFolder(config.support.folder).add(made.version, support_to_bytes(made))
    assert bench.sets.support(made.version).version == made.version
    bench.sets.folder.path("0" * 32).write_bytes(hostile("crash.emd"))
    with pytest.raises(ArchiveError, match="is not opened"):
        bench.sets.support("0" * 32)
    bench.close()


def test_a_file_is_looked_through_once_for_each_revision(looking, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(looking._guard, "call", lambda *_args: calls.append(1))
    path = tmp_path / "a.h5"
    path.write_bytes(b"one")
    for _ in range(3):
        looking.check(path)
    path.write_bytes(b"another")
    looking.check(path)
    looking.check(tmp_path / "none.h5")
    assert len(calls) == 2


def test_the_probe_reads_attributes_small_things_and_both_ends_of_large_ones(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["small"] = np.arange(10)
        file["group/large"] = np.zeros((4 << 20, 8), np.uint8)
        file["group/text"] = "text"
        file["again"] = file["group"]
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
        file.attrs["note"] = "x"
    read = []
    real = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__",
        lambda self, key: (read.append((self.name, key)), real(self, key))[1],
    )  # fmt: skip
    probe(path)
    assert sorted(name.rpartition("/")[2] for name, _ in read) == ["large", "large", "small"]
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ArchiveError, match=r"a\.h5"):
        probe(path)


DIE = """
import os, sys, tempfile
from dashboard.work import scratch
place = scratch.folder("upload")
(place / "secret.tif").write_bytes(b"secret")
print(place, flush=True)
sys.stdin.readline()
os._exit(9)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(scratch, "_own", None)
    return place


def test_what_a_dead_page_left_goes_at_the_next_start(temporary):
    """W17: uploaded files stayed for ever."""
    environment = os.environ | {"TMPDIR": str(temporary), "TEMP": str(temporary)}
    page = subprocess.Popen(
        [sys.executable, "-c", DIE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=environment, cwd=ROOT, text=True,
    )  # fmt: skip
    place = Path(page.stdout.readline().strip())
    assert (place / "secret.tif").exists()
    scratch.sweep()
    assert place.exists()  # its page lives
    page.communicate("\n")
    scratch.sweep()
    assert list(temporary.iterdir()) == []


def test_what_is_young_or_nobodys_folder_is_left_alone(temporary):
    mine = scratch.folder("export")
    begun = temporary / "pychip-stream-page-begun"
    begun.mkdir()
    old = temporary / "pychip-stream-page-old"
    old.mkdir()
    os.utime(old, (time.time() - 3600,) * 2)
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    if sys.platform != "win32":
        (temporary / "pychip-stream-page-link").symlink_to(elsewhere)
    scratch.sweep()
    assert mine.exists()
    assert begun.exists()
    assert elsewhere.exists()
    assert not old.exists()
    assert scratch.folder("upload").parent == mine.parent
