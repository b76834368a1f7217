"""Stacks that grow, files and folders that are renamed, stacks that are cut: each frame once."""

import contextlib
import re
import time

import mrcfile
import numpy as np
import pytest
import tifffile

from pychip_stream.archive.run import open_run
from pychip_stream.errors import ArchiveUsageError
from pychip_stream.formats.reading import read_frame
from tests.support.chaos import EXACT
from tests.support.stack import Stack, call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]


KILLED = {1: "services.archiver", 2: "services.watcher", 5: "services.inference"}
"""Who ends with which section."""


class Growing:
    """A run that goes on from test to test, the frames of a series, and what is archived of them.

    Attributes
    ----------
    before : int
        Rows, revisions among them, that were archived before the test.
    """

    def __init__(self, folder):
        self.folder = folder
        words = ("--frames", 6, "--size", "128", "--format", "tiff")
        call_json("simulate", folder / "some", *words)
        paths = sorted((folder / "some").rglob("*.tif*"))
        picks = ("--pick", "a=0,0;1,1;2,0", "--pick", "b=3,3;2,2;0,3")
        self.support = folder / "s.h5"
        call_json("support", "make", paths[0], "--chip-size", 32, *picks, "-o", self.support)
        self.pixels = [read_frame(path).pixels for path in paths]
        self.run, self.before = None, 0

    def go_on(self, attempt):
        if self.run is None:
            place, watch = self.folder / f"experiment-{attempt}", {"incomplete_s": 3.0}
            self.run = Stack(place, self.support, encoder=EXACT, watch=watch).start()
            self.before = 0
        if self.run.config.run_path.exists():
            self.before = self.archived()

    def end(self):
        if self.run is not None:
            self.run.kill_all()
        self.run = None

    def wait_archived(self, names, count):
        def there():
            with contextlib.suppress(ArchiveUsageError):  # nothing at all yet
                return len(self.rows(names)[0]) == count

        self.run.listen_for(there, f"{count} frames of {names} are archived")

    def archived(self):
        with open_run(self.run.config.run_path) as archive:
            return archive.archived

    def rows(self, names):
        """Path, index and status of the frames under these names, and their times."""
        with open_run(self.run.config.run_path) as archive:
            table = archive.frames.sort_values(["path", "index"])
        table = table.loc[[bool(re.fullmatch(names, path)) for path in table["path"]]]
        found = table[["path", "index", "status"]].itertuples(index=False)
        return [tuple(row) for row in found], table["time"].tolist()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = Growing(tmp_path_factory.mktemp("growing"))
    yield made
    made.end()


@pytest.fixture
def growing(shared, request):
    failed = request.session.testsfailed
    shared.go_on(failed)
    yield shared
    if request.session.testsfailed > failed:  # what it has left would disturb the next
        shared.end()


def test_each_section_of_a_stack_that_grows_is_analysed_once_whoever_is_killed(growing):
    run, seen = growing.run, []
    for number, page in enumerate(growing.pixels):
        if number == 3:  # it grows while nothing runs
            run.stop()
        tifffile.imwrite(run.root / "a.tif", page, append=number > 0)
        seen.append((run.root / "a.tif").stat().st_mtime)
        if number in KILLED:
            run.service(KILLED[number]).kill()
        if number == 4:
            run.start()
        if number != 3:
            growing.wait_archived("a.tif", number + 1)
    found, times = growing.rows("a.tif")
    assert found == [("a.tif", index, "ok") for index in range(6)]
    assert growing.archived() == growing.before + 6  # and no revision beside them
    seen[3] = seen[4]  # came with the one after it
    assert times == pytest.approx(seen, abs=1e-3)


def test_a_renamed_folder_and_file_count_once(growing):
    run, pixels = growing.run, growing.pixels
    names = ".*/.*|bad.tif|copy.tif|damaged.tif"
    (run.root / "day").mkdir()
    for number, page in enumerate(pixels[:4]):
        tifffile.imwrite(run.root / "day" / f"{number}.tif", page)
    (run.root / "damaged.tif").write_bytes(b"nothing" + (run.root / "day/0.tif").read_bytes())
    growing.wait_archived(names, 5)
    (run.root / "day").rename(run.root / "night")
    (run.root / "night" / "3.tif").rename(run.root / "night" / "three.tif")
    (run.root / "damaged.tif").rename(run.root / "bad.tif")
    wanted = [
        ("bad.tif", 0, "failed"),
        *((f"night/{name}.tif", 0, "ok") for name in (0, 1, 2, "three")),
    ]
    run.listen_for(lambda: growing.rows(names)[0] == wanted, "they have their new names")
    run.stop()
    assert growing.rows(names)[0] == wanted
    (run.root / "night").rename(run.root / "day")  # while nothing runs
    tifffile.imwrite(run.root / "copy.tif", pixels[0])
    wanted = [(path.replace("night", "day"), *rest) for path, *rest in wanted]
    wanted.insert(1, ("copy.tif", 0, "ok"))
    run.start()
    run.listen_for(lambda: growing.rows(names)[0] == wanted, "and their old ones again")


def test_of_a_stack_that_was_cut_the_missing_are_failed_rows(growing):
    run, pixels = growing.run, growing.pixels
    with mrcfile.new(growing.folder / "whole.mrc") as file:
        file.set_data(np.stack(pixels))
    whole = (growing.folder / "whole.mrc").read_bytes()
    (run.root / "a.mrc").write_bytes(whole[: -pixels[0].nbytes - 1])
    begun = time.monotonic()
    growing.wait_archived("a.mrc", 6)
    assert time.monotonic() - begun > 2.0  # it might have grown
    found, _ = growing.rows("a.mrc")
    assert [row[:2] for row in found] == [("a.mrc", n) for n in range(6)]
    assert [row[1] for row in found if row[2] == "failed"] == [4, 5]
    (run.root / "a.mrc").write_bytes(whole)
    whole_rows = [("a.mrc", n, "ok") for n in range(6)]
    run.listen_for(lambda: growing.rows("a.mrc")[0] == whole_rows, "they have come")
    live, _ = growing.rows(".*")
    run.stop()
    assert growing.rows(".*")[0] == live
    assert growing.archived() == growing.before + 8  # what was whole is not done again
