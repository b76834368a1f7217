"""A run stands on one clock, live and closed, after restarts and repairs; strays are named."""

import h5py
import numpy as np
import pytest

from pychip_stream.archive.catalog import FileCatalog
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.live import live_image
from pychip_stream.archive.repair import repair_run
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.export.curves import curve_of
from tests.support.archive_samples import fill, record, result
from tests.support.failing_disks import QuickDisk

START, DAY = 1.7e9, 86400.0
REFERENCE = START - 7 * DAY


def records(count=20):
    """A run in which, after its tenth second, a reference image of last week was copied in."""
    frames = [record(n, result=result(n)) for n in range(count)]
    reference = record(
        99, path="reference.dm4", time=REFERENCE, mtime_ns=int(REFERENCE * 1e9),
        seen=START + 10.5, result=result(99),
    )  # fmt: skip
    return [*frames[:11], reference, *frames[11:]]


def write(folder, frames, *, close):
    writer = RunWriter(folder, "run", segment_frames=4, disk=QuickDisk())
    fill(writer, frames)
    if close:
        return writer.close()
    writer.release()
    return folder / "run.h5"


def times(run):
    return dict(zip(run.fractions["path"], run.start + run.fractions["time_s"], strict=True))


@pytest.fixture(params=["closed", "live"])
def path(request, tmp_path):
    return write(tmp_path, records(), close=request.param == "closed")


def test_it_is_placed_where_it_arrived_and_keeps_its_own_time(path):
    run = open_run(path)
    assert run.start == START
    assert run.fractions["path"][11] == "reference.dm4"
    assert run.fractions["time_s"][11] == pytest.approx(10.5)
    assert np.ptp(curve_of(run).time) == pytest.approx(19.0)
    told = run.displaced.to_dict("records")
    assert [(row["path"], row["own_time"], row["time"]) for row in told] == [
        ("reference.dm4", REFERENCE, START + 10.5)
    ]
    frames = run.frames.set_index("path")
    assert frames.loc["reference.dm4", "exposed"] == REFERENCE
    assert frames.loc["reference.dm4", "time"] == START + 10.5


def test_live_restarted_closed_and_repaired_agree(tmp_path):
    whole = times(open_run(write(tmp_path / "a", records(), close=True)))
    path = write(tmp_path / "b", records()[:13], close=False)
    assert times(open_run(path)) == {key: whole[key] for key in times(open_run(path))}
    write(tmp_path / "b", records(), close=False)
    assert times(open_run(path)) == whole
    write(tmp_path / "b", records(), close=True)
    assert times(open_run(path)) == whole
    write(tmp_path / "b", [record(n, result=result(n)) for n in range(20, 24)], close=True)
    assert times(open_run(path)).items() > whole.items()
    assert len(open_run(path).displaced) == 1
    with h5py.File(path, "r+") as file:
        file["entry/frames/pixel_size"][1] = 9.0
    assert repair_run(path).columns == ["pixel_size"]
    assert times(open_run(path)).items() > whole.items()
    assert len(open_run(path).displaced) == 1


def test_other_programs_see_the_same_axis(tmp_path):
    path = write(tmp_path, records(), close=False)
    view = tmp_path / "view.h5"
    view.write_bytes(live_image(FileCatalog(RunPlaces.of(path)).refresh()))
    write(tmp_path, records(), close=True)
    for file in (view, path):
        with h5py.File(file) as opened:
            assert np.ptp(opened["entry/fractions/time"][:]) == pytest.approx(19.0)


def test_the_operator_is_told_once_while_the_run_goes_on_and_at_its_end(tmp_path, caplog):
    writer = RunWriter(tmp_path, "run", segment_frames=1, disk=QuickDisk())
    for one in records():
        fill(writer, [one])
        writer._live._next = 0.0
        writer.due()
    told = [line for line in caplog.messages if "is not of this run" in line]
    assert len(told) == 1
    assert told[0].startswith("reference.dm4: its own time, 2023-11-")
    writer.close()
    assert len([line for line in caplog.messages if "is not of this run" in line]) == 2


def test_a_joined_segment_keeps_what_each_frame_says(tmp_path):
    """What a part of a run would make of it is no matter of its segments."""
    frames = [records()[11], *(record(n, result=result(n)) for n in range(31))]
    writer = RunWriter(tmp_path, "run", segment_frames=2, disk=QuickDisk())
    fill(writer, frames)
    writer.release()  # waits for what is being joined
    assert any(span.width == 16 for span in RunPlaces.of(tmp_path / "run.h5").spans())
    for segment in (tmp_path / "run.segments").glob("seg-*"):
        with h5py.File(segment) as file:
            times, own = file["entry/frames/time"][:], file["entry/frames/exposed"][:]
            assert np.array_equal(times, own)
    assert open_run(tmp_path / "run.h5").displaced["path"].tolist() == ["reference.dm4"]


def test_a_file_of_before_1970_is_named_too(tmp_path):
    early = record(
        99, path="x.tif", time=-3e8, mtime_ns=int(-3e8 * 1e9), seen=-3e8, result=result(9)
    )
    path = write(tmp_path, [*records()[:8], early], close=True)
    run = open_run(path)
    assert run.displaced["own_time"].tolist() == [-3e8]
    assert np.ptp(run.fractions["time_s"]) == pytest.approx(7.0)
