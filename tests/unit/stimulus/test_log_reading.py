"""Logs of holders, written here after their public descriptions, read as they grow."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pychip_stream.stimulus.dialect import LogError, split_header
from pychip_stream.stimulus.log_reading import DIALECTS, LogFile, read_log, understand
from pychip_stream.stimulus_settings import StimulusConfig

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=BERLIN).timestamp()


def settings(**more):
    return StimulusConfig(name="holder", zone="Europe/Berlin", **more)


def read(path, **more):
    """Times since NOON, values by name and unit, and how many lines were damaged."""
    blocks = list(read_log(path, settings(**more)))
    times = np.concatenate([b.readings.time for b in blocks]) - NOON
    values = {
        (s.name, s.unit): np.concatenate([b.readings.signals[n].values for b in blocks]).tolist()
        for n, s in enumerate(blocks[0].readings.signals)
    }
    return times.round(6).tolist(), values, sum(b.damaged for b in blocks)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


PROTOCHIPS = """\
Time,Notes,Temperature,Channel A Current
*,Calibration file path = C:\\cal\\chip.csv,
*,Date (yyyy.mm.dd) = 2026.06.01,
*,Time (hh:mm:ss.ms) = 12:00:00.000,
*,Time units = Milliseconds,
*,Temperature units = Degrees C,
*,Current units = MilliAmps,
*,User = ann,
0,,25.0,0.1
500,ramp begins,26.5,0.2
60500,,30,0.3
"""
GAS = """\
Time, Notes, Holder Temperature, Holder Pressure
*, Date (yyyy.mm.dd) = 2026.06.01
*, Time (hh:mm:ss.ms) = 12:00:00.250
*, Time units = Milliseconds
*, Temperature units = Degrees C
*, Pressure units = Torr
0, , 25.0, 760
1000, , 26.0, 759
"""
IMPULSE = """\
TimeStamp,Experiment time,Temperature Setpoint (°C),Temperature Measured (°C),MixValve
12:00:00.000,0.0,100,99.5,0;0;0
12:00:01.500,1.5,100,99.75,0;0;0
"""
DIGIHEATER = """
01/06/'26 12:00\tDigiheater 3.1
R0=1.0\ta=1\tb=2\tc=3
delta_t=0.1
sample\ttime\tTset[C]\tTmeas[C]\tRheat[ohm]\tVheat[V]\tIheat[mA]\tPheat [mW]\tc
1\t12:00:00.0\t100\t99\t1\t1\t1\t1\t0
2\t12:00:00.5\t100\t98\t1\t1\t1\t1\t0
"""


def test_protochips_raw_with_a_pause(tmp_path):
    times, values, damaged = read(write(tmp_path / "a.csv", PROTOCHIPS))
    assert times == [0.0, 0.5, 60.5]
    assert values == {
        ("Temperature", "degC"): [25.0, 26.5, 30.0],
        ("Channel A Current", "mA"): [0.1, 0.2, 0.3],
    }
    assert damaged == 0


def test_protochips_gas(tmp_path):
    times, values, _ = read(write(tmp_path / "a.csv", GAS))
    assert times == [0.25, 1.25]
    assert values[("Holder Pressure", "Torr")] == [760.0, 759.0]


def test_impulse_has_its_date_in_the_file_beside_it(tmp_path):
    log = write(tmp_path / "exp1_Synchronized data.csv", IMPULSE)
    with pytest.raises(LogError, match=r"exp1_Metadata\.log.*date"):
        read(log)
    write(tmp_path / "exp1_Metadata.log", "Experiment date,01-06-2026\nLive notes,heated\n")
    times, values, _ = read(log, states=("Temperature Setpoint",))
    assert times == [0.0, 1.5]
    assert values[("Temperature Measured", "degC")] == [99.5, 99.75]
    kinds = {c.name: c.kind for c in understand(log, settings(states=("MixValve",))).columns}
    assert kinds == {
        "Temperature Setpoint": "number", "Temperature Measured": "number", "MixValve": "state",
    }  # fmt: skip
    assert read(log, date="2026-06-02")[0] == [86400.0, 86401.5]


def test_digiheater_goes_on_at_midnight(tmp_path):
    late = DIGIHEATER + "3\t23:59:59.0\t1\t97\t1\t1\t1\t1\t0\n4\t00:00:01.0\t1\t96\t1\t1\t1\t1\t0\n"
    times, values, _ = read(write(tmp_path / "heater.log", late))
    assert times == [0.0, 0.5, 43199.0, 43201.0]
    assert values[("Tmeas", "degC")] == [99, 98, 97, 96]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("time;T (°C)\n2026-06-01 12:00:00,5;1,5\n2026-06-01T12:00:01;2,5\n", {}),
        ("Time,T (°C)\n2026-06-01T10:00:00.5Z,1.5\n2026-06-01T10:00:01Z,2.5\n", {}),
        ("Date\tTime\tT [C]\n01.06.2026\t12:00:00.5\t1.5\n01.06.2026\t12:00:01.0\t2.5\n", {}),
        ("time (s),T / °C\n0.5,1.5\n1,2.5\n", {"start": "2026-06-01T12:00:00"}),
        ("time (ms),T / °C\n500,1.5\n1000,2.5\n", {"start": "2026-06-01T10:00:00Z"}),
        (f"timestamp,T (degC)\n{NOON + 0.5},1.5\n{NOON + 1},2.5\n", {}),
        ("Zeit;T (°C)\n46174,500005787;1,5\n46174,500011574;2,5\n", {}),
        ("when;T\n01/06/26 12h00m00.5;1.5\n01/06/26 12h00m01.0;2.5\n",
         {"time_column": "when", "time_format": "%d/%m/%y %Hh%Mm%S.%f",
          "columns": {"T": "T [°C]"}}),
        ("# a remark\n#\nuhrzeit;T (°C)\n12:00:00,5;1,5\n12:00:01,0;2,5\n",
         {"date": "2026-06-01"}),
    ],
    ids=["comma", "utc", "date-time", "elapsed", "ms", "unix", "excel", "format", "clock"],
)  # fmt: skip
def test_any_csv(tmp_path, text, more):
    times, values, damaged = read(write(tmp_path / "a.csv", text), **more)
    assert times == pytest.approx([0.5, 1.0], abs=2e-3)
    assert values == {("T", "degC"): [1.5, 2.5]}
    assert damaged == 0


def notes(path, **more):
    return [
        (round(one.time - NOON, 3), one.text)
        for block in read_log(path, settings(**more))
        for one in block.notes
    ]


@pytest.mark.parametrize(
    ("text", "more", "found"),
    [
        (PROTOCHIPS, {}, [(0.5, "ramp begins")]),
        (IMPULSE.replace("MixValve", "Comment").replace("0;0;0\n", "\n").replace("75,", "75,gas"),
         {"date": "2026-06-01"}, [(1.5, "gas")]),
        (DIGIHEATER.replace("\tc\n", "\tEvent\n").replace("\t0\n", "\ton\n", 1), {},
         [(0.0, "on"), (0.5, "0")]),
        ('time;T;"Remark"\n2026-06-01 12:00:00;1;"a; b"\n2026-06-01 12:00:01;2;"a; b"\n'
         "2026-06-01 12:00:02;3;\n2026-06-01 12:00:03;4; a;  \n2026-06-01 12:00:04;5;a  c\n"
         "no time;6;lost\n", {}, [(0, "a; b"), (4, "a c")]),
        ("time,T,event\n2026-06-01 12:00:00,1,0\n2026-06-01 12:00:01,2,1\n", {}, []),
        ("time,T,event\n2026-06-01 12:00:00,1,on\n",
         {"columns": {"T": "T", "event": "event"}}, []),
    ],
    ids=["protochips", "impulse", "digiheater", "quoted", "numbers", "chosen"],
)  # fmt: skip
def test_notes_are_told_with_their_time(tmp_path, text, more, found):
    path = write(tmp_path / "a.csv", text)
    assert notes(path, **more) == found
    assert ("notes in" in understand(path, settings(**more)).understood) == bool(found)


def test_a_note_on_many_lines_is_one_over_blocks_too(tmp_path, monkeypatch):
    marks = ["", "hot", "hot", "", "", "hot", "cold"]
    rows = [f"2026-06-01 12:00:{n:02},{n},{marks[n // 7]}\n" for n in range(49)]
    path = write(tmp_path / "a.csv", "time,T,note\n" + "".join(rows))
    for size in range(50, 300, 10):
        monkeypatch.setattr("pychip_stream.stimulus.log_reading._BLOCK", size)
        assert notes(path) == [(7, "hot"), (35, "hot"), (42, "cold")], size


def test_what_was_understood_is_said(tmp_path):
    words = understand(write(tmp_path / "a.csv", PROTOCHIPS), settings()).understood
    assert "Protochips" in words
    assert "Europe/Berlin" in words
    assert "Temperature [degC]" in words


def test_the_hours_that_there_are_twice_and_not_at_all(tmp_path):
    autumn = [f"2026-10-25 {t}" for t in ("01:59:00", "02:01:00", "02:59:00", "02:01:00", "03:01")]
    text = "time,T\n" + "".join(f"{t},{n}\n" for n, t in enumerate(autumn))
    (block,) = read_log(write(tmp_path / "a.csv", text), settings())
    assert np.diff(block.readings.time).tolist() == [120.0, 3480.0, 120.0, 3600.0]
    spring = "time,T\n2026-03-29 01:59:00,1\n2026-03-29 03:01:00,2\n"
    (block,) = read_log(write(tmp_path / "b.csv", spring), settings())
    assert np.diff(block.readings.time).tolist() == [120.0]


def test_damaged_lines_cost_themselves(tmp_path):
    text = "time,T (K),valve\n2026-06-01 12:00:00,1,on\n\x00\x00?,2,3\nhalf\n1,2,3,4,5\n"
    text += '2026-06-01 12:00:01,"oops,off\n2026-06-01 12:00:02,nan,off\n'
    times, values, damaged = read(write(tmp_path / "a.csv", text), states=("valve",))
    assert times == [0.0, 1.0, 2.0]
    np.testing.assert_array_equal(values[("T", "K")], [1, np.nan, np.nan])
    assert values[("valve", "")] == [1.0, 0.0, 0.0]
    assert damaged == 3


def test_a_log_is_read_to_its_last_whole_line_and_goes_on(tmp_path):
    path = write(tmp_path / "a.csv", "time,T\n")
    log = LogFile(path, settings())
    with pytest.raises(LogError, match="no reading yet"):
        list(log.blocks())
    with path.open("ab") as file:
        file.write(b"2026-06-01 12:00:00,1\n2026-06-01 12:00:01,")
    (block,) = log.blocks()
    assert block.readings.signals[0].values.tolist() == [1.0]
    assert (block.start, block.end) == (7, 29)
    assert list(log.blocks()) == []
    with path.open("ab") as file:
        file.write(b"2\n")
    (block,) = log.blocks()
    assert block.readings.signals[0].values.tolist() == [2.0]


@pytest.mark.parametrize("rotate", [True, False])
def test_a_rotated_or_replaced_log_is_followed(tmp_path, rotate):
    path = write(tmp_path / "a.csv", "time,T\n2026-06-01 12:00:00,1\n")
    log = LogFile(path, settings())
    (first,) = log.blocks()
    with path.open("ab") as file:
        file.write(b"2026-06-01 12:00:01,2\n")
    if rotate:
        path.rename(tmp_path / "a.csv.1")
    write(path, "time,T\n2026-06-01 12:00:05,5\n")
    blocks = list(log.blocks())
    found = [v for b in blocks for v in b.readings.signals[0].values.tolist()]
    assert found == ([2.0, 5.0] if rotate else [5.0])
    assert blocks[-1].origin != first.origin
    assert blocks[-1].start == 7


def test_a_long_log_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("pychip_stream.stimulus.log_reading._BLOCK", 100)
    rows = [f"2026-06-01 12:{n // 60:02}:{n % 60:02},{n}\n" for n in range(600)]
    path = write(tmp_path / "a.csv", "time,T\n" + "".join(rows))
    blocks = list(read_log(path, settings()))
    assert max(b.end - b.start for b in blocks) <= 100
    assert [b.start for b in blocks[1:]] == [b.end for b in blocks[:-1]]
    found = np.concatenate([b.readings.signals[0].values for b in blocks])
    assert found.tolist() == list(range(600))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n1,2\n", "time_column"),
        ("time,T\nsoon,2\nlater,3\n", "time_format"),
        ("time,T\n1,2\n2,3\n", "give it \\(start"),
        ("time,T\n12:00:00,2\n", "give its date"),
        ("time\n", "header|column"),
        ("", "headers"),
    ],
)
def test_what_is_not_understood_says_what_to_do(tmp_path, text, why):
    with pytest.raises(LogError, match=why):
        list(read_log(write(tmp_path / "a.csv", text), settings()))
    with pytest.raises(LogError, match="choose auto"):
        understand(tmp_path / "a.csv", settings(dialect="nonsense"))


def test_units_in_headers():
    assert split_header("Temperature (°C)") == ("Temperature", "degC")
    assert split_header("p [mbar]") == ("p", "mbar")
    assert split_header("U / V") == ("U", "V")
    assert split_header("flow") == ("flow", "")


def test_each_dialect_is_named_and_says_what_it_is():
    assert DIALECTS.names == ("protochips", "impulse", "digiheater", "csv")
    assert all(dialect.meaning for dialect in DIALECTS)
