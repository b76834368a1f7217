"""Repair of archives of the past."""

import h5py
import numpy as np
import pytest

from pychip_stream.archive import blocks
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.repair import repair_run
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import ArchiveError
from tests.support.archive_samples import fill, make_run, pieces, result, support
from tests.support.failing_disks import QuickDisk
from tests.unit.archive.test_damage import DAMAGE, damaged, flip, numbered, segments, start

COUNT = 11


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """A closed run with a second scoring; its arrays lie in many small chunks."""
    from pychip_stream.archive.scorings import add_scoring

    monkeypatch.setattr(blocks, "_chunk", lambda count, *_: min(count, 8))
    made = start(tmp_path)
    fill(made, [numbered(n) for n in range(COUNT)])
    made.close()
    path, other = tmp_path / "run.h5", support(seed=7)
    results = [result(500 + n, version=other.version) for n in range(COUNT)]
    add_scoring(path, other, np.arange(COUNT), pieces(results), default=False)
    return merge_scorings(path), other.version


def names(frames):
    return [path for path, _ in frames]


def test_a_whole_archive_stays_as_it_is(closed):
    path, _ = closed
    before = path.read_bytes()
    found = repair_run(path)
    assert (found.kept, found.files, found.lost) == (COUNT, [], [])
    assert path.read_bytes() == before


def test_labels_that_are_damaged_are_lost_and_named(closed, tmp_path):
    path, other = closed
    flip(path, "entry/scorings/acquired/label_map", 3, chunk=0)
    with pytest.raises(ArchiveError, match="verify RUN --repair"):
        list(open_run(path).result_blocks(()))
    found = repair_run(path)
    assert found.files == ["run.h5"]
    assert 1 <= len(found.lost) < COUNT
    assert found.kept == COUNT - len(found.lost)
    assert damaged(tmp_path) == ["run.h5.damaged"]
    with open_run(path) as run:
        shown = run.frames["path"].tolist()
        assert set(shown) == {numbered(n).frame.path for n in range(COUNT)} - set(names(found.lost))
        for i, name in enumerate(shown):
            n = int(name[-10:-4])
            assert (run.label_map(i) == result(n).label_map).all()
            assert np.array_equal(run.embeddings(i), numbered(n).embeddings)
            again = run.with_scoring(other).label_map(i)
            assert (again == result(500 + n).label_map).all()
    assert repair_run(path).files == []


def test_embeddings_that_are_damaged_cost_no_label(closed):
    path, _ = closed
    flip(path, "entry/embeddings/encoder_0/values", 3, chunk=1)
    found = repair_run(path)
    assert found.lost == []
    assert 1 <= len(found.unembedded) < COUNT
    with open_run(path) as run:
        assert run.count == COUNT
        kept = {run.fractions["path"][n] for numbers in run.embedded.values() for n in numbers}
        wanted = {numbered(n).frame.path for n in range(COUNT)}
        assert kept == wanted - set(names(found.unembedded))


def test_another_scoring_that_is_damaged_costs_itself(closed):
    path, other = closed
    flip(path, f"entry/scorings/{other}/label_map", 3, chunk=0)
    found = repair_run(path)
    assert found.lost == []
    assert found.scorings.keys() == {other}
    with open_run(path) as run:
        assert run.count == COUNT
        assert len(run.with_scoring(other).covered) == COUNT - found.scorings[other]


def test_a_column_that_is_damaged_is_not_known_any_more(closed):
    path, _ = closed
    with h5py.File(path, "r+") as file:
        file["entry/frames/height"][3] = 7
    found = repair_run(path)
    assert (found.columns, found.lost) == (["height"], [])
    with open_run(path) as run:
        assert run.frames["height"].tolist() == [0] * COUNT
        assert run.frames["width"].tolist() != [0] * COUNT


def test_a_support_set_that_is_damaged_is_named(closed):
    path, other = closed
    with h5py.File(path, "r+") as file:
        file[f"entry/support_sets/{other}/chips/position"][0] = 99
    found = repair_run(path)
    assert found.supports == [other]
    with open_run(path) as run:
        assert run.count == COUNT
        assert other not in run.support_versions


@pytest.mark.parametrize("harm", ["cut", "zeros"])
def test_an_archive_of_which_nothing_is_left_stays_as_it_is(closed, harm):
    path, _ = closed
    DAMAGE[harm](path)
    before = path.read_bytes()
    with pytest.raises(ArchiveError, match=r"run\.h5: is"):
        repair_run(path)
    assert path.read_bytes() == before
    assert damaged(path.parent) == []


def test_which_frames_it_holds_must_be_known(closed):
    path, _ = closed
    with h5py.File(path, "r+") as file:
        file["entry/frames/path"][2] = "elsewhere"
    with pytest.raises(ArchiveError, match="bring back a copy"):
        repair_run(path)
    assert damaged(path.parent) == []


@pytest.mark.parametrize("harm", ["embeddings", "label map", "sizes", "paths", "cut"])
def test_a_run_that_was_never_closed(tmp_path, harm):
    make_run(tmp_path, COUNT, close=False)
    victim = segments(tmp_path)[1]
    DAMAGE[harm](victim)
    found = repair_run(tmp_path / "run")
    assert found.files == [victim.name]
    assert damaged(tmp_path) == [f"{victim.name}.damaged"]
    with open_run(tmp_path / "run") as run:
        assert run.live
        assert len(run) == found.kept == COUNT - (len(found.lost) or (4 if harm == "cut" else 0))
        _ = [run.label_map(n) for n in range(run.count)]


def test_a_run_that_is_being_written_is_left_alone(tmp_path):
    made = RunWriter(tmp_path, "run", segment_frames=4, disk=QuickDisk())
    fill(made, [numbered(n) for n in range(COUNT)])
    with pytest.raises(ArchiveError, match="another archiver"):
        repair_run(tmp_path / "run")
    made.release()
