"""Reading a run, live or closed."""

import sys

import numpy as np
import pytest

import pychip_stream as ps
from pychip_stream.archive import compaction
from pychip_stream.archive.layout import NO_CHIP
from pychip_stream.archive.run import open_run
from pychip_stream.archive.scorings import add_scoring, set_default_scoring
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import ArchiveError, UsageError
from tests.support.archive_samples import (
    DIM,
    ENCODER,
    GRID,
    NAMES,
    failed,
    fill,
    make_run,
    pieces,
    record,
    result,
    support,
)
from tests.support.failing_disks import QuickDisk

COUNT = 6


@pytest.fixture(params=[True, False], ids=["closed", "live"])
def run(request, tmp_path):
    return ps.open_run(make_run(tmp_path, COUNT, close=request.param))


def test_everything_that_was_archived_comes_back(run):
    made = support()
    assert (len(run), run.count, run.names) == (COUNT, COUNT, NAMES)
    assert run.support_set().version == made.version
    assert run.colors["beta"] == made.classes[1].color
    assert run.config == {"watch": {"root": "frames"}}
    assert "numpy" in run.metadata["versions"]
    for n in range(COUNT):
        wanted, found = result(n), run.result(n)
        assert (run.label_map(n) == wanted.label_map).all()
        assert (run.labels(n) == wanted.labels).all()
        assert np.allclose(run.probabilities(n), wanted.probabilities, atol=1e-3)
        assert np.allclose(run.confidence(n), wanted.confidence, atol=1e-3)
        assert (run.embeddings(n) == record(n).embeddings).all()
        assert np.array_equal(found.intervals, wanted.intervals)
        assert np.allclose(found.novelty, wanted.novelty, atol=1e-3)
        assert np.allclose(found.distances, wanted.distances, atol=1e-3)
        assert run.support_version(n) == made.version


@pytest.mark.parametrize("close", [True, False], ids=["closed", "live"])
def test_frames_of_one_moment_stand_in_the_natural_order_of_their_names(tmp_path, close):
    names = ["img_9.tif", "img_10.tif", "img_11.tif", "img_100.tif"]
    writer = RunWriter(tmp_path, "run", segment_frames=3, disk=QuickDisk())
    fill(writer, [record(0, path=name, time=1.7e9) for name in reversed(names)])
    fill(writer, [record(0, path="img_2.tif", time=1.7e9 + 1)])
    if close:
        writer.close()
    else:
        writer.release()
    run = open_run(tmp_path / "run.h5")
    assert list(run.fractions["path"]) == list(run.frames["path"]) == [*names, "img_2.tif"]


def test_the_fractions_have_the_columns_of_the_contract(run):
    table = run.fractions
    wanted = ["frame", "index", "path", "time_s"]
    for name in (*NAMES, "unknown"):
        wanted += [name, f"{name}_low", f"{name}_high"]
    assert list(table.columns) == wanted
    assert table["time_s"].tolist() == list(range(COUNT))
    assert np.array_equal(run.intervals, [result(n).intervals for n in range(COUNT)])
    for code, name in enumerate((*NAMES, "unknown")):
        values = [result(n).intervals[code] for n in range(COUNT)]
        assert np.array_equal(table[[name, f"{name}_low", f"{name}_high"]].to_numpy(), values)


def test_every_frame_tells_where_it_comes_from(run):
    row = run.frames.iloc[2]
    wanted = record(2)
    for name in ("path", "index", "size", "mtime_ns", "seen"):
        assert row[name] == getattr(wanted.frame, name), name
    for name in ("content_hash", "read", "classified", "pixel_size", "unit", "encoder_hash"):
        assert row[name] == getattr(wanted, name), name
    assert row["exposed"] == wanted.frame.time
    assert (row["height"], row["width"]) == wanted.shape
    assert (row["chip_width"], row["chip_height"]) == wanted.chip_size
    assert (row["rows"], row["columns"]) == GRID
    assert row["archived"] > 1.7e9
    assert row["support_version"] == support().version
    assert run.columns("size")["size"].tolist() == [1000 + n for n in range(COUNT)]


def test_what_is_not_there(run):
    with pytest.raises(IndexError):
        run.label_map(COUNT)
    with pytest.raises(ArchiveError, match="no scoring"):
        run.with_scoring("spam")
    with pytest.raises(ArchiveError, match="does not hold support set"):
        run.support_set("0" * 32)


def test_a_run_of_failed_frames_has_no_results(tmp_path):
    writer = RunWriter(tmp_path, "run", segment_frames=4, disk=QuickDisk())
    fill(writer, [failed(0, "cut"), failed(1, "cut")])
    run = open_run(writer.close())
    assert run.failed["reason"].tolist() == ["cut", "cut"]
    assert (len(run.fractions), list(run.result_blocks(()))) == (0, [])
    with pytest.raises(IndexError, match="0 classified"):
        run.label_map(0)


def test_failed_frames_are_told_apart(tmp_path):
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    fill(writer, [record(0), failed(1, "cut\nshort"), record(2)])
    run = open_run(writer.close())
    assert (len(run), run.count) == (3, 2)
    assert run.failed["reason"].tolist() == ["cut short"]
    assert run.frames["frame"].tolist() == [0, -1, 1]
    assert (run.label_map(1) == result(2).label_map).all()


def test_a_live_run_is_followed_while_segments_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "FAN_IN", 3)
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)
    writer = RunWriter(tmp_path, "run", segment_frames=2, disk=QuickDisk())
    run = open_run(tmp_path / "run")
    assert run.live
    assert not run.refresh()
    for first in range(0, 16, 2):
        stale = run.count
        fill(writer, [record(first), record(first + 1)])
        if stale:  # its files may be gone by now
            assert (run.embeddings(stale - 1) == record(stale - 1).embeddings).all()
        assert run.refresh()
        assert run.count == first + 2
    writer.close()
    assert (run.label_map(3) == result(3).label_map).all()
    assert run.refresh()
    assert not run.live


def test_embeddings_can_be_left_out(tmp_path):
    run = open_run(make_run(tmp_path, 3, embeddings=False))
    assert run.embedded == {}
    with pytest.raises(ArchiveError, match="keeps no embeddings"):
        run.embeddings(0)


def test_blocks_give_the_frames_that_are_wanted(run):
    blocks = list(run.embedding_blocks(np.array([1, 4, 5]), chips=15))
    assert [numbers.tolist() for numbers, _ in blocks] == [[1], [4], [5]]
    assert all(rows.arrays["values"].shape == (12, DIM) for _, rows in blocks)
    assert all(rows.encoder == (ENCODER, DIM) for _, rows in blocks)
    assert run.embedded[ENCODER].tolist() == list(range(COUNT))


def test_frames_of_different_grids(tmp_path):
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    small = record(1, result=result(1, grid=(2, 2)), embeddings=None)
    fill(writer, [record(0), small])
    run = open_run(writer.close())
    assert run.label_map(1).shape == (2, 2)
    assert (run.label_map(1) == result(1, grid=(2, 2)).label_map).all()
    stack = run.to_xarray()["label_map"].to_numpy()
    assert (stack[1, 2:] == NO_CHIP).all()


def test_as_xarray(run):
    dataset = run.to_xarray()
    assert dict(dataset.sizes) == {"frame": COUNT, "class": 3, "row": 3, "column": 4}
    alpha = dataset["fraction"].sel({"class": "alpha"})
    assert np.array_equal(alpha, run.fractions["alpha"])
    assert np.array_equal(dataset["low"].sel({"class": "unknown"}), run.fractions["unknown_low"])
    assert (dataset["label_map"][3] == result(3).label_map).all()
    assert dataset["time"].attrs["units"] == "s"


def test_as_hyperspy(run):
    pytest.importorskip("hyperspy", reason="HyperSpy is not installed")
    signal = run.to_hyperspy()
    assert signal.data.shape == (COUNT, *GRID)
    assert signal.axes_manager.signal_axes[0].units == "nm"
    assert signal.axes_manager.signal_axes[0].scale == pytest.approx(16 * 0.04)
    assert (signal.inav[2].data == result(2).label_map).all()


@pytest.mark.parametrize(
    ("package", "method"), [("xarray", "to_xarray"), ("hyperspy.signals", "to_hyperspy")]
)
def test_packages_that_are_not_installed(run, monkeypatch, package, method):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match="pip install"):
        getattr(run, method)()


class TestScorings:
    @pytest.fixture
    def other(self):
        return support(("beta", "gamma"), 7)

    def add(self, run, other, **options):
        results = [result(100 + n, other.names, version=other.version) for n in range(run.count)]
        return add_scoring(
            run.path, other, run.sequence, pieces(results), disk=QuickDisk(), **options
        )

    def test_a_run_holds_many_and_shows_one(self, run, other):
        name = self.add(run, other, provenance={"why": "better examples"})
        again = open_run(run.path)
        assert again.scorings == ("acquired", name)
        assert (again.scoring, again.names) == (name, other.names)
        assert (again.label_map(1) == result(101).label_map).all()
        assert again.scoring_provenance == {"why": "better examples"}
        assert again.support_set().version == name
        assert again.with_scoring("acquired").names == NAMES
        assert run.refresh()
        set_default_scoring(run.path, "acquired")
        assert open_run(run.path).scoring == "acquired"

    def test_it_moves_into_the_archive_when_the_run_is_closed(self, run, other, tmp_path):
        name = self.add(run, other, provenance={"why": "x"})
        RunWriter(tmp_path, "run", disk=QuickDisk()).close()
        assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]
        merged = open_run(run.path)
        assert (merged.scoring, merged.scorings) == (name, ("acquired", name))
        assert merged.scoring_provenance == {"why": "x"}
        assert (merged.label_map(2) == result(102).label_map).all()
        assert merged.support_set(name).version == name

    def test_frames_acquired_with_its_set_belong_to_it(self, run, other, tmp_path):
        """The past is labelled again, the future follows."""
        name = self.add(run, other)
        writer = RunWriter(tmp_path, "run", disk=QuickDisk())
        fill(writer, [record(9, result=result(9, other.names, version=name))])
        shown = open_run(run.path)
        assert shown.covered.tolist() == list(range(COUNT + 1))
        assert (shown.label_map(COUNT) == result(9).label_map).all()
        assert (shown.label_map(0) == result(100).label_map).all()
        writer.close()
        closed = open_run(run.path)
        assert (closed.label_map(COUNT) == result(9).label_map).all()
        assert closed.with_scoring("acquired").labels(0).tolist() == result(0).labels.tolist()

    def test_frames_that_it_does_not_cover(self, run, other):
        results = [result(0, other.names, version=other.version)]
        add_scoring(run.path, other, run.sequence[1:2], pieces(results), disk=QuickDisk())
        partial = open_run(run.path)
        assert partial.covered.tolist() == [1]
        assert partial.fractions["beta"].isna().tolist() == [n != 1 for n in range(COUNT)]
        with pytest.raises(ArchiveError, match="does not cover"):
            partial.label_map(0)

    def test_what_does_not_fit_is_refused_and_leaves_nothing(self, run, other):
        good = [result(n, other.names) for n in range(run.count)]
        cases = {
            "grids": [*good[:-1], result(1, other.names, grid=(2, 2))],
            "5 results for the 6": good[:-1],
            "another support set": [*good[:-1], result(1, ("spam", "egg"))],
        }
        for words, results in cases.items():
            with pytest.raises(ArchiveError, match=words):
                add_scoring(run.path, other, run.sequence, pieces(results), disk=QuickDisk())
        with pytest.raises(ArchiveError, match="no classified frames"):
            add_scoring(run.path, other, np.array([77]), good[:1], disk=QuickDisk())
        assert open_run(run.path).scorings == ("acquired",)
        assert list((run.path.parent / "run.scorings").iterdir()) == []
