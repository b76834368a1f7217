"""An opened run: frames, curves, comparison, export; without a browser."""

import csv
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from dashboard.parts import download_bar
from dashboard.parts.clock_panel import ClockPanel
from dashboard.parts.confidence_plot import ConfidencePlot
from dashboard.parts.curve_plot import Axes, CurvePlot
from dashboard.parts.download_bar import KINDS, DownloadBar, write_export
from dashboard.parts.rescore_panel import RescorePanel
from dashboard.parts.review_tables import (
    agreement,
    difference_table,
    differences,
    failed_table,
    provenance_tables,
    same_frame,
)
from dashboard.parts.run_sections import RunSections
from dashboard.work.history import Curves
from dashboard.work.opened_run import OpenedRun, PastFrames, histogram
from dashboard.work.state import RunState
from dashboard.work.words import AS_ACQUIRED, support_name
from dashboard.work.workbench import Workbench
from pychip_stream import config as configuration
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import ArchiveError, PychipError
from pychip_stream.export.kinds import ExportKind, ExportSource, pixel_reader
from tests.support.archive_samples import failed, fill, record, result, support
from tests.support.at_once import AtOnce
from tests.support.live_frames import live, shot
from tests.support.run_samples import add_second_scoring, make_run


@pytest.fixture
def opened(tmp_path):
    extra = [failed(90, "is torn <b>here</b>")]
    path = make_run(tmp_path / "runs", tmp_path / "frames", 6, missing=(5,), extra=extra)
    return OpenedRun(path, tmp_path)


def test_picture_holds_what_the_archive_says(opened):
    picture = opened.picture(2)
    assert picture.key == ("frame_002.tif", 0)
    assert picture.time - opened.run.start == pytest.approx(2.0)
    assert picture.names == ("alpha", "beta", "unknown")
    np.testing.assert_array_equal(picture.label_map, result(2).label_map)
    np.testing.assert_allclose(picture.intervals, result(2).intervals)
    assert picture.jpeg.startswith(b"\xff\xd8")
    assert (picture.shape, picture.chip_size, picture.pixel_size) == ((50, 70), (16, 16), 0.04)
    assert picture.confidence.sum() == 12
    assert opened.picture(2) is picture


def test_a_scoring_is_called_by_what_its_support_set_is(opened):
    """M7: eight characters of a hash said nothing."""
    version = add_second_scoring(opened.run.path, 6)
    assert opened.refresh()
    made = support(seed=9)
    assert made.version == version
    name = support_name(made)
    assert name.startswith(made.note or ", ".join(made.names))
    assert list(opened.scorings.items()) == [("acquired", AS_ACQUIRED), (version, name)]
    other = OpenedRun(opened.run.path, opened.run.path.parent, version)
    assert other.label == f"run ({name})"
    assert name in difference_table(opened, other)["note"]


def test_the_histogram_says_what_it_shows():
    """M27: confidences near 0.5 under an accuracy of 100 % were not explained."""
    assert "1 certain, near 0.5 two classes compete" in ConfidencePlot().figure.title.text


def test_frame_that_is_gone_is_shown_by_its_labels_alone(opened):
    picture = opened.picture(5)
    assert picture.jpeg == b""
    np.testing.assert_array_equal(picture.label_map, result(5).label_map)
    assert opened.crop(picture, (0, 0, 8, 8)) == b""
    assert opened.crop(opened.picture(1), (0, 0, 8, 8)).startswith(b"\xff\xd8")


def test_nearest_frame_of_a_moment(opened):
    start = opened.run.start
    assert [opened.nearest(start + t) for t in (-9, 2.4, 2.6, 99)] == [0, 2, 3, 5]


def test_quantities_of_the_frames_are_curves_beside_the_fractions(opened):
    curves = opened.quantities()
    assert set(curves.columns) == {"intensity_mean"}  # what no frame has is no curve
    assert curves.columns["intensity_mean"][:, 0].tolist() == [2000.0] * 6
    np.testing.assert_array_equal(curves.times, opened.curves().times)
    assert len(opened.quantities(since=opened.run.start + 3.5)) == 2


def test_past_frames_are_those_heard_of_else_those_archived(tmp_path):
    config = configuration.parse(
        {"watch": {"root": "frames"}, "archive": {"folder": "runs", "name": "run"}}, "t", tmp_path
    )
    make_run(tmp_path / "runs", tmp_path / "frames", 3, close=False)
    state, bench = RunState(), Workbench(config)
    past = PastFrames(config, state.course, bench)
    archived = past.picture(("frame_001.tif", 0))
    np.testing.assert_array_equal(archived.label_map, result(1).label_map)
    assert archived.jpeg.startswith(b"\xff\xd8")
    heard = shot(live("frame_001.tif")).picture
    state.course.record(live("frame_001.tif"), heard)
    again = past.picture(("frame_001.tif", 0))
    np.testing.assert_array_equal(again.label_map, heard.label_map)
    assert again.jpeg.startswith(b"\xff\xd8")
    with pytest.raises(ArchiveError, match="not in the archive yet"):
        past.picture(("frame_003.tif", 0))
    writer = RunWriter(tmp_path / "runs", "run")
    writer.append(record(3, path="frame_003.tif"))
    writer.publish()
    writer.release()
    assert past.picture(("frame_003.tif", 0)).jpeg == b""  # its file is not there
    bench.close()


def test_frames_for_suggestions_are_those_that_can_still_be_opened(tmp_path):
    config = configuration.parse(
        {"watch": {"root": "frames"}, "archive": {"folder": "runs", "name": "run"}}, "t", tmp_path
    )
    state, bench = RunState(), Workbench(config)
    past = PastFrames(config, state.course, bench)

    def keys():
        return [frame.key[0] for frame in past.sample(support())]

    try:
        assert keys() == []  # there is no run yet
        make_run(tmp_path / "runs", tmp_path / "frames", 6, close=False, missing=(1,))
        past = PastFrames(config, state.course, bench)
        assert keys() == [f"frame_{n:03d}.tif" for n in (0, 2, 3, 4, 5)]
        (tmp_path / "frames" / "frame_003.tif").unlink()
        state.course.leave_out({("frame_004.tif", 0): None})
        assert keys() == [f"frame_{n:03d}.tif" for n in (0, 2, 5)]
    finally:
        bench.close()


def test_live_run_grows_under_the_eyes(tmp_path):
    path = make_run(tmp_path / "runs", tmp_path / "frames", 3, close=False)
    opened = OpenedRun(path, tmp_path)
    assert (opened.count, opened.run.live, opened.refresh()) == (3, True, False)
    writer = RunWriter(tmp_path / "runs", "run")
    writer.append(record(3))
    writer.publish()
    writer.release()
    assert opened.refresh()
    assert opened.count == 4
    assert len(opened.curves()) == 4


def test_two_scorings_of_a_run_are_compared_frame_by_frame(opened, tmp_path):
    name = add_second_scoring(tmp_path / "runs" / "run.h5", 6)
    other = OpenedRun(tmp_path / "runs" / "run.h5", tmp_path, name)
    rows, common = differences(opened, other)
    assert common == 6
    alpha = rows["alpha"]
    first, second = (r.table["alpha"].to_numpy() for r in (opened, other))
    assert (alpha.first, alpha.second) == (first.mean(), second.mean())
    assert alpha.mean == pytest.approx(np.abs(first - second).mean())
    assert alpha.largest == pytest.approx(np.abs(first - second).max())
    picture = opened.picture(1)
    there = same_frame(picture, other)
    assert there == 1
    expected = (result(1).label_map == result(501).label_map).mean()
    assert agreement(picture, other.picture(there)) == pytest.approx(expected)
    assert difference_table(opened, other)["rows"][0][0] == "alpha"


def test_another_run_begins_where_this_one_does(opened, tmp_path):
    path = make_run(tmp_path / "runs", tmp_path / "later", 4, "other", seed=3)
    other = OpenedRun(path, tmp_path)
    curves = other.curves_from(opened.run.start + 100)
    np.testing.assert_allclose(curves.times, opened.run.start + 100 + np.arange(4))


def test_histogram_counts_every_chip_once_and_leaves_out_nan():
    counts = histogram(np.array([[0.0, 0.04, 0.5], [0.99, 1.0, np.nan]], np.float16))
    assert counts.sum() == 5
    assert (counts[0], counts[10], counts[-1]) == (2, 1, 2)
    assert list(counts.nonzero()[0]) == [0, 10, 19]


def test_confidence_of_the_run_is_that_of_all_its_frames(opened):
    counts, frames = opened.confidence()
    assert frames == 6
    assert counts.sum() == 6 * 12
    np.testing.assert_array_equal(counts, sum(opened.picture(n).confidence for n in range(6)))


@pytest.fixture
def others(tmp_path):
    """Another run, begun 1000 s later, whose classes are alpha and gamma."""
    names = ("alpha", "gamma")
    writer = RunWriter(tmp_path / "runs", "other")
    made = support(names)
    writer.add_support(support_to_bytes(made), made.version)
    results = [result(n, names, version=made.version) for n in range(3)]
    fill(writer, [record(1000 + n, result=one) for n, one in enumerate(results)])
    return OpenedRun(writer.close(), tmp_path)


def test_a_class_of_another_run_goes_by_the_name_that_the_operator_chose(opened, others):
    """S22: classes were compared by equal names alone."""
    others.call({"gamma": "beta"})
    assert others.names == ("alpha", "beta", "unknown")
    assert list(others.curves().columns) == list(opened.curves().columns)
    assert others.picture(1).names == ("alpha", "beta", "unknown")
    found = differences(opened, others)[0]["beta"]
    assert found.second == pytest.approx(np.mean([result(n).intervals[1, 0] for n in range(3)]))
    others.call({"gamma": "alpha"})  # there is one
    assert others.names == ("alpha", "gamma", "unknown")


def test_two_runs_are_drawn_from_their_start_with_the_classes_of_both(opened, others):
    plot = CurvePlot(lambda _time: None, other="B", start=opened.run.start)
    second = others.curves_from(opened.run.start)
    plot.update(opened.curves(), second, others.colors | opened.colors)
    sent = []
    plot.legend._send_msg = sent.append
    plot.legend._handle_msg({"type": "ready"})
    legend = {name: color for name, color, _ in sent[-1]["names"]}
    assert list(legend) == ["alpha", "beta", "unknown", "gamma", "B"]
    assert legend["gamma"] == others.colors["gamma"]
    dashes = [r for r in plot.figure.renderers if getattr(r.glyph, "line_dash", None) == [3, 4]]
    times = dashes[0].data_source.data["t"]
    np.testing.assert_allclose(times, [0, 1, 2], atol=1e-3)
    assert plot.figure.xaxis[0].axis_label.startswith("time since start")
    assert plot.figure.xaxis[0].formatter.format == "00:00:00"  # 27:46:40, not 03:46:40
    assert plot.time(100_000) == pytest.approx(opened.run.start + 100_000)


def test_a_class_is_hidden_with_its_truth():
    """M13: the truth is part of two names, and came back with the other."""
    columns = {name: np.full((3, 3), 0.5) for name in ("alpha", "beta")}
    curves = Curves(np.arange(3.0), columns)
    plot = CurvePlot(lambda _time: None)
    plot.update(curves, curves, {})
    dashes = [r for r in plot.figure.renderers if getattr(r.glyph, "line_dash", None) == [3, 4]]
    for name, visible in (("alpha", [False, True]), ("true", [False] * 2), ("alpha", [False] * 2)):
        plot.legend._handle_msg({"type": "toggle", "name": name})
        assert [dash.visible for dash in dashes] == visible
    plot.legend._handle_msg({"type": "toggle", "name": "true"})
    assert all(part.visible for part in plot.figure.renderers[-8:])


def test_bands_end_at_a_pause_and_a_point_alone_is_a_dot():
    """S6: the browser draws a band over rows without a value."""
    times = np.array([0.0, 1, 2, 3, 4, 1000, 2000, 2001, 2002])
    columns = {"alpha": np.stack([times * 0 + 0.5, times * 0 + 0.25, times * 0 + 0.75], axis=1)}
    plot = CurvePlot(lambda _time: None, start=0.0)
    plot.update(Curves(times, columns), Curves(np.empty(0), {}), {})
    drawn = plot._measured.data
    shown = drawn["t"]
    for low, high in ((4, 1000), (1000, 2000)):
        bridge = (shown[:-1] == low) & (shown[1:] == high)
        assert bridge.sum() == 1
        ends = np.flatnonzero(bridge)[0] + np.arange(2)
        assert (drawn["h0"][ends] == drawn["l0"][ends]).all()
        assert np.isnan(drawn["v0"][ends]).all()
    assert shown[drawn["s"] > 0].tolist() == [1000.0]


def test_a_configured_quantity_is_drawn_below_until_the_viewer_chooses():
    axes = Axes(lambda: None, "alpha.domains")
    axes.offer((), ())
    assert axes.below is None  # no class is known yet
    axes.offer(("alpha",), ())
    assert axes.below == "alpha.domains"
    axes._below.value = "none"
    axes.offer(("alpha", "beta"), ())
    assert axes.below is None


def test_pairs_are_offered_for_classes_that_the_other_run_has_not(opened, others):
    viewer = SimpleNamespace(operator=True, user="me")
    rescoring = RescorePanel(AtOnce(), viewer, None, None, lambda: None)
    sections = RunSections(
        AtOnce(), ["other"], lambda *_: others, lambda: None, lambda: None, lambda: None,
        viewer, ClockPanel(AtOnce(), viewer, lambda: None), rescoring,
    )  # fmt: skip
    sections.about(opened)
    sections._compared.value = "run:other"
    (select,) = sections._pairs.values()
    assert (select.label, list(select.options)[1:]) == ("gamma of B is", ["beta"])
    select.value = "beta"
    assert sections.other.names == ("alpha", "beta", "unknown")
    assert [row[0] for row in sections._made["Compare"][0]["rows"]] == ["alpha", "beta", "unknown"]
    assert list(sections._pairs.values()) == [select]  # not made anew under the pointer
    sections._compared.value = "nothing"
    assert sections.other is None and not sections._pairs


def test_failed_frames_and_provenance_are_told(opened):
    (row,) = failed_table(opened.run)["rows"]
    assert row[2] == "is torn <b>here</b>"
    tables = {t["title"]: t for t in provenance_tables(opened.run)}
    assert set(tables) == {
        "Run", "Starts of the archiver", "Support sets", "Left out", "Configuration",
        "Times that are not of this run",
    }  # fmt: skip
    assert tables["Support sets"]["rows"][0][1] == "alpha (3), beta (3)"
    facts = {row[0]: row[1] for row in tables["Run"]["rows"]}
    assert facts["encoder's weights"]["text"] == "e" * 32
    assert facts["frames"] == "6 classified, 1 failed"
    assert facts["detector"] == "HAADF"
    assert "holder" not in facts


@pytest.mark.parametrize("kind", [k for k in KINDS if k.name != "mp4"], ids=lambda kind: kind.name)
def test_every_export_is_made_and_tells_its_progress(kind, opened, tmp_path):
    told = []
    source = ExportSource(opened.run, pixel_reader(opened.run, tmp_path), 2)
    path = write_export(kind, source, tmp_path, lambda done, total: told.append((done, total)))
    assert path.name == f"run{kind.suffix}"
    assert path.stat().st_size > 0
    assert told[-1] == (1, 1)
    if kind.name == "csv":
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert [float(r["alpha"]) for r in rows] == pytest.approx(
            opened.table["alpha"].tolist(), abs=1e-8
        )
    if kind.name == "pictures":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        assert len(names) == 6 + 5  # a map each, and an overlay where the frame is there


def test_cancelled_export_stops(opened, tmp_path):
    def progress(_done, _total):
        raise PychipError("cancelled")

    source = ExportSource(opened.run, pixel_reader(opened.run, tmp_path))
    chips = next(kind for kind in KINDS if kind.name == "chips_csv")
    with pytest.raises(PychipError, match="cancelled"):
        write_export(chips, source, tmp_path, progress)


@pytest.mark.parametrize("size", [0, 5, 64, 65, 128])
def test_pieces_are_the_file_and_say_which_is_the_last(tmp_path, monkeypatch, size):
    monkeypatch.setattr(download_bar, "_PIECE_BYTES", 64)
    whole = bytes(range(size))
    kind = ExportKind(
        "x",
        "x",
        ".bin",
        "text/plain",
        lambda _source, path, _told: path.write_bytes(whole),
        label="x",
    )
    source = SimpleNamespace(run=SimpleNamespace(path=tmp_path / "run.h5"))
    bar = DownloadBar(AtOnce(), lambda: source, [kind])
    sent = []
    bar.widget._send_msg = sent.append
    bar.widget._handle_msg({"type": "start", "kind": "x"})
    for _ in range(3):
        bar.widget._handle_msg({"type": "more"})
    found = [m for m in sent if m["type"] == "piece"]
    assert b"".join(m["content"] for m in found) == whole
    assert [m["first"] for m in found] == [True] + [False] * (len(found) - 1)
    assert [m["last"] for m in found] == [False] * (len(found) - 1) + [True]
    bar.close()
