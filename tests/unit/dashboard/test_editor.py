"""The example editor that Examples and Upload share, without a browser."""

import time
from dataclasses import replace

import pytest

from dashboard.parts.editor import ExampleEditor
from dashboard.work.drafts import Draft, DraftState
from dashboard.work.frame_pictures import FramePicture
from dashboard.work.previews import Hint, Preview
from dashboard.work.words import clock
from pychip_stream.domain.chips import ChipSize
from pychip_stream.model.suggestion import Suggestion
from tests.support.at_once import AtOnce

PICTURE = FramePicture(key=("a.tif", 0), shape=(256, 320), jpeg=b"jpeg")
PICK = {"type": "pick", "label": "feature 1", "chips": [[1, 2]], "add": True, "click": 7}


class Bench:
    def crop(self, _picture, _rect):
        return b""

    def repaint(self, picture, _contrast):
        return picture

    def scale_of(self, _version):
        return None

    def known_thumbnail(self, _pick, _size, _version):
        return None

    def thumbnail(self, pick, _size, _version):
        return f"{pick.row},{pick.column}".encode()


class Opened:
    """A draft whose previews are only asked for."""

    def __init__(self, draft):
        self.draft, self.preview, self.asked = draft, None, []
        self.waiting_s, self.share = 0.0, None

    def ask(self, key):
        self.asked.append((self.draft.number, key))


class Told(ExampleEditor):
    """An editor whose browser listens."""

    def __init__(self, folder, **options):
        self.sizes = []
        opened = Opened(Draft(folder / "draft.json", DraftState()))
        super().__init__(Bench(), AtOnce(), opened, on_grid=self.sizes.append, **options)
        self.canvas_sent, self.shelf_sent = [], []
        self.view.canvas._send_msg, self.shelf._send_msg = (
            self.canvas_sent.append, self.shelf_sent.append,
        )  # fmt: skip
        self.say_canvas({"type": "ready"})
        self.shelf._handle_msg({"type": "ready"})
        self.show(PICTURE)
        self.pull(0.0)

    def say_canvas(self, message):
        self.view.canvas._handle_msg(message)

    def last(self, kind):
        return [m for m in [*self.canvas_sent, *self.shelf_sent] if m["type"] == kind][-1]

    @property
    def state(self):
        return self.opened.draft.state


@pytest.fixture
def editor(tmp_path):
    return Told(tmp_path)


def test_a_click_becomes_an_example_and_comes_back(editor):
    assert editor.last("frame")["grid"] == [4, 5]
    assert editor.last("frame")["labels"] is None
    editor.say_canvas(PICK)
    editor.pull(0.0)
    assert editor.state.counts == {"feature 1": 1, "feature 2": 0}
    assert editor.last("picks")["picks"] == [[1, 2, "feature 1"]]
    assert (editor.last("picks")["echo"], editor.last("picks")["locked"]) == (7, False)
    assert [bar["name"] for bar in editor.last("labels")["bars"]][:2] == ["feature 1", "feature 2"]
    (chip,) = editor.last("shelf")["classes"][0]["chips"]
    assert chip["jpeg"] == b"1,2"
    assert editor.opened.asked[-1] == (editor.opened.draft.number, PICTURE.key)
    editor.say_canvas({"type": "undo"})
    assert editor.state == DraftState()


def test_who_may_only_look_changes_nothing(tmp_path):
    editor = Told(tmp_path, enabled=False)
    editor.say_canvas(PICK)
    editor.shelf._handle_msg({"type": "add"})
    editor.resize(ChipSize(32, 32))
    editor.pull(0.0)
    assert editor.state == DraftState()
    assert editor.last("picks")["locked"]


def test_what_is_impossible_is_said_and_what_makes_no_sense_changes_nothing(editor, caplog):
    editor.shelf._handle_msg({"type": "rename", "old": "feature 1", "name": "unknown"})
    assert editor.last("notes")["lines"][0][0] == "error"
    editor.say_canvas({"type": "pick", "chips": 5})
    assert "makes no sense" in caplog.text
    assert editor.state == DraftState()


def test_a_click_on_the_grid_of_another_tab_shows_the_new_one(editor):
    editor.resize(ChipSize(32, 32))
    frames = len([m for m in editor.canvas_sent if m["type"] == "frame"])
    editor.say_canvas(PICK | {"chip": [64, 64]})
    assert editor.state.picks == ()
    assert len([m for m in editor.canvas_sent if m["type"] == "frame"]) == frames + 1
    assert editor.last("frame")["grid"] == [8, 10]


def test_the_draft_follows_a_slider_that_rests(editor):
    editor.grid._width.value = 80
    assert editor.sizes[-1] == ChipSize(80, 80)
    assert editor.last("grid")["grid"] == [3, 4]
    editor.pull(time.monotonic())
    assert editor.state.chip_size == ChipSize(64, 64)
    editor.pull(time.monotonic() + 1.0)
    assert editor.state.chip_size == ChipSize(80, 80)
    editor.grid._width.value = 40
    editor.say_canvas(PICK)  # a click means the grid that is shown
    assert editor.state.chip_size == ChipSize(40, 40)
    assert editor.state.counts["feature 1"] == 1


def test_nothing_is_chosen_while_the_page_shows_something_else(editor):
    editor.show_again(picking=False)
    editor.pull(0.0)
    assert (editor.last("picks")["locked"], editor.last("picks")["classes"]) == (True, [])
    asked = len(editor.opened.asked)
    editor.say_canvas(PICK)
    editor.pull(0.0)
    assert editor.state == DraftState()
    assert len(editor.opened.asked) == asked


def test_a_preview_of_another_frame_is_not_shown(editor):
    notes = len(editor.shelf_sent)
    editor.opened.preview = Preview(1, ("b.tif", 0), trouble="too few")
    editor.pull(0.0)
    assert len(editor.shelf_sent) == notes
    editor.opened.preview = Preview(1, PICTURE.key, trouble="too few")
    editor.pull(0.0)
    assert editor.last("notes")["lines"] == [["", "too few"]]
    assert editor.last("highlights")["chips"] == []


def hint(key, row, column, *of_run):
    return Hint(key, Suggestion(row, column, "far", "a", 0.5, "looks like nothing"), *of_run)


def test_a_suggestion_of_another_frame_leads_there_and_is_marked(tmp_path):
    asked = []
    editor = Told(tmp_path, on_look=asked.append)
    here, there = hint(PICTURE.key, 0, 1), hint(("b.tif", 0), 2, 3, 11, 1.7e9)
    editor.opened.preview = Preview(1, PICTURE.key, suggestions=(here, there))
    editor.pull(0.0)
    assert editor.last("highlights")["chips"] == [[0, 1, "far", "looks like nothing"]]
    line = f"frame 12, {clock(1.7e9)}, row 2, column 3: looks like nothing"
    assert editor.last("hints")["lines"] == [line]
    editor.shelf._handle_msg({"type": "look", "line": "of a step before"})
    assert asked == []
    editor.shelf._handle_msg({"type": "look", "line": line})
    assert asked == [("b.tif", 0)]
    other = replace(PICTURE, key=("b.tif", 0))
    editor.show(other)
    assert editor.last("highlights")["chips"] == [[2, 3, "far", "looks like nothing"]]
    assert editor.last("hints")["lines"] == []
    editor.opened.preview = Preview(2, other.key, suggestions=(hint(other.key, 1, 1),))
    editor.pull(0.0)
    assert [m[:2] for m in editor.last("highlights")["chips"]] == [[1, 1], [2, 3]]
    editor.say_canvas(PICK | {"chips": [[2, 3]]})
    editor.send_hints()
    assert [m[:2] for m in editor.last("highlights")["chips"]] == [[1, 1]]
    editor.hints = False
    editor.send_hints()
    assert editor.last("highlights")["chips"] == []


def test_a_wait_is_said_and_the_lines_of_a_step_before_are_not(editor):
    """S17: "choose chips of at least two classes", with six chosen."""
    editor.opened.waiting_s, editor.opened.share = 6.0, None  # not known yet
    editor.opened.preview = Preview(1, PICTURE.key, trouble="choose chips of at least two classes")
    editor.pull(5.0)
    assert editor.last("notes")["lines"][0][1].startswith("labelling the 20 chips of this frame… 6")
    editor.opened.waiting_s, editor.opened.share = 7.0, 0.44
    editor.pull(10.0)
    ((level, text),) = editor.last("notes")["lines"]
    assert (level, text[:21]) == ("busy", "labelling the 20 chip")
    assert "44%, 7 s" in text
    editor.opened.waiting_s = 0.0
    editor.pull(20.0)
    assert editor.last("notes")["lines"] == [["", "choose chips of at least two classes"]]


def test_labels_of_before_do_not_take_the_grid_back_from_a_slider_that_moves(editor):
    """Chosen chips were drawn in the grid of before until there were new labels."""
    editor.grid._width.value = 80
    editor.opened.preview = Preview(1, PICTURE.key, trouble="of 64 px")
    sent = len(editor.canvas_sent)
    editor.pull(0.0)
    assert [m["type"] for m in editor.canvas_sent[sent:] if m["type"] == "labels"] == []
    editor.pull(time.monotonic() + 1)
    assert editor.last("grid")["chip"] == [80, 80]
    assert editor.last("notes")["lines"][0][1] == "of 64 px"


def test_what_a_larger_chip_costs_stays_said_until_the_next_step(editor):
    editor.say_canvas(PICK | {"chips": [[0, 0], [0, 1], [2, 2]]})
    editor.resize(ChipSize(128, 128))
    editor.opened.preview = Preview(9, PICTURE.key, trouble="one class")
    editor.pull(0.0)
    assert [line[1] for line in editor.last("notes")["lines"]] == [
        "fewer examples at 128 px: feature 1 3 → 2; undo (U) goes back", "one class",
    ]  # fmt: skip
    editor.say_canvas({"type": "undo"})
    assert [line[1] for line in editor.last("notes")["lines"]] == ["one class"]


def test_a_class_that_was_renamed_meanwhile_is_meant(editor):
    editor.shelf._handle_msg({"type": "rename", "old": "feature 1", "name": "brigth"})
    editor.shelf._handle_msg({"type": "rename", "old": "feature 1", "name": "bright"})
    editor.say_canvas(PICK)
    assert editor.state.counts == {"bright": 1, "feature 2": 0}
    editor.shelf._handle_msg({"type": "merge", "source": "bright", "target": "feature 2"})
    editor.say_canvas(PICK | {"label": "brigth", "chips": [[0, 0]]})
    assert editor.state.counts == {"feature 2": 2}
