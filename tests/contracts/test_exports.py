"""What every kind of export must do, and how another package adds one."""

from dataclasses import replace

import numpy as np
import pytest

from pychip_stream.archive.run import open_run
from pychip_stream.errors import ArchiveError, PychipError
from pychip_stream.export import EXPORTS
from pychip_stream.export.kinds import ExportSource
from tests.contracts.outside import install, tell
from tests.support.archive_samples import make_run

OUTSIDE = """
from pychip_stream.archive.disk import writing
from pychip_stream.export.kinds import ExportKind

def make(source, path, progress):
    with writing(path) as temporary:
        temporary.write_text(str(len(source.run)))
    progress(1, 1)

KIND = ExportKind("frame_count", "number of frames", ".txt", "text/plain", make, label="count")
"""


@pytest.fixture(params=list(EXPORTS), ids=lambda kind: kind.name)
def kind(request):
    return request.param


@pytest.fixture
def source(tmp_path):
    run = open_run(make_run(tmp_path / "runs", 3))
    return ExportSource(run, lambda *_: np.zeros((50, 70), np.uint16), 1, max_frames=2)


def silent(_done, _total):
    pass


class TestExportKind:
    def test_it_says_what_it_is(self, kind):
        assert kind.meaning
        assert kind.option or kind.label
        assert bool(kind.suffix) == bool(kind.media)
        assert not kind.label or kind.suffix, "a folder cannot be sent to a browser"

    def test_it_is_written_and_nothing_else_is_left(self, kind, source, tmp_path):
        folder = tmp_path / "new"
        target = folder / f"run{kind.suffix}"
        folder.mkdir()
        kind.make(source, target, silent)
        assert list(folder.iterdir()) == [target]
        files = [target] if kind.suffix else list(target.iterdir())
        assert files
        assert all(file.stat().st_size for file in files)
        assert not list(tmp_path.rglob("*.tmp"))

    def test_what_cannot_be_written_is_said(self, kind, source, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises((ArchiveError, OSError), match="file"):
            kind.make(source, tmp_path / "file" / f"run{kind.suffix}", silent)

    def test_cancelled_it_leaves_nothing(self, kind, source, tmp_path):
        def cancel(_done, _total):
            raise PychipError("cancelled")

        folder = tmp_path / "new"
        folder.mkdir()
        try:
            kind.make(source, folder / f"run{kind.suffix}", cancel)
        except PychipError:
            if kind.suffix:
                assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["frames", "as json", ""])
def test_a_name_that_the_command_line_cannot_take_is_refused(name):
    with pytest.raises(ValueError, match="cannot be the name"):
        replace(next(iter(EXPORTS)), name=name)


def test_one_from_outside_is_on_the_command_line_and_the_page(tmp_path):
    there = install(tmp_path / "site", "pychip_stream.exports", "KIND", OUTSIDE)
    run = make_run(tmp_path / "runs", 3)
    script = """
import contextlib, io, json, sys
from dashboard.parts.download_bar import KINDS
from pychip_stream.cli.main import main
out = io.StringIO()
with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
    main(["export", sys.argv[1], "--frame-count", sys.argv[2], "--json"])
labels = [kind.label for kind in KINDS]
print(json.dumps([json.loads(out.getvalue())["frame_count"], labels[-1]]))
"""
    target = tmp_path / "count.txt"
    assert tell(there, script, run, target) == [str(target), "count"]
    assert target.read_text() == "3"
