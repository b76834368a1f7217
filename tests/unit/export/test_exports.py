"""Tables, pictures and films of a run."""

import csv
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from PIL import Image, ImageColor

from pychip_stream.archive.exclusions import exclude
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.nexus import Curve
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.colors import UNKNOWN_COLOR
from pychip_stream.domain.support import SupportClass
from pychip_stream.errors import ArchiveError
from pychip_stream.export import EXPORTS, curves
from pychip_stream.export import film as timelapse
from pychip_stream.export import pictures as figures
from pychip_stream.export.curves import export_chart, export_svg
from pychip_stream.export.kinds import ExportSource
from pychip_stream.export.pictures import export_png
from pychip_stream.export.tables import (
    export_chips_csv,
    export_csv,
    export_pychip_csv,
    export_quantities,
)
from pychip_stream.formats.reading import frame_count
from tests.support.archive_samples import NAMES, fill, make_run, record, result, support
from tests.support.failing_disks import QuickDisk

COUNT = 5


@pytest.fixture
def run(tmp_path):
    return open_run(make_run(tmp_path / "run", COUNT))


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def pixels(path, index):
    return np.tile(np.linspace(0, 4000, 70), (50, 1)).astype(np.uint16)


def gone(path, index):
    return None


@pytest.mark.parametrize("export", [export_csv, export_quantities])
def test_moments_are_told_when_asked_for(run, tmp_path, export):
    export(run, tmp_path / "plain.csv")
    export(run, tmp_path / "iso.csv", iso_times=True)
    plain, told = rows(tmp_path / "plain.csv"), rows(tmp_path / "iso.csv")
    assert told[0][:5] == ["frame", "index", "path", "time_s", "time"]
    assert [row[:4] + row[5:] for row in told] == plain
    for row in told[1:]:
        moment = datetime.fromisoformat(row[4])
        assert moment.tzinfo is not None
        assert moment.timestamp() == pytest.approx(run.start + float(row[3]), abs=2e-6)


def test_a_color_that_is_none_is_shown_grey(tmp_path):
    made = support()
    odd = replace(made, classes=(SupportClass("alpha", "url(x)"), *made.classes[1:]))
    writer = RunWriter(tmp_path, "odd")
    writer.add_support(support_to_bytes(odd), odd.version)
    fill(writer, [record(0, result=result(0, version=odd.version))])
    run = open_run(writer.close())
    assert run.colors["alpha"] == UNKNOWN_COLOR
    assert run.colors["beta"] == made.classes[1].color
    export_svg(run, tmp_path / "a.svg")
    assert export_png(run, tmp_path / "maps", pixels, [0])


def test_csv(run, tmp_path):
    export_csv(run, tmp_path / "new" / "f.csv")
    header, *lines = rows(tmp_path / "new" / "f.csv")
    assert header[:7] == ["frame", "index", "path", "time_s", "alpha", "alpha_low", "alpha_high"]
    assert header[-3:] == ["unknown", "unknown_low", "unknown_high"]
    assert len(lines) == COUNT
    assert float(lines[3][4]) == pytest.approx(result(3).intervals[0, 0])
    assert lines[3][:4] == ["3", "0", record(3).frame.path, "3"]


def test_chips_csv(run, tmp_path):
    told = []
    export_chips_csv(run, tmp_path / "c.csv", lambda *step: told.append(step))
    header, *lines = rows(tmp_path / "c.csv")
    assert header == ["frame", "row", "column", "label", "confidence", "p_alpha", "p_beta"]
    assert len(lines) == COUNT * 12
    assert told[-1] == (COUNT, COUNT)
    frame, row, column, label, confidence, *odds = lines[2 * 12 + 1 * 4 + 3]
    assert (frame, row, column) == ("2", "1", "3")
    assert label == result(2).labels[1, 3]
    assert float(confidence) == pytest.approx(max(map(float, odds)), abs=1e-3)
    assert float(odds[0]) == pytest.approx(result(2).probabilities[1, 3, 0], abs=1e-3)


def test_the_layout_of_the_original_pychip(run, tmp_path):
    export_pychip_csv(run, tmp_path / "p.csv")
    header, *lines = rows(tmp_path / "p.csv")
    assert header == ["", "alpha", "beta", "prediction"]
    assert len(lines) == COUNT * 12
    name, *odds, prediction = lines[12 + 4 * 2 + 1]
    assert name == f"{record(1).frame.path}/cropX_1_Y_2.jpg"
    assert prediction == result(1).labels[2, 1]
    assert float(odds[1]) == pytest.approx(result(1).probabilities[2, 1, 1], abs=1e-3)


def test_frames_of_one_file_are_told_apart_in_it(tmp_path):
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    fill(writer, [record(0, path="stack.tif", index=n) for n in range(2)])
    export_pychip_csv(open_run(writer.close()), tmp_path / "p.csv")
    assert rows(tmp_path / "p.csv")[13][0] == "stack.tif/1/cropX_0_Y_0.jpg"


def test_what_a_spreadsheet_would_run_is_made_harmless(tmp_path):
    names = ("=cmd()", "time_s")
    made = support(names)
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    fill(writer, [record(0, path="@x.tif", result=result(0, names, version=made.version))])
    run = open_run(writer.close())
    for number, export in enumerate((export_csv, export_chips_csv, export_pychip_csv)):
        export(run, tmp_path / f"{number}.csv")
        cells = [cell for line in rows(tmp_path / f"{number}.csv") for cell in line]
        assert not [cell for cell in cells if cell.startswith(("=", "@"))]
    assert "class time_s" in rows(tmp_path / "0.csv")[0]


def test_pictures_have_the_resolution_of_the_frame(run, tmp_path):
    written = export_png(run, tmp_path / "maps", pixels, [1])
    assert [p.name for p in written] == ["000001_map.png", "000001_overlay.png"]
    assert [frame_count(path) for path in written] == [0, 0]  # none of them is a frame
    plain, mixed = (np.asarray(Image.open(p).convert("RGB")) for p in written)
    colors = [ImageColor.getrgb(run.colors[name]) for name in (*NAMES, "unknown")]
    labels = run.label_map(1)
    for row in range(3):
        for column in range(4):
            chip = plain[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            assert (chip == colors[labels[row, column]]).all()
    assert (plain[:48, 64:70] == 40).all()  # no chip covers the rest
    grey = mixed[:48, 64:70]
    assert (grey[..., 0] == grey[..., 1]).all()
    assert grey.mean() > 230  # the bright end of the frame, not darkened
    assert plain.shape[0] > 50 + 2 * 12  # title, scale bar and legend stand below


def test_legends_tell_the_fractions_with_their_intervals(run):
    studio = figures.Studio(run, gone)
    (name, _, fraction), *_ = studio.legend(studio.view(2)).entries
    value, low, high = 100 * result(2).intervals[0]
    assert name == "alpha"
    assert fraction.text == f"{value:.1f} % ({low:.1f}–{high:.1f})"


def test_overlays_have_a_byte_for_each_pixel_and_look_the_same(run, tmp_path):
    studio = figures.Studio(run, pixels)
    whole = studio.view(1).overlay
    _, path = export_png(run, tmp_path / "maps", pixels, [1])
    with Image.open(path) as picture:
        assert picture.mode == "P"
        drawn = np.asarray(picture.convert("RGB"), int)
    assert np.abs(drawn[: whole.shape[0], : whole.shape[1]] - whole).max() <= 6  # of 255
    assert (drawn[-1] == 255).all()  # the legend's paper
    many = ["#0072b2"] * 9
    assert figures.with_palette(Image.fromarray(whole), many).mode == "RGB"


@pytest.mark.parametrize(("kind", "name"), [("picture", "overlay"), ("label_map", "map")])
def test_the_frame_that_is_shown_goes_as_overlay_or_as_map(run, tmp_path, kind, name):
    EXPORTS[kind].make(ExportSource(run, pixels, 1), tmp_path / "one.png", lambda *_: None)
    export_png(run, tmp_path / "all", pixels, [1])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / f"all/000001_{name}.png").read_bytes()


def test_a_scale_bar_is_a_round_length():
    assert figures.scale_bar(512, 0.04, "nm") == (50, "2 nm")
    assert figures.scale_bar(1000, 0.5, "um") == (200, "100 µm")
    assert figures.scale_bar(512, 19.53, "nm") == (51, "1 µm")
    assert figures.scale_bar(1000, 10, "nm") == (200, "2 µm")
    assert figures.scale_bar(1000, None, None) == (200, "200 pixels")


def test_the_scale_bar_lies_below_the_picture_and_is_as_long_as_it_says():
    picture = np.full((300, 400, 3), 255, np.uint8)
    made = np.asarray(figures.with_legend(picture, figures.Legend((), 0.04, "nm")).convert("L"))
    size, pad = 12, 6
    length, _ = figures.scale_bar(400, 0.04, "nm")
    bar = made[300:, pad : pad + length] == 0
    rows = np.flatnonzero(bar.all(axis=1))
    assert rows.tolist() == list(range(pad + size // 2, pad + size + 1))
    assert not (made[300:, [pad - 1, pad + length]] == 0).any()
    assert (made[:300] == 255).all()


def test_without_the_frames_the_maps_stand_alone(run, tmp_path):
    assert len(export_png(run, tmp_path / "maps", gone)) == COUNT


def test_svg_is_text_and_the_same_every_time(run, tmp_path):
    for name in "ab":
        export_svg(run, tmp_path / f"{name}.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    for word in ("phase fraction", "time (s)", "alpha", "unknown", "frame 5, 4.00 s"):
        assert f">{word}<" in text


@pytest.mark.parametrize("left_out", [False, True])
def test_the_bars_are_of_the_frame_that_is_shown(run, left_out):
    if left_out:
        exclude(RunPlaces.of(run.path), run.run_id, [(record(1).frame.path, 0)], who="me")
        run = open_run(run.path)
    left, right = curves.chart(open_run(run.path, everything=True), frame=1).axes
    assert right.get_title() == "frame 2, 1.00 s"
    heights = [bar.get_height() for bar in right.patches]
    assert heights == pytest.approx(result(1).intervals[:, 0])
    assert left.lines[-1].get_xdata()[0] == 1.0


def test_without_a_frame_on_the_screen_the_newest_counts(run, tmp_path):
    """The command line shows none; plug-ins may ask for it."""
    assert ExportSource(run, gone).frame == COUNT - 1
    assert ExportSource(run, gone, 0).frame == 0


def test_a_single_frame_is_bars_with_the_number_of_chips(tmp_path):
    """S19: its chart was an empty time axis from -0.04 to 0.04 s."""
    made = support()
    writer = RunWriter(tmp_path, "one")
    writer.add_support(support_to_bytes(made), made.version)
    found = result(0, version=made.version)
    fill(writer, [record(0, result=found)])
    run = open_run(writer.close())
    export_svg(run, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "time (s)" not in text
    counts = np.bincount(found.label_map.ravel(), minlength=3)
    assert all(f">{count}<" in text for count in counts)
    assert f"{counts.sum()} chips" in text
    export_chart(run, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_extremes_survive_thinning():
    values = np.zeros(50_000)
    values[12_345] = 1.0
    intervals = np.stack([values, 1 - values], axis=1)[..., None].repeat(3, axis=2)
    few = curves.thinned(Curve(np.arange(len(values)), intervals, ("alpha", "unknown"), {}))
    assert len(few.time) == len(few.intervals) < 3000
    assert few.intervals[:, 0, 0].max() == 1.0
    assert few.intervals[:, 1, 0].min() == 0.0


def decoded(path):
    import av

    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        return rate, [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_mp4(run, tmp_path):
    told = []
    written = timelapse.export_mp4(
        run, tmp_path / "f.mp4", pixels, fps=12.5, progress=lambda *step: told.append(step)
    )
    rate, pictures = decoded(tmp_path / "f.mp4")
    assert written == len(pictures) == COUNT
    assert rate == 12.5
    assert told[-1] == (COUNT, COUNT)
    height, width = pictures[0].shape[:2]
    assert height % 2 == width % 2 == 0
    # The frame is on the left, four times as large as it was; its label colours are to be seen.
    for number, picture in enumerate(pictures):
        color = ImageColor.getrgb(run.colors[run.labels(number)[0, 0]])
        mean = picture[8:56, 8:56].reshape(-1, 3).mean(axis=0)
        assert np.argmax(mean) == np.argmax(color) or np.ptp(color) < 40
    # The line that says "now" wanders to the right.
    dark = [int(np.argmin(p[60:120, 320:].sum(axis=(0, 2)))) for p in pictures[1:-1]]
    assert dark == sorted(dark)
    assert dark[0] < dark[-1]


def test_gif(run, tmp_path):
    assert timelapse.export_gif(run, tmp_path / "f.gif", gone, fps=5, max_frames=3) == 3
    with Image.open(tmp_path / "f.gif") as film:
        assert film.n_frames == 3
        assert film.info["duration"] == 200
        assert film.info["loop"] == 0


def test_long_films_show_evenly_spaced_frames(run):
    assert timelapse.chosen_frames(run, 3) == [0, 2, 4]
    assert timelapse.chosen_frames(run, 100) == list(range(COUNT))
    assert timelapse.chosen_frames(run, 1) == [0]


def test_what_cannot_be_written(run, tmp_path):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "x"
    for export in (export_csv, export_chips_csv, export_pychip_csv, export_svg):
        with pytest.raises(ArchiveError, match="cannot be written"):
            export(run, target)
    for export in (timelapse.export_mp4, timelapse.export_gif):
        with pytest.raises(ArchiveError, match="cannot be written"):
            export(run, target, gone)


def test_nothing_to_draw(tmp_path):
    RunWriter(tmp_path, "run", disk=QuickDisk()).release()
    run = open_run(tmp_path / "run")
    with pytest.raises(ArchiveError, match="no classified frame"):
        export_svg(run, tmp_path / "f.svg")
    with pytest.raises(ArchiveError, match="no classified frame"):
        timelapse.export_mp4(run, tmp_path / "f.mp4", gone)
    export_csv(run, tmp_path / "f.csv")
    assert len(rows(tmp_path / "f.csv")) == 1
