"""The pixel size of a run, given by hand on Examples."""

import numpy as np
import pytest
import tifffile

from dashboard.accounts import Viewer
from dashboard.pages import PAGES
from dashboard.work import workbench
from pychip_stream.wire.messages import Reply, SetPixelSize


@pytest.fixture
def sent(monkeypatch):
    found = []

    def request(_wire, message):
        found.append(message)
        return Reply(ok=True, detail=message.size)

    monkeypatch.setattr(workbench, "request", request)
    return found


def the_page(desk, **viewer):
    page = PAGES["examples"](desk, Viewer("ann", **viewer))
    page.panel()
    said = []
    page._editor.say = said.append
    return page, said


def test_an_operator_sets_it_and_scale_bars_follow(desk, sent, tmp_path):
    tifffile.imwrite(tmp_path / "acquisition" / "shown.tif", np.ones((64, 64), np.uint16))
    page, said = the_page(desk)
    page._take(("shown.tif", 0))
    assert page._editor.picture.pixel_size is None
    page._size.value = " 0.5nm"
    assert sent == [SetPixelSize(size="0.5 nm", author="ann")]
    assert page._editor.picture.pixel_size is None  # until the hub has it
    desk.bench.measure("0.5 nm")  # as the feed does then
    desk.run.pixel_size = "0.5 nm"
    page.pull(0.0)
    assert (page._size.value, page._editor.picture.pixel_size) == ("0.5 nm", 0.5)
    assert (page._editor.picture.by_hand, len(sent)) == (True, 1)
    page._size.value = ""
    assert sent[1:] == [SetPixelSize(size="", author="ann")]
    assert not any(said)


def test_a_frame_gets_its_number_once_it_is_in_the_run(desk, tmp_path):
    """M8: the field stayed empty for whom the frame was shown before it was classified."""
    tifffile.imwrite(tmp_path / "acquisition" / "shown.tif", np.ones((64, 64), np.uint16))
    page, _ = the_page(desk)
    page._take(("shown.tif", 0))
    assert page._number.value == ""
    desk.run.course.recall(
        [("shown.tif", 0)], np.ones(1), {"alpha": np.full((1, 3), 0.5)}, {}, ["v"], np.ones((1, 3))
    )
    page.pull(0.0)
    assert page._number.value == str(desk.run.course.number_of(("shown.tif", 0)) + 1)


def test_what_no_pixel_measures_is_said_and_not_sent(desk, sent):
    page, said = the_page(desk)
    for text, why in (("5 mm", "no pixel is that size"), ("0.5", "write a number and a length")):
        page._size.value = text
        ((level, line),) = said.pop()
        assert level == "error"
        assert why in line
    assert sent == []


def test_a_viewer_sets_nothing(desk, sent):
    page, said = the_page(desk, operator=False)
    assert page._size.disabled
    page._size.value = "0.5 nm"
    assert sent == []
    assert said
