"""What every dialect of logs must do, and how another package adds one."""

import dataclasses
import inspect
import re

import numpy as np
import pytest

from pychip_stream.sim.furnace import HeatingProgram, HolderLog
from pychip_stream.stimulus import log_reading
from pychip_stream.stimulus.dialect import Head, LogError
from pychip_stream.stimulus.log_reading import DIALECTS, LogFile, read_log, understand
from pychip_stream.stimulus_settings import StimulusConfig
from tests.contracts.outside import install, tell

START = 1.79e9
PROGRAM = HeatingProgram(40.0)
LINES = 201

OUTSIDE = """
from pychip_stream.stimulus.dialect import Dialect, Layout, TimeColumn, chosen_columns

def knows(head):
    return head.lines[:1] == ["#OVEN 1"]

def understand(head, settings):
    names = head.lines[1].split(" ")
    time = TimeColumn((0,), "unix")
    return Layout(" ", ".", 2, len(names), time, chosen_columns(names, settings, but=(0,)), "oven")

OVEN = Dialect("oven", "an oven of one laboratory", 30, knows, understand)
"""


@pytest.fixture(params=list(DIALECTS), ids=lambda dialect: dialect.name)
def dialect(request):
    return request.param


@pytest.fixture
def path(dialect, tmp_path):
    made = tmp_path / "exp_raw.csv"
    HolderLog(made, PROGRAM, dialect.name).write_until(START, 40.0)
    return made


def read(path):
    """Times and temperatures of a log, and how many lines were damaged."""
    (block,) = read_log(path, StimulusConfig(log=path))
    (signal,) = (s for s in block.readings.signals if s.name.casefold() == "temperature")
    return block.readings.time, signal.values, block.damaged


def head(path):
    return Head(path, path.read_text().splitlines()[:400])


class TestDialect:
    def test_it_is_the_first_that_knows_its_logs(self, dialect, path):
        auto = understand(path, StimulusConfig(log=path))
        assert auto == understand(path, StimulusConfig(log=path, dialect=dialect.name))
        for other in DIALECTS:
            if other is not dialect and other.name != "csv":
                assert not other.knows(head(path))

    def test_it_says_what_it_understood(self, dialect, path):
        told = understand(path, StimulusConfig(log=path)).understood
        assert "emperature [degC]" in told
        assert "times in" in told
        assert "\n" not in told
        assert dialect.meaning

    def test_every_reading_keeps_its_own_time(self, path):
        times, values, _ = read(path)
        assert len(times) == LINES
        np.testing.assert_allclose(np.diff(times), 0.2, atol=2e-3)
        wanted = [PROGRAM.temperature_at(t) for t in times - times[0]]
        np.testing.assert_allclose(values, wanted, atol=0.5)

    def test_a_damaged_line_costs_that_line(self, path):
        lines = path.read_bytes().split(b"\r\n")
        lines[-30] = b"\xff\x00?"
        lines[-20] += b",1" * 9 + b"\t1" * 9
        path.write_bytes(b"\r\n".join(lines))
        times, _, damaged = read(path)
        assert (len(times), damaged) == (LINES - 2, 2)

    def test_a_log_that_grows_is_read_to_its_last_whole_line(self, path):
        data = path.read_bytes()
        log = LogFile(path, StimulusConfig(log=path))
        found = 0
        for end in (len(data) - 305, len(data) - 7, len(data)):
            path.write_bytes(data[:end])
            found += sum(len(block.readings) for block in log.blocks())
            lost = data[end:].count(b"\n")
            assert found == LINES - lost

    def test_columns_are_chosen_and_named_anew(self, path):
        header = re.search(r"(?:^|[,\t])([Tt]emperature[^,\t\n]*)", path.read_text(), re.M)[1]
        layout = understand(path, StimulusConfig(log=path, columns={header: "stage [K]"}))
        assert [(c.name, c.unit) for c in layout.columns] == [("stage", "K")]


def test_one_from_outside_is_chosen_and_read(tmp_path):
    there = install(tmp_path / "site", "pychip_stream.stimulus", "OVEN", OUTSIDE)
    log = tmp_path / "oven.log"
    log.write_text("#OVEN 1\nt T/K\n1.79e9 300.5\nbroken\n1790000001 301.5\n")
    script = """
import json, sys
from pathlib import Path
from pychip_stream.stimulus.log_reading import read_log
from pychip_stream.stimulus_settings import StimulusConfig
log = Path(sys.argv[1])
(block,) = read_log(log, StimulusConfig(log=log))
(signal,) = block.readings.signals
print(json.dumps([block.readings.time.tolist(), signal.quantity, signal.values.tolist(),
                  block.damaged]))
"""
    times, quantity, values, damaged = tell(there, script, log)
    assert (times, quantity, values) == ([1.79e9, 1.79e9 + 1], "t_K", [300.5, 301.5])
    assert damaged == 1
    assert len(inspect.cleandoc(OUTSIDE).splitlines()) < 30


def test_any_error_of_a_dialect_costs_its_log_with_a_line(dialect, path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("odd\nheader")

    odd = dataclasses.replace(dialect, knows=lambda _: True, understand=broken, place=-1)
    monkeypatch.setattr(log_reading, "DIALECTS", {"odd": odd})
    with pytest.raises(LogError, match=r"exp_raw.csv: .*ZeroDivisionError") as caught:
        list(read_log(path, StimulusConfig(log=path, dialect="odd")))
    assert "\n" not in str(caught.value)
    with pytest.raises(LogError, match="ZeroDivisionError"):
        understand(path, StimulusConfig(log=path, dialect="odd"))


def test_one_that_fails_to_look_at_a_log_leaves_it_to_the_others(path, monkeypatch, caplog):
    def broken(_head):
        raise ZeroDivisionError("odd\nheader")

    odd = dataclasses.replace(next(iter(DIALECTS)), name="odd", knows=broken, place=-1)
    wanted = understand(path, StimulusConfig(log=path))
    monkeypatch.setattr(log_reading, "DIALECTS", [odd, *DIALECTS])
    assert understand(path, StimulusConfig(log=path)) == wanted
    (line,) = (record.getMessage() for record in caplog.records)
    assert "exp_raw.csv: dialect odd failed (ZeroDivisionError: odd header)" in line
