"""Whether a file is whole, and whether somebody writes it."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from pychip_stream.acquisition.writers import being_written
from pychip_stream.formats.reading import frame_count
from tests.support.material import FRAME, put, state_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="read leases are Linux'")


def test_a_whole_file_tells_its_frames(tmp_path):
    assert frame_count(put(tmp_path / "a.dm4")) == 1
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    assert frame_count(tmp_path / "b.tif") == 3


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (FRAME[:-20], "incomplete"),
        (FRAME[: len(FRAME) // 2] + bytes(len(FRAME) - len(FRAME) // 2), "incomplete"),
        (FRAME[:-8], "whole"),
        (FRAME[:-4], "whole"),
        (FRAME + bytes(40), "damaged"),
        (FRAME[:24] + b"\xff" * 64 + FRAME[88:], "damaged"),
        (b"", "incomplete"),
        (b"nothing that anybody knows", "damaged"),
    ],
)
def test_dm4_by_its_length_and_its_tags(tmp_path, data, state):
    found, reason = state_of(put(tmp_path / "a.dm4", data))
    assert found == state
    assert bool(reason) == (state != "whole")


def test_a_file_of_another_size_than_believed_is_not_whole(tmp_path):
    path = put(tmp_path / "a.dm4")
    assert state_of(path, len(FRAME))[0] == "whole"
    assert state_of(path, len(FRAME) - 1)[0] == "incomplete"


def test_a_file_that_cannot_be_opened_is_neither_whole_nor_damaged(tmp_path, monkeypatch):
    assert state_of(tmp_path / "gone.dm4")[0] == "unreachable"
    path = put(tmp_path / "a.dm4")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    assert state_of(path)[0] == "unreachable"


@linux
def test_a_writer_is_noticed_until_it_closes(tmp_path, told_of_writers):
    path = put(tmp_path / "a.dm4")
    assert being_written(path) is False
    with path.open("ab"):
        assert being_written(path) is True
        assert being_written(path) is True
    with path.open("rb"):
        assert being_written(path) is False
    assert being_written(path) is False


@linux
def test_a_writer_in_another_process_is_noticed_even_through_a_memory_map(
    tmp_path, told_of_writers
):
    path = put(tmp_path / "a.dm4")
    code = (
        "import mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close();"
        "print('ready', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout.readline() == "ready\n"
        assert being_written(path) is True
        writer.communicate("\n")
    assert being_written(path) is False


@linux
def test_a_program_that_opens_the_file_meanwhile_is_not_stopped_by_us(tmp_path, told_of_writers):
    path = put(tmp_path / "a.dm4")
    for _ in range(200):
        assert being_written(path) is False
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


@linux
def test_where_leases_say_nothing_nothing_is_claimed(tmp_path, monkeypatch):
    assert being_written("/proc/self/status") is None
    assert being_written(tmp_path / "gone.dm4") is None
    monkeypatch.setattr("pychip_stream.acquisition.writers._LEASABLE", set())
    assert being_written(put(tmp_path / "a.dm4")) is None
