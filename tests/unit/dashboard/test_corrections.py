"""Wrong labels are corrected on Live: the chips are in the draft that Examples shows."""

import pytest

from dashboard.accounts import Viewer
from dashboard.pages import PAGES
from dashboard.work.drafts import DraftState
from pychip_stream.archive.support_sets import SupportFolder, support_to_bytes
from tests.support.archive_samples import support
from tests.support.live_frames import live, replaced, shot
from tests.support.page_client import stand

ANN, BOB = Viewer("ann"), Viewer("bob", operator=False)


@pytest.fixture
def used(desk):
    """The support set that the run is labelled with, and a frame with its labels."""
    made = support(seed=3)
    SupportFolder(desk.config.support.folder).add(made.version, support_to_bytes(made))
    desk.run.use(made)
    show(desk, "frame_005.tif", made.chip_size)
    return made


def show(desk, path, size):
    chip = (size.width, size.height)
    message = replaced(live(path, time=9.0), chip_size=chip, shape=(2 * chip[1], 2 * chip[0]))
    desk.run.show(shot(message))


class Told:
    """A Live page, and what its browser was sent."""

    def __init__(self, desk, viewer=ANN):
        self.page = stand(PAGES["live"](desk, viewer))
        self.page.pull(1000.0)
        self.correct, self.view = self.page._correct, self.page._frame
        self.sent = []
        self.view.canvas.send = lambda **message: self.sent.append(message)

    def say(self, kind="pick", **fields):
        size = self.view.picture.chip_size
        message = {"type": kind, "click": 1, "chip": list(size), "seq": self.view._seq} | fields
        self.view._on_message(message)
        self.page.pull(1001.0)

    def press(self):
        self.correct._press()
        self.page.pull(1001.0)

    @property
    def picks(self):
        return [m for m in self.sent if m["type"] == "picks"][-1]


def test_a_corrected_chip_is_in_the_draft_of_the_next_version(desk, used):
    told, name = Told(desk), used.names[1]
    told.say(label=name, chips=[[0, 1]], add=True)
    assert desk.drafts.of("ann", used).draft.state == DraftState.of(used)  # not yet correcting
    told.press()
    assert [c["name"] for c in told.picks["classes"]] == list(used.names)
    told.say(label=name, chips=[[0, 1]], add=True)
    draft = PAGES["examples"](desk, ANN)._draft
    assert draft.state.parent == used.version
    assert draft.state.picks[-1].place == ("frame_005.tif", 0, 0, 1)
    assert draft.state.counts[name] == used.counts[name] + 1
    assert told.picks["picks"][-1] == [0, 1, name]
    assert "1 chip of this frame" in told.correct.words
    assert "1 chip of this frame" in str(told.page._status()["alerts"])
    told.say("undo", click=2)
    assert draft.state == DraftState.of(used)
    assert (told.picks["echo"], told.picks["picks"]) == (2, [])


def test_the_frame_stays_while_it_is_corrected(desk, used):
    told = Told(desk)
    told.press()
    told.view._on_message({"type": "painted", "seq": told.view._seq})  # it is ready for another
    show(desk, "frame_006.tif", used.chip_size)
    told.page.pull(1010.0)
    assert told.view.picture.key == ("frame_005.tif", 0)
    told.page._go_live()
    told.page.pull(1020.0)
    assert (told.view.picture.key, told.correct.on) == (("frame_006.tif", 0), False)
    assert told.picks["locked"]


def test_a_click_on_the_picture_before_changes_nothing(desk, used):
    told = Told(desk)
    told.press()
    told.say(label=used.names[0], chips=[[0, 0]], add=True, seq=told.view._seq - 1)
    assert desk.drafts.of("ann", used).draft.state == DraftState.of(used)
    assert told.picks["echo"] == 1  # the browser takes its mark back


def test_a_class_that_is_gone_is_said(desk, used):
    told = Told(desk)
    told.press()
    told.say(label="no such", chips=[[0, 0]], add=True)
    assert "'no such'" in told.correct.words
    told.say(label=used.names[0], chips=[[0, 0]], add=True)
    assert "'no such'" not in told.correct.words


def test_work_of_ones_own_is_gone_on_with_and_a_version_gives_way(desk, used):
    draft = desk.drafts.of("ann", None).draft
    mine = draft.state.resize(used.chip_size).choose("feature 1", "a.tif", 0, [(1, 1)], add=True)
    draft.change(mine)
    Told(desk).press()
    assert draft.state == mine
    other = support(seed=1)
    draft.change(DraftState.of(other), other.version)
    Told(desk).press()
    assert (draft.state, draft.saved) == (DraftState.of(used), used.version)


def test_chips_of_another_size_are_not_mixed(desk, used):
    draft = desk.drafts.of("ann", None).draft
    mine = draft.state.choose("feature 1", "a.tif", 0, [(1, 1)], add=True)
    draft.change(mine)
    told = Told(desk)
    told.press()
    assert "your draft has chips of 64" in told.correct.words
    assert told.picks["locked"]
    told.say(label="feature 1", chips=[[0, 0]], add=True)
    assert draft.state == mine


def test_a_viewer_corrects_nothing(desk, used):
    told = Told(desk, BOB)
    assert not told.correct.button.visible
    told.press()
    told.say(label=used.names[0], chips=[[0, 0]], add=True)
    assert not told.correct.on
    assert desk.drafts.of("bob", used).draft.state == DraftState.of(used)
