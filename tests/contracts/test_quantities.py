"""What every quantity of frames must do, and how another package adds one."""

import csv
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from pychip_stream.alert_rules import AlertRule
from pychip_stream.archive import layout
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain import quantities
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.quantities import OF_FRAMES, OF_RUNS
from pychip_stream.export.tables import export_quantities
from tests.contracts.outside import install, tell
from tests.support.archive_samples import record, result

FRAME = Frame(np.arange(100, dtype=np.uint16).reshape(10, 10), exposure_s=0.5)

OUTSIDE = """
from pychip_stream.domain.quantities import Quantity

TEMPERATURE = Quantity(
    "temperature_C", "degC", "of the stage", measure=lambda frame, result: 20.0 + frame.index
)
"""


@pytest.fixture(params=list(OF_FRAMES), ids=lambda quantity: quantity.name)
def quantity(request):
    return request.param


class TestQuantity:
    def test_its_name_is_fit_for_tables_and_metrics(self, quantity):
        assert re.fullmatch(r"[A-Za-z]\w*", quantity.name, re.ASCII)
        assert quantity.meaning
        names = [*OF_FRAMES.names, *(q.name for q in OF_RUNS), *quantities.FRACTIONS]
        assert names.count(quantity.name) == 1

    def test_it_gives_a_number_or_none(self, quantity):
        for frame in (FRAME, Frame(np.full((4, 4), np.nan))):
            found = quantity.measure(frame, result(0))
            if quantity.per_class:
                assert found.keys() == set(result(0).names)
            for value in found.values() if quantity.per_class else (found,):
                assert value is None or isinstance(value, float)

    def test_it_is_told_with_its_unit(self, quantity):
        assert quantities.tell(quantity.name, 1.5) == f"1.5 {quantity.unit}".strip()

    def test_it_is_a_column_of_the_archive(self, quantity):
        name = f"a/b.{quantity.name}" if quantity.per_class else quantity.name
        table = layout.table_of([record(0, measured={name: 1.5})], [0], range(1), 0)
        assert table[name].tolist() == [1.5]
        with h5py.File.in_memory() as file:
            layout.write_table(file.create_group("frames"), table)
            stored = file["frames"][name.replace("/", "%2F")]
            assert stored.attrs["long_name"].startswith(quantity.meaning)
            assert stored.attrs.get("units", "") == quantity.unit
            assert layout.read_table(file["frames"])[name].tolist() == [1.5]

    def test_rules_can_watch_it_where_it_says_so(self, quantity):
        rule = {"name": "r", "quantity": quantity.name, "above": 1.0}
        if quantity.watched and quantity.per_class:
            with pytest.raises(ValidationError, match="needs a class"):
                AlertRule.model_validate(rule)
            of = AlertRule.model_validate(rule | {"class": "a"})
            assert of.subject == f"{quantity.name} of a"
        elif quantity.watched:
            assert AlertRule.model_validate(rule).subject == quantity.name
        else:
            assert quantity.name not in quantities.watched()


def test_what_is_not_known_is_left_out():
    found = quantities.measure(Frame(np.zeros((4, 4))), result(0))
    assert "exposure_s" not in found
    assert "drift" not in found
    assert quantities.measure(FRAME, result(0))["exposure_s"] == 0.5


def test_a_full_name_is_taken_apart_again():
    domains = OF_FRAMES["domains"]
    assert quantities.find("a.b.domains") == domains.of_class("a.b")
    assert quantities.find("domains") is None
    assert quantities.find("a.drift") is None
    assert quantities.find("drift") == OF_FRAMES["drift"]
    assert quantities.find("a.nothing") is None
    names = [quantity.name for quantity in quantities.of_frames(["x", "y"])]
    assert names[-2:] == ["x.domains", "y.domains"]


def test_domains_are_the_connected_areas_of_a_class():
    labels = np.array([[0, 0, 1, 2], [1, 1, 0, 2], [0, 1, 0, 2]], np.uint8)
    of_classes = replace(result(0), names=("a", "b"), label_map=labels)
    found = quantities.measure(FRAME, of_classes)
    assert (found["a.domains"], found["b.domains"]) == (3.0, 2.0)
    assert "unknown.domains" not in found


OF_CLASSES = """
from pychip_stream.domain.quantities import Quantity

LARGEST = Quantity(
    "largest", "chip", "largest of them", per_class=True,
    measure=lambda frame, result: {name: 10.0 + i for i, name in enumerate(result.names)},
)
"""

OF_CLASSES_SCRIPT = """
import contextlib, csv, json, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from tests.support.archive_samples import record, result
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.main import main
from pychip_stream.config import Config
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.quantities import measure
from pychip_stream.operation.alerts import Alerting
from pychip_stream.operation.health import RunHealth
from pychip_stream.wire import codec
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Live
from pychip_stream.wire.result import to_message, to_record

folder = Path(sys.argv[1])
writer = RunWriter(folder, "run", segment_frames=2)
names = result(0).names
for number in range(3):
    measured = measure(Frame(np.zeros((4, 4)), index=number), result(number))
    sent = codec.encode(*to_message(record(number, measured=measured), "w"))
    writer.append(to_record(codec.decode(sent)))
    writer.publish()
closed = writer.close()
with contextlib.suppress(SystemExit):
    main(["export", str(closed), "--quantities", str(folder / "q.csv")])
rows = list(csv.DictReader((folder / "q.csv").open()))
live = Live(
    frame=record(0).frame, names=names, colors=("",) * (len(names) + 1), support_version="",
    chip_size=(4, 4), shape=(4, 4), status="ok", measured=measured,
)
health = RunHealth()
health.take(Received(Packet(live, {"intervals": np.zeros((len(names) + 1, 3))}), b"", b""))
rules = [{"name": "big", "quantity": "largest", "class": names[1], "above": 5}]
tree = {"watch": {"root": "."}, "alerts": {"rules": rules}}
fired = Alerting(Config.model_validate(tree)).look(health.values(), "x")
key = f"{names[1]}.largest"
archived = open_run(closed).columns(key)[key].tolist()
print(json.dumps([archived, [row[key] for row in rows], [alert.reason for alert in fired]]))
"""


def test_one_of_classes_from_outside_is_everywhere(tmp_path):
    there = install(tmp_path / "site", "pychip_stream.quantities", "LARGEST", OF_CLASSES)
    archived, columns, fired = tell(there, OF_CLASSES_SCRIPT, tmp_path)
    assert archived == [11.0] * 3
    assert columns == ["11"] * 3
    assert fired == [f"largest of {result(0).names[1]} 11 chip is above 5 chip"]


SCRIPT = """
import contextlib, csv, io, json, sys
from pathlib import Path
import numpy as np
from tests.support.archive_samples import record, result
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.main import main
from pychip_stream.config import Config
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.quantities import measure
from pychip_stream.operation.alerts import Alerting
from pychip_stream.operation.health import RunHealth
from pychip_stream.operation.metrics import HealthCollector
from pychip_stream.wire import codec
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Live
from pychip_stream.wire.result import to_message, to_record

folder = Path(sys.argv[1])
writer = RunWriter(folder, "run", segment_frames=2)
for number in range(3):
    measured = measure(Frame(np.zeros((4, 4)), index=number), result(number))
    sent = codec.encode(*to_message(record(number, measured=measured), "w"))
    writer.append(to_record(codec.decode(sent)))
    writer.publish()
writer.release()
archived = open_run(folder / "run.h5").frames["temperature_C"].tolist()
with contextlib.suppress(SystemExit):
    main(["export", str(folder / "run.h5"), "--quantities", str(folder / "q.csv")])
rows = list(csv.DictReader((folder / "q.csv").open()))
live = Live(
    frame=record(0).frame, names=("a",), colors=("", ""), support_version="", chip_size=(4, 4),
    shape=(4, 4), status="ok", measured=measured,
)
health = RunHealth()
health.take(Received(Packet(live, {"intervals": np.zeros((2, 3))}), b"", b""))
told = [
    sample.value
    for metric in HealthCollector(health).collect()
    for sample in metric.samples
    if sample.labels.get("quantity") == "temperature_C"
]
rules = [{"name": "hot", "quantity": "temperature_C", "above": 21}]
tree = {"watch": {"root": "."}, "alerts": {"rules": rules}}
fired = Alerting(Config.model_validate(tree)).look(health.values(), "x")
columns = [row["temperature_C"] for row in rows]
print(json.dumps([archived, columns, told, [alert.reason for alert in fired]]))
"""


def test_one_from_outside_is_everywhere_and_is_kept_where_it_is_not_known(tmp_path):
    there = install(tmp_path / "site", "pychip_stream.quantities", "TEMPERATURE", OUTSIDE)
    archived, columns, told, fired = tell(there, SCRIPT, tmp_path)
    assert archived == [20.0, 21.0, 22.0]
    assert columns == ["20", "21", "22"]
    assert told == [22.0]
    assert fired == ["temperature_C 22 degC is above 21 degC"]
    assert "temperature_C" not in OF_FRAMES
    writer = RunWriter(tmp_path, "run")  # the next start is on a machine without the package
    writer.append(record(3))
    closed = writer.close()
    run = open_run(closed)
    np.testing.assert_array_equal(run.frames["temperature_C"], [20.0, 21.0, 22.0, np.nan])
    np.testing.assert_array_equal(run.columns("temperature_C")["temperature_C"][:3], archived)
    with pytest.raises(KeyError):
        run.columns("temperature_K")
    assert np.isnan(run.columns("nobody.domains")["nobody.domains"]).all()
    names = [quantity.name for quantity in quantities.of_frames()]
    of_classes = {quantity.name for quantity in quantities.of_frames(result(0).names)} - {*names}
    export_quantities(run, tmp_path / "later.csv")
    with (tmp_path / "later.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["temperature_C"] for row in rows] == ["20", "21", "22", ""]
    head = ["frame", "index", "path", "time_s", *names, *sorted(of_classes), "temperature_C"]
    assert [*rows[0]] == head
    assert rows[0]["intensity_mean"] == "0"
    assert rows[0]["exposure_s"] == ""
