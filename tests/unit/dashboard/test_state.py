"""What the sessions pull; and that none of it needs Panel."""

import io
import subprocess
import sys

import numpy as np
from msgspec.structs import replace
from PIL import Image

from dashboard.work.frame_pictures import checked_rect, crop_jpeg, to_jpeg
from dashboard.work.state import Alert, RunState, Shot
from pychip_stream.domain.normalization import Normalization
from pychip_stream.sim.truth import TruthFile
from tests.support.live_frames import HALF, live


def test_curves_are_made_once_and_again_after_a_change():
    state = RunState()
    state.record(live(), HALF)
    first = state.curves(None)
    assert state.curves(None)[0] is first[0]
    state.record(live("b.tif", 2.0), HALF)
    assert len(state.curves(None)[0]) == 2
    assert set(first[0].values) == {"alpha", "unknown"}


def test_marks_stand_where_the_support_set_changed():
    state = RunState()
    for moment, version in ((1, "v1"), (2, "v1"), (3, "v2"), (2.5, "v1")):
        state.record(live(f"{moment}", moment, version), HALF)
    assert [(m.time, m.version) for m in state.marks] == [(1, "v1"), (3, "v2")]


def test_the_time_until_a_browser_had_painted_is_published():
    state = RunState()
    assert state.latency_counters() == {}
    shot = Shot(1, replace(live(), received=100.0), np.zeros((2, 2), np.uint8), HALF)
    for moment in (100.5, 100.5, 99.0):  # a clock may be behind
        state.painted(shot, moment)
    counters = state.latency_counters()
    assert (counters["latency.shown.p50"], counters["latency.shown.p99"] > 0.4) == (0.5, True)


def test_failed_frames_are_told_once_with_their_reason():
    state = RunState()
    state.record(live(status="failed"), None)
    state.record(live(status="failed"), None)
    assert state.failed == (("a.tif", "torn"),)
    assert state.frames == 0


def test_truth_may_come_before_or_after_its_frame(tmp_path):
    state = RunState()
    file = TruthFile(tmp_path)
    assert file.read_new() == []
    path = tmp_path / "truth.csv"
    path.write_bytes(b"frame,index,path,time_s,alpha\n0,0,a.tif,0.0,0.25\n1,0,b.tif,1.0,0.5")
    state.record(live(), HALF)
    state.reveal(file.read_new())
    assert state.curves(None)[1].values["alpha"].tolist() == [0.25]
    with path.open("ab") as more:
        more.write(b"\n2,0,c.tif,x,not a number\n")
    state.reveal(file.read_new())
    state.record(live("b.tif", 2.0), HALF)
    assert state.curves(None)[1].values["alpha"].tolist() == [0.25, 0.5]


def test_rows_of_the_truth_are_read_once(tmp_path):
    file, path = TruthFile(tmp_path), tmp_path / "truth.csv"
    path.write_bytes(b"frame,index,path,time_s,alpha\n0,0,a.tif,0.0,0.25\n1,0,b.t")
    assert file.read_new() == [(("a.tif", 0), {"alpha": 0.25})]
    with path.open("ab") as more:
        more.write(b"if,1.0,0.5\n")
    assert file.read_new() == [(("b.tif", 0), {"alpha": 0.5})]
    assert file.read_new() == []


def test_each_shot_has_its_number_and_alerts_replace_their_like():
    state = RunState()
    for _ in range(2):
        state.show(Shot(0, live(), np.zeros((2, 2), np.uint8), HALF))
    assert state.shot.number == 2
    state.alert(Alert("disk", "warning", "80 %", 1.0))
    state.alert(Alert("disk", "warning", "80 %", 1.0, ended=2.0))
    assert [a.ended for a in state.alerts] == [2.0]


def test_pictures_keep_the_range_of_the_run_and_fit_the_view():
    pixels = np.full((2048, 1024), 500, np.uint16)
    jpeg, shape = to_jpeg(pixels, Normalization("range", 0, 1000))
    assert shape == (1024, 512)
    picture = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert abs(int(picture.mean()) - 128) <= 2


def test_a_crop_is_as_it_was_recorded():
    pixels = np.zeros((64, 64), np.uint16)
    pixels[10:20, 30:50] = 1000
    jpeg = crop_jpeg(pixels, None, (30, 10, 50, 20))
    picture = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert picture.shape == (10, 20)
    assert picture.min() > 240


def test_parts_that_a_browser_asks_for_are_checked():
    assert checked_rect([-5, 2.7, 900, 8], (10, 20)) == (0, 2, 20, 8)
    for bad in ("x", [1, 2, 3], [5, 5, 5, 9], [1, 2, "a", 4], [0, 0, float("inf"), 1], None):
        assert checked_rect(bad, (10, 20)) is None


def test_the_state_never_imports_panel():
    code = (
        "import sys; from dashboard import drafts, feed, history, past, state, studio;"
        "sys.exit('panel' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
