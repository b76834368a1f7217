"""Fractions against a quantity: branches, figure and table."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import UsageError
from pychip_stream.export.against import FALLING, HELD, RISING, branches_of
from pychip_stream.export.curves import chart, svg_bytes
from pychip_stream.export.tables import export_csv
from tests.support.archive_samples import fill, record, result, support
from tests.support.command import call_here
from tests.support.failing_disks import QuickDisk

COUNT = 40


def furnace(times):
    """Hold at 25 degC for 100 s, heat by 2 K/s for 200 s, hold for 100 s, cool for 200 s."""
    return np.interp(times, [100, 300, 400, 600], [25, 425, 425, 25])


def truth(times):
    return np.where(
        (times > 100) & (times < 300),
        RISING,
        np.where((times > 400) & (times < 600), FALLING, HELD),
    )


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("count", [300, 20_000])
def test_heating_cooling_and_holding_are_told_apart(noise, count):
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, 700, count)) + 86_400.0
    values = furnace(times - 86_400) + rng.normal(0, noise, count)
    found, true = branches_of(times, values), truth(times - 86_400)
    assert (found == true).mean() > 0.94  # about 1 % of the run is unclear at each of the 4 corners
    assert not ((found == -true) & (true != HELD)).any()


def test_noise_about_one_value_is_held():
    rng = np.random.default_rng(2)
    found = branches_of(np.arange(2000.0), 400 + rng.normal(0, 0.2, 2000))
    assert (found == HELD).mean() > 0.95


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60))
def test_whatever_the_values_each_has_a_branch(values):
    finite = np.where(np.abs(values) < 1e100, values, np.nan)
    found = branches_of(np.arange(len(values)) * 1.0, finite)
    assert len(found) == len(values) and set(found.tolist()) <= {RISING, FALLING, HELD}
    assert (found[~np.isfinite(finite)] == HELD).all()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A run that is heated for half its frames, and cooled for the other half."""
    writer = RunWriter(tmp_path_factory.mktemp("runs"), "ramp", disk=QuickDisk())
    made = support()
    writer.add_support(support_to_bytes(made), made.version)
    frames = []
    for n in range(COUNT):
        told = {} if n == 3 else {"stage_temperature_C": 25.0 + 10 * min(n, COUNT - 1 - n)}
        frames.append(record(n, result=result(n, version=made.version), measured=told))
    fill(writer, frames)
    return writer.close()


def test_the_table_has_the_quantity_and_its_branch(path, tmp_path):
    run = open_run(path)
    export_csv(run, tmp_path / "plain.csv")
    export_csv(run, tmp_path / "f.csv", quantity="stage_temperature_C")
    with (tmp_path / "f.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0][3:6] == ["time_s", "stage_temperature_C", "branch"]
    assert [row[4] for row in rows[1:6]] == ["25", "35", "45", "", "65"]
    assert {row[5] for row in rows[5:18]} == {"rising"}
    assert {row[5] for row in rows[24:]} == {"falling"}
    plain = [",".join(row[:4] + row[6:]) for row in rows]
    assert plain == (tmp_path / "plain.csv").read_text(encoding="utf-8").splitlines()


def test_the_figure_has_both_branches_and_the_intervals(path):
    figure = chart(open_run(path), "stage_temperature_C")
    axes = figure.axes[0]
    text = svg_bytes(figure).decode()
    for word in ("stage_temperature_C (degC)", "rising", "falling", "time (s)", "alpha", "unknown"):
        assert word in text
    points = sum(len(one.get_offsets()) for one in axes.collections if hasattr(one, "get_sizes"))
    intervals = [one for one in axes.collections if hasattr(one, "get_segments")]
    assert len(intervals) == 3 and points >= 3 * (COUNT - 1)
    assert len(intervals[0].get_segments()) == COUNT


def test_what_no_frame_has_is_said_with_what_there_is(path):
    with pytest.raises(UsageError, match=r"dose_rate_e_A2_s.*there are .*stage_temperature_C"):
        chart(open_run(path), "dose_rate_e_A2_s")


def test_the_command_writes_all_three_against_it(path, tmp_path):
    files = [tmp_path / "a.csv", tmp_path / "a.svg", tmp_path / "a.png"]
    told = [f"--{kind}={file}" for kind, file in zip(("csv", "svg", "chart"), files, strict=True)]
    quantity = "--against=stage_temperature_C"
    assert call_here("export", path, *told, quantity).code == 0
    assert "stage_temperature_C" in files[0].read_text(encoding="utf-8").partition("\n")[0]
    assert "stage_temperature_C" in files[1].read_text(encoding="utf-8")
    assert files[2].read_bytes().startswith(b"\x89PNG")
    refused = call_here("export", path, f"--summary={tmp_path / 's.csv'}", quantity)
    assert refused.code == 2 and "nothing shows it" in refused.err
