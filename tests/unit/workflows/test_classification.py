"""Which files a batch holds, and what their names are relative to."""

import sys
from pathlib import PureWindowsPath

import pytest

from pychip_stream.errors import UsageError
from pychip_stream.workflows.classification import Batch, common_folder


@pytest.fixture
def frames(tmp_path):
    for name in ("practice/Hour_00/a.tif", "practice/Hour_00/b.tif", "other/deep/c.tif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path.resolve()


def test_the_root_is_the_folder_that_was_given(frames):
    batch = Batch.of([frames / "practice"])
    assert batch.root == frames / "practice"
    assert [p.relative_to(batch.root).as_posix() for p in batch.paths] == [
        "Hour_00/a.tif", "Hour_00/b.tif",
    ]  # fmt: skip


def test_several_have_their_common_folder_as_root(frames):
    assert Batch.of([frames / "practice", frames / "other"]).root == frames
    assert Batch.of([frames / "practice", frames / "practice/Hour_00"]).root == frames / "practice"
    assert Batch.of([frames / "practice/Hour_00/a.tif"]).root == frames / "practice/Hour_00"
    files = [frames / "practice/Hour_00/a.tif", frames / "practice/Hour_00/b.tif"]
    assert Batch.of(files).root == frames / "practice/Hour_00"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_that_lead_out_widen_the_root(frames):
    (frames / "practice" / "linked.tif").symlink_to(frames / "other/deep/c.tif")
    batch = Batch.of([frames / "practice"])
    assert batch.root == frames
    assert frames / "other/deep/c.tif" in batch.paths


@pytest.mark.parametrize("other", ["D:/b", "//server/share/b"])
def test_two_drives_have_nothing_in_common(other):
    with pytest.raises(UsageError, match="two drives"):
        common_folder({PureWindowsPath("C:/a"), PureWindowsPath(other)})
    same = {PureWindowsPath("C:/a/b"), PureWindowsPath("c:/A/d")}
    assert common_folder(same) == PureWindowsPath("C:/a")
