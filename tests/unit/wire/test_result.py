from dataclasses import replace

import h5py
import numpy as np
import pytest
from msgspec import structs

from pychip_stream.archive import layout
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.records import FrameRecord, FrameResult
from pychip_stream.errors import WireError
from pychip_stream.wire.checks import check
from pychip_stream.wire.codec import decode, encode
from pychip_stream.wire.result import to_message, to_record


@pytest.fixture
def record():
    result = FrameResult(
        names=("a", "b"),
        label_map=np.zeros((2, 3), np.uint8),
        probabilities=np.full((2, 3, 2), 0.5, np.float32),
        distances=np.ones((2, 3, 2), np.float32),
        novelty=np.zeros((2, 3), np.float32),
        intervals=np.array([[1.0, 0.9, 1.0], [0.0, 0.0, 0.1], [0.0, 0.0, 0.0]]),
        support_version="v",
        drift=0.75,
    )
    return FrameRecord(
        frame=FrameRef(path="a.tif"),
        result=result,
        measured={"drift": 0.75, "exposure_s": 2.0},
        shape=(64, 96),
        started=3.0,
    )


def over_the_wire(record):
    message, arrays = to_message(record, "worker-1")
    return to_record(decode(encode(message, arrays)))


def test_quantities_travel_with_the_result(record):
    arrived = over_the_wire(record)
    assert arrived.result.drift == 0.75
    assert arrived.measured == {"drift": 0.75, "exposure_s": 2.0}
    np.testing.assert_array_equal(arrived.result.intervals, record.result.intervals)
    assert arrived.started == 3.0


def test_a_drift_that_was_not_measured_stays_so(record):
    unmeasured = replace(record, measured={})
    assert np.isnan(over_the_wire(unmeasured).result.drift)


def test_tables_from_before_the_drift_open_with_an_empty_column(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        group = file.create_group("frames")
        group["sequence"] = np.arange(3)
        table = layout.read_table(group)
    assert np.isnan(table["drift"]).all()
    assert table["revision"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("time", [1e300, -1e300, 3e11, float("nan"), float("inf")])
def test_a_frame_of_a_time_that_no_calendar_has_is_refused(record, time):
    """A change point at its moment would be sent again and again, and taken by nobody."""
    message, arrays = to_message(record, "worker-1")
    for frame in (replace(record.frame, time=time), replace(record.frame, seen=time)):
        packet = decode(encode(structs.replace(message, frame=frame), arrays))
        with pytest.raises(WireError, match="its times"):
            check(packet)
