import contextlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.support import MAX_CLASSES
from pychip_stream.errors import WireError
from pychip_stream.wire import codec
from pychip_stream.wire.checks import check
from pychip_stream.wire.messages import Array, Job, Measurement, Ready, Result, Stimulus
from pychip_stream.wire.result import to_message, to_record
from tests.support.archive_samples import record

REF = FrameRef(path="a/b.dm4", size=3)


def parts(message, arrays=None):
    return [bytes(p) for p in codec.encode(message, arrays)]


@given(
    hnp.arrays(
        st.sampled_from(["u1", "<f2", ">u2", "<f4", ">f8", "?", "<i8"]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_arrays_arrive_as_they_were_sent(array):
    packet = codec.decode(parts(Result(worker="w", frame=REF, status="ok"), {"x": array}))
    received = packet.arrays["x"]
    assert received.shape == array.shape
    assert received.tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
    assert not received.flags.writeable


def test_a_message_arrives_as_it_was_sent():
    job = Job(lease=7, frame=REF, newest=True, attempt=2)
    assert codec.decode(parts(job)).message == job


def test_contiguous_arrays_are_not_copied():
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    buffer = codec.encode(Ready(worker="w", credit=1), {"x": array})[2]
    assert np.shares_memory(np.asarray(buffer), array)


@pytest.mark.parametrize(
    "spec",
    [
        Array("x", "O", (1,)),
        Array("x", "V8", (1,)),
        Array("x", "<f4", (2,)),
        Array("x", "<f4", (-1,)),
        Array("x", "U1", (1,)),
        Array("x", "nonsense", (1,)),
        Array("x", "<f4", (1 << 62, 1 << 62)),
        Array("x" * 100, "<f4", (1,)),
    ],
)
def test_arrays_that_are_not_plain_numbers_are_refused(spec):
    header = msgspec.msgpack.encode(Ready(worker="w", credit=1, arrays=(spec,)))
    with pytest.raises(WireError):
        codec.decode([codec.MAGIC, header, b"\0\0\0\0"])


def test_an_array_without_bytes_cannot_be_of_any_size():
    spec = Array("x", "<f4", (0, 1 << 62, 1 << 62))
    header = msgspec.msgpack.encode(Ready(worker="w", credit=1, arrays=(spec,)))
    with pytest.raises(WireError, match="shape"):
        codec.decode([codec.MAGIC, header, b""])


def test_two_arrays_of_one_name_are_refused():
    spec = Array("x", "<f4", (1,))
    header = msgspec.msgpack.encode(Ready(worker="w", credit=1, arrays=(spec, spec)))
    with pytest.raises(WireError, match="one name"):
        codec.decode([codec.MAGIC, header, b"\0\0\0\0", b"\0\0\0\0"])


def test_another_version_is_refused():
    message = parts(Ready(worker="w", credit=1))
    message[0] = b"pychip-stream/999"
    with pytest.raises(WireError, match="version"):
        codec.decode(message)


@settings(max_examples=500)
@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
def test_any_bytes_give_a_message_or_a_wire_error(frames, with_magic):
    with pytest.raises(WireError):
        codec.decode(([codec.MAGIC] if with_magic else []) + frames)


@settings(max_examples=500)
@given(st.data())
def test_a_damaged_message_gives_a_message_or_a_wire_error(data):
    message = parts(Result(worker="w", frame=REF, status="ok"), {"x": np.arange(5.0)})
    which = data.draw(st.integers(0, len(message) - 1))
    victim = bytearray(message[which])
    at = data.draw(st.integers(0, len(victim) - 1))
    victim[at] ^= data.draw(st.integers(1, 255))
    message[which] = bytes(victim[: data.draw(st.integers(at + 1, len(victim)))])
    with contextlib.suppress(WireError):
        codec.decode(message)


def test_quantities_of_as_many_classes_as_a_run_may_have_are_told():
    measured = {f"{'c' * 190}{number:03d}.domains": 1.0 for number in range(MAX_CLASSES)}
    sent = replace(record(0), measured=measured)
    got = to_record(codec.decode(codec.encode(*to_message(sent, "w"))))
    assert got.measured == measured


@pytest.mark.parametrize(
    ("changes", "arrays"),
    [
        ({"value": float("inf")}, None),
        ({"name": " "}, None),
        ({"source": "a\x00b"}, None),
        ({"time": float("nan")}, None),
        (None, {"time": np.zeros(2), "values": np.zeros((3, 1))}),
        (None, {"time": np.zeros(2), "values": np.zeros((2, 2))}),
        (None, {"time": np.zeros(2)}),
        (None, {"time": np.zeros(2), "values": np.zeros((2, 1), np.float32)}),
    ],
)
def test_readings_that_make_no_sense_are_refused(changes, arrays):
    if changes is None:
        message = Stimulus(source="oven", quantities=("heat_K",), units=("K",))
    else:
        told = {"source": "oven", "name": "heat", "value": 1.0, "time": 1.7e9}
        message = Measurement(**told | changes)
    with pytest.raises(WireError):
        check(codec.decode(parts(message, arrays)))
