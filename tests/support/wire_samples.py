"""A good message of every type."""

from typing import get_args

import numpy as np

from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.domain.frames import FrameRef
from pychip_stream.wire import codec, messages
from pychip_stream.wire.result import to_message
from tests.support.archive_samples import NAMES, record, support


def samples():
    """A good message of every type, as [(header, arrays)]."""
    made = record(3)
    result, arrays = to_message(made, "worker-1")
    frame, times = made.frame, dict.fromkeys(("started", "read", "classified", "received"), 1.7e9)
    shown = {
        "label_map": made.result.label_map,
        "confidence": np.full_like(made.result.label_map, 200),
        "intervals": made.result.intervals,
    }
    data = codec.bytes_array(support_to_bytes(support()))
    image = messages.Image(
        content_hash="c", pixel_size=0.1, unit="nm", time=1.7e9, exposure_s=1.0, pixel_ratio=2.0,
        notes=("2 channels: SE is analysed, BSE left out",),
        metadata={"high_voltage_kV": 200.0, "detector": "SE"},
    )  # fmt: skip
    key = messages.ArchivedKey(frame.path, 0, frame.size, frame.mtime_ns, False)
    good = [
        (messages.Ready(worker="worker-1", credit=2, held=(7, 8)), {}),
        (messages.Job(lease=7, frame=frame, image=image), {"pixels": np.ones((8, 8), "<u2")}),
        (messages.Release(lease=7, reason="it changed"), {}),
        (messages.ArchiverBeat(run="r", count=3), {}),
        (messages.KeysWanted(start=0), {}),
        (messages.Archived(run="r", start=0, keys=(key, key)), {}),
        (messages.FrameFailed(frame=FrameRef(path="f.tif"), reason="torn"), {}),
        (messages.FrameMoved(frame=frame, to="g.tif"), {}),
        (result, arrays),
        (messages.Seen(frame=frame), {}),
        (
            messages.Live(
                frame=frame, names=NAMES, colors=("#112233", "#445566"), support_version="v",
                chip_size=made.chip_size, shape=made.shape, status="ok", measured={"drift": 0.5},
                **times,
            ),
            shown,
        ),
        (
            messages.Status(
                service="watcher", instance="watcher", state="running", time=1.7e9,
                counters={"seen": 3.0, "archived": 2.0, "behind": 1.0, "latency.read.p50": 0.5},
            ),
            {},
        ),
        (
            messages.Alert(
                id="1", rule="r", level="info", state="on", reason="because", time=1.7e9, path="f"
            ),
            {},
        ),
        (messages.Measurement(source="oven", name="heat", value=1.5, unit="K", time=1.7e9), {}),
        (messages.Event(id="1", author="oven", text="valve opened", time=1.7e9), {}),
        (
            messages.Stimulus(source="oven", quantities=("heat_K",), units=("K",)),
            {"time": np.array([1.7e9, 1.7e9 + 1]), "values": np.array([[1.5], [2.5]])},
        ),
        (messages.PublishSupport(author="ada"), data),
        (messages.SetPixelSize(size="0.5 nm", author="ada"), {}),
        (messages.PixelSizeChanged(size="0.5 nm"), {}),
        (messages.Reply(ok=True, detail="1"), {}),
        (messages.SupportChanged(version="v", names=NAMES), data),
    ]  # fmt: skip
    assert {type(m) for m, _ in good} == set(get_args(messages.AnyMessage))
    return good
