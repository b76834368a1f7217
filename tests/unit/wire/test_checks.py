"""Each thing that keeps a message out, one at a time, with the reason that is logged."""

import math

import msgspec
import numpy as np
import pytest

from pychip_stream.domain.frames import EARLIEST_S, LATEST_S, FrameRef
from pychip_stream.domain.support import MAX_CLASSES, UNKNOWN
from pychip_stream.errors import WireError
from pychip_stream.wire import messages as m
from pychip_stream.wire.checks import check
from pychip_stream.wire.codec import Packet
from tests.support.archive_samples import DIM, GRID, NAMES
from tests.support.wire_samples import samples

GOOD = {type(message): (message, arrays) for message, arrays in samples()}
COUNT = len(NAMES)
KEY = m.ArchivedKey("a\0b", 0, 1, 1, False)
MANY = tuple(f"c{number}" for number in range(MAX_CLASSES + 1))
SMALLEST = {
    "label_map": np.zeros((1, 1), np.uint8),
    "probabilities": np.ones((1, 1, 1), np.float32),
    "distances": np.ones((1, 1, 1), np.float32),
    "novelty": np.ones((1, 1), np.float32),
    "intervals": np.zeros((2, 3)),
    "embeddings": np.ones((1, 1, 1), np.float16),
}


def take_in(kind, fields=None, arrays=None):
    """Check a good message with some fields and arrays changed; None takes an array away."""
    message, good = GOOD[kind]
    changed = good | (arrays or {})
    kept = {name: array for name, array in changed.items() if array is not None}
    check(Packet(msgspec.structs.replace(message, **(fields or {})), kept))


def at(**moments):
    return {"frame": FrameRef(path="a.tif", **{"time": 1.7e9, "seen": 1.7e9} | moments)}


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_good_messages_are_let_in(kind):
    take_in(kind)


@pytest.mark.parametrize(
    ("kind", "fields", "arrays"),
    [
        (m.Result, {"status": "failed", "names": (), "reason": "torn"}, {"label_map": None}),
        (m.Result, {"read": math.nan}, {}),
        (m.Result, {}, {"embeddings": None}),
        (m.Seen, at(time=EARLIEST_S, seen=LATEST_S), {}),
        (m.Job, {}, {"pixels": None}),
        (m.Live, {"colors": ()}, {}),
        (m.Live, {}, {"label_map": None, "confidence": None, "intervals": None}),
        (m.Live, {}, {"label_map": np.full(GRID, COUNT, np.uint8)}),
        (m.Live, {}, {"intervals": np.full((COUNT + 1, 3), math.nan)}),
        (m.PixelSizeChanged, {"size": ""}, {}),
        (m.Measurement, {"value": math.nan}, {}),
        (m.Result, {"names": ("a",), "chip_size": (1, 1), "shape": (1, 1)}, SMALLEST),
        (m.Job, {}, {"pixels": np.zeros((1, 1))}),
        (m.Live, {"names": MANY[:-1], "colors": ()}, {"intervals": np.zeros((MAX_CLASSES + 1, 3))}),
    ],
)
def test_what_is_not_known_or_at_its_limit_is_no_fault(kind, fields, arrays):
    take_in(kind, fields, arrays)


def grid(kind):
    """What is wrong with labels and fractions, of results and of what is shown live alike."""
    whole = np.zeros(GRID, np.uint8)
    return [
        (kind, {}, {"label_map": None}, "lacks its label map or intervals"),
        (kind, {}, {"intervals": None}, "lacks its label map or intervals"),
        (kind, {"chip_size": (0, 16)}, {}, "chips of 0 x 16 pixels"),
        (kind, {"chip_size": (16, 0)}, {}, "chips of 16 x 0 pixels"),
        (kind, {"shape": (16 * GRID[0] - 1, 70)}, {}, "a label map of"),
        (kind, {"shape": (50, 16 * GRID[1] - 1)}, {}, "a label map of"),
        (kind, {"shape": (8, 8)}, {"label_map": whole[:0, :0]}, "a label map of"),
        (kind, {}, {"label_map": whole.astype(np.int16)}, "a label map of int16"),
        (kind, {}, {"label_map": whole + np.uint8(COUNT + 1)}, f"labels beyond its {COUNT}"),
        (kind, {}, {"intervals": np.zeros((COUNT, 3))}, "intervals of float64"),
        (kind, {}, {"intervals": np.zeros((COUNT + 1, 3), np.int64)}, "intervals of int64"),
        (kind, {}, {"intervals": np.full((COUNT + 1, 3), math.inf)}, "infinite fractions"),
        (kind, {"names": ("a", "a")}, {}, "two classes of one name"),
        (kind, {"names": ("a", " ")}, {}, "without a name of its own"),
        (kind, {"names": ("a", UNKNOWN)}, {}, "without a name of its own"),
        (kind, {"names": MANY, "colors": ()} if kind is m.Live else {"names": MANY}, {}, "at most"),
        (kind, {"read": math.inf}, {}, "its moment 'read' is infinite"),
        (kind, {"names": ("a", "b\n")}, {}, "cannot be printed"),
    ]


@pytest.mark.parametrize(
    ("kind", "fields", "arrays", "why"),
    [
        *grid(m.Result),
        *grid(m.Live),
        (m.Result, {"names": ()}, {}, "no classes"),
        *((m.Result, {}, {name: None}, f"lacks {name}")
          for name in ("probabilities", "distances", "novelty")),
        *((m.Result, {}, {name: np.zeros((*GRID, COUNT + 1))}, f"{name} of float64")
          for name in ("probabilities", "distances", "novelty")),
        (m.Result, {}, {"novelty": np.zeros(GRID, np.int32)}, "novelty of int32"),
        (m.Result, {}, {"embeddings": np.zeros(GRID, np.float16)}, "embeddings do not fit"),
        (m.Result, {}, {"embeddings": np.zeros((*GRID, 0), np.float16)}, "embeddings do not fit"),
        (m.Result, {}, {"embeddings": np.zeros((*GRID, DIM))}, "embeddings do not fit"),
        (m.Result, {}, {"embeddings": np.zeros((1, 1, DIM), np.float16)}, "embeddings do not fit"),
        (m.Live, {"colors": ("#112233",)}, {}, "1 colours of 2 classes"),
        (m.Live, {"low": math.nan}, {}, "grey between"),
        (m.Live, {"high": math.inf}, {}, "grey between"),
        (m.Live, {}, {"confidence": None}, "confidence is missing"),
        (m.Live, {}, {"confidence": np.zeros((1, 1), np.uint8)}, "confidence does not fit"),
        (m.Live, {}, {"novelty": np.zeros(GRID, np.float32)}, "novelty does not fit"),
        (m.Job, {"image": m.Image(content_hash="a\0")}, {}, "its content_hash"),
        (m.Job, {"image": m.Image(content_hash="", unit="\n")}, {}, "its unit"),
        (m.Job, {}, {"pixels": np.zeros(8)}, "pixels that are no image"),
        (m.Job, {}, {"pixels": np.zeros((0, 8))}, "pixels that are no image"),
        (m.PublishSupport, {}, {"data": np.zeros(8)}, "data that are no bytes"),
        (m.SupportChanged, {}, {"data": np.zeros((8, 1), np.uint8)}, "data that are no bytes"),
        (m.PixelSizeChanged, {"size": "wide"}, {}, "wide"),
        (m.Seen, at(time=EARLIEST_S - 1e6), {}, "its times"),
        (m.Seen, at(seen=LATEST_S * 1.01), {}, "its times"),
        (m.Seen, at(time=math.nan), {}, "its times"),
        (m.Seen, {"frame": FrameRef(path="../a.tif")}, {}, "a.tif"),
        (m.Seen, {"frame": FrameRef(path="a\0.tif")}, {}, "NUL"),
        (m.Alert, {"path": "a\0.tif"}, {}, "NUL"),
        (m.Archived, {"keys": (KEY,)}, {}, "NUL"),
        (m.Ready, {"worker": "a\x1b[2J"}, {}, "its worker"),
        (m.Status, {"counters": {"a\n": 1.0}}, {}, "counters hold"),
        (m.Status, {"files": (m.TroubledFile("a\n", "torn", ""),)}, {}, "its files hold"),
        (m.Event, {"id": " "}, {}, "without an id"),
        (m.Event, {"author": ""}, {}, "without an id, an author"),
        (m.Event, {"text": " "}, {}, "without an id, an author or a text"),
        (m.Measurement, {"source": " "}, {}, "a reading without a name"),
        (m.Measurement, {"name": ""}, {}, "a reading without a name"),
        (m.Measurement, {"value": -math.inf}, {}, "is infinite"),
        (m.Stimulus, {"units": ()}, {}, "readings that do not fit"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_reason(kind, fields, arrays, why):
    with pytest.raises(WireError) as refused:
        take_in(kind, fields, arrays)
    assert why in str(refused.value)
