"""Frames that are left out, and a file that is not of the run, with the installed commands."""

import csv
import os
import time

import numpy as np
import pytest
import tifffile

from tests.support.simple_runs import pixels
from tests.support.stack import call, call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]

COUNT = 6
WEEK_S = 7 * 86400


@pytest.fixture
def support(tmp_path):
    tifffile.imwrite(tmp_path / "first.tif", pixels(0))
    picks = ("--pick", "stripes=0,0;1,0;2,0", "--pick", "speckle=0,4;1,4;2,4")
    made = tmp_path / "set.h5"
    call_json("support", "make", tmp_path / "first.tif", "--chip-size", 32, *picks, "-o", made)
    return made


def save(folder, number):
    """Write a frame as a camera does: under its name once it is whole."""
    part = folder / f"{number}.part"
    tifffile.imwrite(part, pixels(number))
    part.rename(folder / f"{number}.tif")


def save_reference(folder):
    """Copy in an image of last week, with its time."""
    part = folder / "reference.part"
    tifffile.imwrite(part, pixels(9))
    last_week = time.time() - WEEK_S
    os.utime(part, (last_week, last_week))
    part.rename(folder / "reference.tif")


def rows_of(run, folder, *options):
    call_json("export", run, "--csv", folder / "out.csv", *options)
    with (folder / "out.csv").open(newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def left_out(run):
    return [row["path"] for row in call_json("exclude", run)["excluded"]]


def test_live_and_closed(stack, support, tmp_path):
    run = stack(support).start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    for number in range(COUNT):
        save(run.root, number)
        run.wait_archived(number + 1)
        if number == 3:
            save_reference(run.root)
            run.wait_archived(5)
    run.wait_archived(COUNT + 1)
    path = run.config.run_path

    rows = rows_of(path, tmp_path)
    seconds = {name: float(row["time_s"]) for name, row in rows.items()}
    assert max(seconds.values()) < 3600  # the file of last week stretches nothing …
    assert next(iter(rows)) == "0.tif"
    assert seconds["3.tif"] < seconds["reference.tif"] < seconds["5.tif"]  # … where it arrived
    (told,) = call_json("export", path)["displaced"]
    assert told["path"] == "reference.tif"
    assert told["time"] - told["own_time"] == pytest.approx(WEEK_S, abs=3600)

    call_json("exclude", path, "reference.tif", "2.tif")
    assert set(rows) - set(rows_of(path, tmp_path)) == {"reference.tif", "2.tif"}
    call_json("exclude", path, "2.tif", "--undo")
    assert left_out(path) == ["reference.tif"]
    save(run.root, COUNT)
    run.wait_archived(COUNT + 2)
    run.kill_all()  # no merge
    run.start().wait_archived(COUNT + 2)
    assert run.stop()[0] == 0
    assert "is not of this run" in "\n".join(run.log)

    assert path.exists()
    assert not path.with_suffix(".scorings").exists()
    assert left_out(path) == ["reference.tif"]
    assert list(rows_of(path, tmp_path)) == [f"{n}.tif" for n in range(COUNT + 1)]
    everything = rows_of(path, tmp_path, "--excluded")
    assert [n for n, row in everything.items() if row["excluded"] == "1"] == ["reference.tif"]
    again = {name: float(everything[name]["time_s"]) for name in seconds}
    assert again == pytest.approx(seconds)

    call_json("rescore", path, "--support", support)
    call_json("exclude", path, "0")
    assert left_out(path) == ["0.tif", "reference.tif"]
    assert call_json("verify", path, "--frames", run.root, "--sample", 0)["compared"] == COUNT + 2
    code, _, error = call("exclude", path, "frame 0")
    assert code == 2
    assert "has no classified frame frame 0; there are 0 to 7" in error


def test_an_archive_of_the_past(support, tmp_path):
    """Files whose clocks say 1970 and 2099, and four of a night in which clocks were put back."""
    frames, start = tmp_path / "frames", 1.7e9
    frames.mkdir()
    for number in range(18):
        moment = start + 600 * number
        shown = moment - 3600 * (8 <= number < 12)
        stamp = time.strftime("%Y:%m:%d %H:%M:%S", time.localtime(shown))
        extra = [(306, "s", 0, stamp, True)]
        tifffile.imwrite(frames / f"{number:02}.tif", pixels(number % 5), extratags=extra)
        os.utime(frames / f"{number:02}.tif", (moment + 0.5, moment + 0.5))
    for name, moment in (("05_a.png", 3600.0), ("09_b.png", 4.07e9)):
        tifffile.imwrite(tmp_path / "x.tif", pixels(1))
        (tmp_path / "x.tif").rename(frames / name)  # the content decides
        os.utime(frames / name, (moment, moment))
    run = tmp_path / "run.h5"
    document = call_json("classify", frames, "--support", support, "--out", run)
    assert {row["path"] for row in document["displaced"]} == {
        "05_a.png", "09_b.png", "08.tif", "09.tif", "10.tif", "11.tif",
    }  # fmt: skip
    rows = rows_of(run, tmp_path)
    seconds = np.array([float(row["time_s"]) for row in rows.values()])
    assert list(rows) == sorted(rows)
    assert seconds[-1] == pytest.approx(600 * 17, abs=2)
    assert seconds[list(rows).index("10.tif")] == pytest.approx(6000, abs=2)
    again = tmp_path / "again.h5"
    call_json("classify", frames, "--support", support, "--out", again)
    for name, row in rows_of(again, tmp_path).items():
        assert row["time_s"] == rows[name]["time_s"]
