"""Times of frames are as fine as what is known of them, live and afterwards."""

import numpy as np
import pytest

from pychip_stream.archive.run import open_run
from tests.support.stack import call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]

RATE, COUNT = 5, 20


def times_of(path):
    """Time since the first frame of every frame, in the order of the archive."""
    table = open_run(path).fractions
    return dict(zip(table["path"], table["time_s"], strict=True))


def test_a_fast_tiff_series_is_evenly_timed_in_live_run_and_classify_alike(stack, tmp_path):
    first = tmp_path / "first"
    call_json("simulate", first, "--frames", 1, "--size", "128", "--format", "tiff")
    picks = ("--pick", "a=0,0;1,1;2,0", "--pick", "b=3,3;2,2;0,3")
    support = tmp_path / "s.h5"
    frame = next(first.rglob("*.tif*"))
    call_json("support", "make", frame, "--chip-size", 32, *picks, "-o", support)

    run = stack(support).start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    call_json(
        "simulate", run.root, "--frames", COUNT, "--rate", RATE, "--size", "128",
        "--format", "tiff", "--name", "fast",
    )  # fmt: skip
    run.wait_archived(COUNT)
    run.stop()
    live = times_of(run.config.run_path)
    call_json("classify", run.root, "--support", support, "--out", tmp_path / "again.h5")
    again = times_of(tmp_path / "again.h5")

    written = {p.name: p.stat().st_mtime for p in run.root.rglob("*.tif*")}
    taken = np.arange(COUNT) / RATE
    for times in (live, again):
        names = [path.rpartition("/")[2] for path in times]
        assert names == sorted(written)  # Gatan's names sort by time
    assert list(again.values()) == pytest.approx(taken, abs=1e-5)
    # While the first second goes on, its frames are known as well as they were written.
    late = np.array([written[name] for name in sorted(written)]) - taken
    found = np.array(list(live.values()))
    assert found[RATE:] == pytest.approx(taken[RATE:], abs=1e-5)
    assert found[:RATE] == pytest.approx(taken[:RATE], abs=np.ptp(late[:RATE]) + 1e-5)
