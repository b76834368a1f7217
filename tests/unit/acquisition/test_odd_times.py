"""Files of times that no clock shows: each is a time, and its frame is archived."""

import os

import pytest

from pychip_stream.domain.frames import FrameRef, mtime_of
from pychip_stream.formats.reading import read_checked
from pychip_stream.wire import codec
from pychip_stream.wire.messages import Archived, ArchivedKey, FrameFailed, Job
from tests.support.material import put

YEAR_S = 31_556_952


@pytest.mark.parametrize("year", [-30_000, 1, 1901, 1969, 2039, 2117, 2199, 2300, 2486, 30_000])
def test_a_frame_goes_all_its_way_whatever_the_time_of_its_file(root, watch, year):
    path = put(root / "a.dm4")
    wanted = (year - 1970) * YEAR_S * 10**9
    try:
        os.utime(path, ns=(wanted, wanted))
    except (OSError, OverflowError) as error:
        pytest.skip(f"this file system refuses: {error}")
    seen = watch(mode="poll", quiet_s=0.0)
    seen.wait_paths(["a.dm4"])
    frame = seen.all[0].frame
    for message in (Job(lease=1, frame=frame), FrameFailed(frame=frame, reason="x")):
        parts = [bytes(part) for part in codec.encode(message, {})]
        assert codec.decode(parts).message.frame == frame
    key = ArchivedKey(frame.path, 0, frame.size, frame.mtime_ns, False)
    told = codec.encode(Archived(run="r", start=0, keys=(key,)), {})
    assert codec.decode([bytes(part) for part in told]).message.keys[0].frame == frame
    read, _ = read_checked(path, 0, frame.size, frame.mtime_ns)
    assert read.shape == (16, 16)
    seen.wait_passes(2)
    assert len(seen.all) == 1


def test_a_time_beyond_any_range_is_its_end():
    class Stat:
        st_mtime_ns = 1 << 80

    first = mtime_of(Stat)
    Stat.st_mtime_ns = -(1 << 80)
    assert first == -mtime_of(Stat) < 1 << 63
    assert FrameRef(path="a", mtime_ns=first) != FrameRef(path="a", mtime_ns=-first)
