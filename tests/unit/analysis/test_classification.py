"""Which files a batch holds; and that an unfinished archive goes on only as it was begun."""

import csv
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path, PureWindowsPath

import h5py
import numpy as np
import pytest
import tifffile

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.classification import (
    Batch,
    check_begun,
    classify,
    common_folder,
    count_done,
    describe,
)
from pychip_stream.analysis.verification import verify
from pychip_stream.archive.joining import remove_run
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import save_support
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.classify import _table
from pychip_stream.cli.output import run_document
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.domain.caveats import STRANGE
from pychip_stream.errors import ArchiveError, UsageError
from pychip_stream.export.kinds import pixel_reader
from pychip_stream.export.tables import export_quantities
from pychip_stream.formats import ahead
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.sim import dm4
from tests.support.simple_runs import ENCODER, FIRST, archive, picked, pixels
from tests.unit.formats.test_velox import velox

ENCODERS = EncoderConfig()


class Stopping:
    """Progress that meets Ctrl-C at a file."""

    def __init__(self, at):
        self.at = at

    def __call__(self, done, _total):
        if done == self.at:
            raise KeyboardInterrupt


@pytest.fixture
def batch(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for n in range(5):
        tifffile.imwrite(frames / f"{n}.tif", pixels(n))
    return Batch.of([frames])


@pytest.fixture
def begun(tmp_path, batch):
    """An archive that Ctrl-C has ended after three of five frames."""
    metadata = describe(batch, Path("set.h5"), ENCODERS, ClassifyConfig())
    writer = RunWriter(tmp_path, "run", metadata=metadata)
    with pytest.raises(KeyboardInterrupt):
        classify(batch, Analyst.of(FIRST, ENCODER, ClassifyConfig()), writer, Stopping(3))
    return tmp_path / "run.h5"


def terms(batch, encoders=ENCODERS, **settings):
    return describe(batch, Path("set.h5"), encoders, ClassifyConfig(**settings))


def test_ctrl_c_keeps_every_frame_that_is_done(begun, batch):
    with open_run(begun) as run:
        assert (run.live, len(run)) == (True, 3)
    writer = RunWriter(begun.parent, begun.stem)  # its lock was let go
    assert count_done(batch, writer.keys) == 3
    done = classify(batch, Analyst.of(FIRST, ENCODER, ClassifyConfig()), writer)
    with open_run(done) as run:
        assert sorted(run.frames["path"]) == [f"{n}.tif" for n in range(5)]


def test_the_same_terms_may_go_on(begun, batch):
    check_begun(begun, FIRST, terms(batch))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"method": "lda"}, "classify.method auto"),
        ({"sensitivity": 2.0}, "classify.sensitivity 1.0"),
        ({"reject": False}, "classify.reject True"),
        ({"encoders": EncoderConfig(name="filters")}, "encoder.name bundled"),
    ],
)
def test_other_settings_are_refused(begun, batch, settings, says):
    with pytest.raises(UsageError, match=f"begun with {says};.*rescore.*another --out"):
        check_begun(begun, FIRST, terms(batch, **settings))


def test_another_set_is_refused_and_the_old_one_is_named(begun, batch):
    with pytest.raises(UsageError, match=r"begun with support set (\S+);") as caught:
        check_begun(begun, picked(0, seed=1), terms(batch))
    assert str(begun.with_suffix(".segments") / f"support-{FIRST.version}.h5") in str(caught.value)


def test_ctrl_c_does_not_wait_for_a_file_that_is_being_read(tmp_path, batch, monkeypatch):
    begun, ended, close = threading.Event(), threading.Event(), GuardedReader.close
    reads = []

    def read(*_):
        begun.set()
        reads.append("ended" if ended.wait(30.0) else "waited for")

    def interrupted(*_):
        assert begun.wait(30.0)
        raise KeyboardInterrupt

    def closing(reader):
        ended.set()
        close(reader)

    monkeypatch.setattr(GuardedReader, "read_checked", read)
    monkeypatch.setattr(GuardedReader, "close", closing)
    monkeypatch.setattr(ahead, "wait", interrupted)
    writer = RunWriter(tmp_path, "run", metadata=terms(batch))
    with pytest.raises(KeyboardInterrupt):
        classify(batch, Analyst.of(FIRST, ENCODER, ClassifyConfig()), writer)
    assert reads == ["ended"]


def test_the_old_set_is_named_wherever_the_archive_keeps_it(begun, batch):
    (begun.with_suffix(".segments") / f"support-{FIRST.version}.h5").unlink()
    with pytest.raises(UsageError, match=f"begun with support set {FIRST.version};"):
        check_begun(begun, picked(0, seed=1), terms(batch))


def test_frames_that_failed_bind_to_no_set(tmp_path, batch):
    for path in batch.paths:
        path.write_text("this is not a picture at all")
    writer = RunWriter(tmp_path, "run", metadata=terms(batch))
    with pytest.raises(KeyboardInterrupt):
        classify(batch, Analyst.of(FIRST, ENCODER, ClassifyConfig()), writer, Stopping(3))
    check_begun(tmp_path / "run.h5", picked(0, seed=1), terms(batch))


def test_frames_of_another_folder_are_refused(begun, batch, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    batch.root.rename(elsewhere)
    with pytest.raises(UsageError, match="the frames of"):
        check_begun(begun, FIRST, terms(Batch.of([elsewhere])))


def test_a_new_archive_may_begin_anyhow(batch, tmp_path):
    check_begun(tmp_path / "new.h5", FIRST, terms(batch))


@pytest.mark.parametrize("close", [True, False])
def test_a_run_goes_with_all_its_files(tmp_path, close):
    path = archive(tmp_path, close=close)
    (tmp_path / "other.h5").touch()
    remove_run(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["frames", "other.h5"]
    remove_run(path)  # nothing is left to do


def test_only_runs_are_removed_and_none_that_is_written(tmp_path, begun):
    with RunWriter(begun.parent, begun.stem)._lock, pytest.raises(ArchiveError, match="another"):
        remove_run(begun)
    save_support(FIRST, tmp_path / "set.h5")
    with pytest.raises(UsageError, match="support set, not a run"):
        remove_run(tmp_path / "set.h5")
    assert (tmp_path / "set.h5").exists()


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


def test_one_detector_from_the_first_file_to_the_last_look(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for n in range(3):
        images = {"a": ("BF", pixels(n)), "b": ("HAADF", pixels(n)[:, ::-1])}
        velox(frames / f"{n}.emd", images)
    batch = Batch.of([frames], "BF")
    writer = RunWriter(tmp_path, "run", metadata=terms(batch))
    classify(batch, Analyst.of(FIRST, ENCODER, ClassifyConfig()), writer)
    with open_run(tmp_path / "run.h5") as run:
        assert len(run) == 3
        read = pixel_reader(run)
        for number, path in enumerate(run.frames["path"]):
            assert np.array_equal(read(path, 0), pixels(number))
        found = verify(run, frames, lambda _hash: ENCODER)
    assert [check.problem for check in found.checks] == [""] * 3
    assert all(check.agreeing == check.chips for check in found.checks)


def test_an_archive_goes_on_with_the_detector_that_it_was_begun_with(begun, batch):
    check_begun(begun, FIRST, terms(replace(batch, detector="")))
    with pytest.raises(UsageError, match="was begun with watch"):
        check_begun(begun, FIRST, terms(replace(batch, detector="BF")))


def test_files_that_were_renamed_before_a_batch_goes_on_count_once(begun, tmp_path):
    (tmp_path / "frames" / "1.tif").rename(tmp_path / "frames" / "9.tif")
    writer = RunWriter(begun.parent, begun.stem)
    batch = Batch.of([tmp_path / "frames"])
    done = classify(batch, Analyst.of(FIRST, ENCODER, ClassifyConfig()), writer)
    with open_run(done) as run:
        assert sorted(run.frames["path"]) == [f"{n}.tif" for n in (0, 2, 3, 4, 9)]


def test_a_file_rewritten_with_its_size_and_time_is_found_by_verify_alone(begun, tmp_path):
    path = tmp_path / "frames" / "1.tif"
    before = path.stat()
    tifffile.imwrite(path, pixels(1)[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    batch = Batch.of([tmp_path / "frames"])
    analyst = Analyst.of(FIRST, ENCODER, ClassifyConfig())
    done = classify(batch, analyst, RunWriter(begun.parent, begun.stem))
    with open_run(done) as run:
        assert sorted(run.frames["path"]) == [f"{n}.tif" for n in range(5)]
        found = verify(run, tmp_path / "frames", lambda _hash: ENCODER)
    assert [check.path for check in found.with_problem("changed")] == ["1.tif"]


def test_a_stack_may_grow_after_it_was_classified_its_frames_may_not_change(tmp_path):
    (tmp_path / "frames").mkdir()
    path = tmp_path / "frames" / "a.tif"
    for n in range(3):
        tifffile.imwrite(path, pixels(n), append=n > 0)
    analyst = Analyst.of(FIRST, ENCODER, ClassifyConfig())
    batch = Batch.of([tmp_path / "frames"])
    done = classify(batch, analyst, RunWriter(tmp_path, "run"))
    tifffile.imwrite(path, pixels(3), append=True)
    with open_run(done) as run:
        assert verify(run, tmp_path / "frames", lambda _hash: ENCODER).compared == 3
        with tifffile.TiffFile(path) as file:
            at = file.pages[1].dataoffsets[0]
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes(99))
        found = verify(run, tmp_path / "frames", lambda _hash: ENCODER)
    assert [check.index for check in found.with_problem("changed")] == [1]


def test_a_pixel_size_by_hand_is_in_the_archive_as_such(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "a.dm4").write_bytes(dm4.encode(pixels(0), pixel_size=3.0, unit="nm"))
    for name, size in (("said", ""), ("given", "0.5 nm")):
        batch = Batch.of([frames], pixel_size=size)
        writer = RunWriter(tmp_path, name, metadata=terms(batch))
        classify(batch, Analyst.of(FIRST, ENCODER, ClassifyConfig()), writer)
    with open_run(tmp_path / "said.h5") as run:
        row = run.frames.iloc[0]
        assert (row["pixel_size"], row["pixel_height"], row["pixel_size_from"]) == (3, 3, "")
    with open_run(tmp_path / "given.h5") as run:
        row = run.frames.iloc[0]
        assert (row["pixel_size"], row["pixel_height"], row["unit"]) == (0.5, 0.5, "nm")
        assert row["pixel_size_from"] == "hand"
        assert run.watch["pixel_size"] == "0.5 nm"


def test_what_files_say_is_in_the_archive(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number, told in enumerate(({}, {"Voltage": 200_000.0, "Name": "Titan"})):
        content = dm4.encode(pixels(number), tags={"Microscope Info": told}, time=1.7e9 + number)
        (frames / f"{number}.dm4").write_bytes(content)
    batch = Batch.of([frames])
    classify(
        batch, Analyst.of(FIRST, ENCODER, ClassifyConfig()),
        RunWriter(tmp_path, "run", metadata=terms(batch)),
    )  # fmt: skip
    with open_run(tmp_path / "run.h5") as run:
        np.testing.assert_array_equal(run.frames["high_voltage_kV"], [np.nan, 200.0])
        assert run.frames["microscope"].tolist() == ["", "Titan"]
        assert "stage_x_um" not in run.frames
        export_quantities(run, tmp_path / "q.csv")
    with (tmp_path / "q.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["high_voltage_kV"] for row in rows] == ["", "200"]
    assert "stage_x_um" not in rows[0]


def test_frames_of_another_material_are_told_by_the_command_and_the_archive(tmp_path):
    """Smooth hills under stripes and speckle: one class at 1.000 would look like a result."""
    folder = tmp_path / "frames"
    folder.mkdir()
    hills = np.add.outer(np.linspace(-8, 8, 128) ** 2, np.linspace(-9, 9, 160) ** 2)
    tifffile.imwrite(folder / "a.tif", pixels(1))
    tifffile.imwrite(folder / "b.tif", (hills * 400).astype(np.uint16))
    analyst = Analyst.of(FIRST, ENCODER, ClassifyConfig())
    path = classify(Batch.of([folder]), analyst, RunWriter(tmp_path, "run"))
    with open_run(path) as run:
        assert [value > STRANGE for value in run.columns("strange")["strange"]] == [False, True]
        document = run_document(run, path)
        assert (run.intervals[1, :, 2] - run.intervals[1, :, 1] == 1.0).all()
        counts = [run.columns(f"{name}.counted")[f"{name}.counted"] for name in run.names]
        for number in range(2):
            assert counts[0][number] == (run.label_map(number) == 0).mean()
        assert "prevalence" in h5_attribute(path, "entry/fractions", "estimator")
    (line,) = [one for one in document["caveats"] if "unlike the support set" in one]
    assert line.startswith("1 of 2 frames")
    assert f"careful, {line}" in _table(document)


def h5_attribute(path, place, name):
    with h5py.File(path) as file:
        return file[place].attrs[name]
