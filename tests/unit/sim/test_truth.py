"""The table of the truth: read as it grows, and nothing else that goes by its name."""

import os
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pychip_stream.errors import ArchiveError
from pychip_stream.sim import truth
from pychip_stream.sim.truth import TruthFile, mean_absolute_error, open_file

HEAD = b"frame,index,path,time_s,alpha,beta\n"


def read_within(folder, seconds=20.0):
    """What one look finds; fails where it does not come back."""
    found = []
    thread = threading.Thread(
        target=lambda: found.append(TruthFile(folder).read_new()), daemon=True
    )
    thread.start()
    thread.join(seconds)
    assert found, "the look does not come back"
    return found[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such pipes here")
def test_a_pipe_of_its_name_is_not_waited_for(tmp_path):
    """B34: the feed of the page waited for ever."""
    os.mkfifo(tmp_path / "truth.csv")
    assert read_within(tmp_path) == []
    with pytest.raises(OSError, match="is no file"):
        open_file(tmp_path / "truth.csv")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_a_link_to_a_device_is_not_read(tmp_path):
    """B34: the page took 4.6 GB in 25 s."""
    (tmp_path / "truth.csv").symlink_to("/dev/zero")
    tracemalloc.start()
    assert read_within(tmp_path) == []
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("head", [HEAD, b""])
def test_a_file_without_an_end_of_line_is_given_up(tmp_path, head):
    path = tmp_path / "truth.csv"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(64 << 20)
    table = TruthFile(tmp_path)
    tracemalloc.start()
    assert [table.read_new() for _ in range(4)] == [[]] * 4
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
    with path.open("ab") as file:
        file.write(b"\n0,0,a.tif,0.0,0.5,0.5\n")
    assert table.read_new() == []


def test_a_long_table_is_read_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(truth, "_PIECE", 100)
    lines = [b"%d,0,f%d.tif,0.0,0.25,0.75\n" % (n, n) for n in range(40)]
    (tmp_path / "truth.csv").write_bytes(HEAD + b"".join(lines))
    table, found = TruthFile(tmp_path), []
    while (rows := table.read_piece()) is not None:
        assert len(rows) <= 4
        found += rows
    assert [key for key, _ in found] == [(f"f{n}.tif", 0) for n in range(40)]


def test_more_rows_than_any_run_has_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(truth, "_MOST_ROWS", 5)
    row = b"0,0,a.tif,0.0,0.25,0.75\n"
    path = tmp_path / "truth.csv"
    path.write_bytes(HEAD + 6 * row)
    table = TruthFile(tmp_path)
    assert len(table.read_new()) == 6
    with path.open("ab") as file:
        file.write(row)
    assert table.read_new() == []


@pytest.mark.parametrize("bad", ["nan", "inf", "-0.1", "7", "x", ""])
def test_what_is_no_fraction_is_left_out(tmp_path, bad):
    good = b"1,0,b.tif,0.0,0.25,0.75\n"
    (tmp_path / "truth.csv").write_bytes(HEAD + f"0,0,a.tif,0.0,{bad},0.5\n".encode() + good)
    assert TruthFile(tmp_path).read_new() == [(("b.tif", 0), {"alpha": 0.25, "beta": 0.75})]


def test_the_error_is_the_mean_over_frames_and_classes_that_both_have(tmp_path):
    rows = b"0,0,a.tif,0,0.5,0.5\n1,1,a.tif,1,0.25,0.75\n2,0,c.tif,2,0,1\n"
    (tmp_path / "truth.csv").write_bytes(HEAD + rows)
    measured = pd.DataFrame(
        {"path": ["a.tif", "a.tif", "x"], "index": [0, 1, 0], "alpha": [0.6, 0.5, 1]}
    )
    assert mean_absolute_error(measured, tmp_path) == pytest.approx((0.1 + 0.25) / 2)
    assert np.isnan(mean_absolute_error(measured[2:], tmp_path))
    with pytest.raises(ArchiveError, match="cannot be read"):
        mean_absolute_error(measured, tmp_path / "none")
