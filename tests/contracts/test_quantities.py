"""What every quantity of frames must do, and how another package adds one."""

import csv
import re

import numpy as np
import pytest

from pychip_stream.archive import layout
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.config import AlertRule
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
            value = quantity.measure(frame, result(0))
            assert value is None or isinstance(value, float)

    def test_it_is_told_with_its_unit(self, quantity):
        assert quantities.tell(quantity.name, 1.5) == f"1.5 {quantity.unit}".strip()

    def test_it_is_a_column_of_the_archive(self, quantity):
        (column,) = (c for c in layout.COLUMNS if c.name == quantity.name)
        assert (column.dtype, column.unit, column.meaning) == (
            "f8", quantity.unit, quantity.meaning
        )  # fmt: skip

    def test_rules_can_watch_it_where_it_says_so(self, quantity):
        rule = {"name": "r", "quantity": quantity.name, "above": 1.0}
        if quantity.watched:
            assert AlertRule.model_validate(rule).subject == quantity.name
        else:
            assert quantity.name not in quantities.watched()


def test_what_is_not_known_is_left_out():
    found = quantities.measure(Frame(np.zeros((4, 4))), result(0))
    assert "exposure_s" not in found
    assert "drift" not in found
    assert quantities.measure(FRAME, result(0))["exposure_s"] == 0.5


SCRIPT = """
import contextlib, csv, io, json, sys
from pathlib import Path
import numpy as np
from tests.support.archive_samples import record, result
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.main import main
from pychip_stream.config import AlertConfig, Config
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
    export_quantities(run, tmp_path / "later.csv")
    with (tmp_path / "later.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["temperature_C"] for row in rows] == ["20", "21", "22", ""]
    head = ["frame", "index", "path", "time_s", *OF_FRAMES.names, "temperature_C"]
    assert [*rows[0]] == head
    assert rows[0]["intensity_mean"] == "0"
    assert rows[0]["exposure_s"] == ""
