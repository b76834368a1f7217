"""An opened run: frames, curves, comparison, export; without a browser."""

import csv
import zipfile

import numpy as np
import pytest

from dashboard.pages.review_tables import (
    agreement,
    difference_table,
    differences,
    failed_table,
    provenance_tables,
    same_frame,
)
from dashboard.work.export_kinds import KINDS, PIECE_BYTES, pieces, write_export
from dashboard.work.opened_run import Replay, histogram
from dashboard.work.runs import pixel_reader
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import PychipError
from pychip_stream.export.kinds import ExportSource
from tests.support.archive_samples import failed, record, result
from tests.support.run_samples import add_second_scoring, make_run


@pytest.fixture
def replay(tmp_path):
    extra = [failed(90, "is torn <b>here</b>")]
    path = make_run(tmp_path / "runs", tmp_path / "frames", 6, missing=(5,), extra=extra)
    return Replay(path, tmp_path)


def test_still_holds_what_the_archive_says(replay):
    still = replay.still(2)
    assert still.path == "frame_002.tif"
    assert still.time_s == 2.0
    assert still.names == ("alpha", "beta", "unknown")
    np.testing.assert_array_equal(still.label_map, result(2).label_map)
    np.testing.assert_allclose(still.intervals, result(2).intervals)
    assert still.jpeg.startswith(b"\xff\xd8")
    assert (still.shape, still.chip, still.pixel_size) == ((50, 70), (16, 16), 0.04)
    assert still.confidence.sum() == 12
    assert replay.still(2) is still


def test_frame_that_is_gone_is_shown_by_its_labels_alone(replay):
    still = replay.still(5)
    assert still.jpeg == b""
    np.testing.assert_array_equal(still.label_map, result(5).label_map)
    assert replay.crop(5, (0, 0, 8, 8)) == b""
    assert replay.crop(1, (0, 0, 8, 8)).startswith(b"\xff\xd8")


def test_nearest_frame_of_a_moment(replay):
    start = replay.run.start
    assert [replay.nearest(start + t) for t in (-9, 2.4, 2.6, 99)] == [0, 2, 3, 5]


def test_live_run_grows_under_the_eyes(tmp_path):
    path = make_run(tmp_path / "runs", tmp_path / "frames", 3, close=False)
    replay = Replay(path, tmp_path)
    assert (replay.count, replay.run.live, replay.refresh()) == (3, True, False)
    writer = RunWriter(tmp_path / "runs", "run")
    writer.append(record(3))
    writer.publish()
    writer.release()
    assert replay.refresh()
    assert replay.count == 4
    assert len(replay.curves()) == 4


def test_two_scorings_of_a_run_are_compared_frame_by_frame(replay, tmp_path):
    name = add_second_scoring(tmp_path / "runs" / "run.h5", 6)
    other = Replay(tmp_path / "runs" / "run.h5", tmp_path, name)
    rows, common = differences(replay, other)
    assert common == 6
    alpha = rows[0]
    first, second = (r.table["alpha"].to_numpy() for r in (replay, other))
    assert (alpha.first, alpha.second) == (first.mean(), second.mean())
    assert alpha.mean == pytest.approx(np.abs(first - second).mean())
    assert alpha.largest == pytest.approx(np.abs(first - second).max())
    still = replay.still(1)
    there = same_frame(still, other)
    assert there == 1
    expected = (result(1).label_map == result(501).label_map).mean()
    assert agreement(still, other.still(there)) == pytest.approx(expected)
    assert difference_table("a", "b", rows, common)["rows"][0][0] == "alpha"


def test_another_run_begins_where_this_one_does(replay, tmp_path):
    path = make_run(tmp_path / "runs", tmp_path / "later", 4, "other", seed=3)
    other = Replay(path, tmp_path)
    curves = other.curves_from(replay.run.start + 100)
    np.testing.assert_allclose(curves.times, replay.run.start + 100 + np.arange(4))


def test_histogram_counts_every_chip_once_and_leaves_out_nan():
    counts = histogram(np.array([[0.0, 0.04, 0.5], [0.99, 1.0, np.nan]], np.float16))
    assert counts.sum() == 5
    assert (counts[0], counts[10], counts[-1]) == (2, 1, 2)
    assert list(counts.nonzero()[0]) == [0, 10, 19]


def test_confidence_of_the_run_is_that_of_all_its_frames(replay):
    counts, frames = replay.confidence()
    assert frames == 6
    assert counts.sum() == 6 * 12
    np.testing.assert_array_equal(counts, sum(replay.still(n).confidence for n in range(6)))


def test_failed_frames_and_provenance_are_told(replay):
    (row,) = failed_table(replay.run)["rows"]
    assert row[2] == "is torn <b>here</b>"
    tables = {t["title"]: t for t in provenance_tables(replay.run)}
    assert set(tables) == {"Run", "Starts of the archiver", "Support sets", "Configuration"}
    assert tables["Support sets"]["rows"][0][1] == "alpha (3), beta (3)"
    facts = {row[0]: row[1] for row in tables["Run"]["rows"]}
    assert facts["encoder's weights"]["text"] == "e" * 32
    assert facts["frames"] == "6 classified, 1 failed"


@pytest.mark.parametrize("kind", [k for k in KINDS if k.name != "mp4"], ids=lambda kind: kind.name)
def test_every_export_is_made_and_tells_its_progress(kind, replay, tmp_path):
    told = []
    source = ExportSource(replay.run, pixel_reader(replay.run, tmp_path), 2)
    path = write_export(kind, source, tmp_path, lambda done, total: told.append((done, total)))
    assert path.name == f"run{kind.suffix}"
    assert path.stat().st_size > 0
    assert told[-1] == (1, 1)
    if kind.name == "csv":
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert [float(r["alpha"]) for r in rows] == pytest.approx(
            replay.table["alpha"].tolist(), abs=1e-8
        )
    if kind.name == "pictures":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        assert len(names) == 6 + 5  # a map each, and an overlay where the frame is there


def test_cancelled_export_stops(replay, tmp_path):
    def progress(_done, _total):
        raise PychipError("cancelled")

    source = ExportSource(replay.run, pixel_reader(replay.run, tmp_path))
    chips = next(kind for kind in KINDS if kind.name == "chips_csv")
    with pytest.raises(PychipError, match="cancelled"):
        write_export(chips, source, tmp_path, progress)


@pytest.mark.parametrize("size", [0, 5, PIECE_BYTES, PIECE_BYTES + 1])
def test_pieces_are_the_file_and_say_which_is_the_last(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    found = list(pieces(path))
    assert b"".join(data for data, _ in found) == path.read_bytes()
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
