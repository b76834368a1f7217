"""The list of runs: what is there, what is live, what cannot be opened."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dashboard.parts.curve_plot import CurvePlot
from dashboard.parts.review_tables import card_message
from dashboard.work import runs
from dashboard.work.drafts import DraftState
from dashboard.work.opened_run import OpenedRun
from dashboard.work.runs import RunShelf
from dashboard.work.state import RunState
from dashboard.work.words import clock, duration, moment, size
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import save_support, support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.colors import color_of
from tests.support.archive_samples import failed, record, result, support
from tests.support.live_frames import live, replaced, shot
from tests.support.run_samples import make_run


def test_shelf_shows_closed_live_and_unreadable_runs_newest_first(tmp_path):
    make_run(tmp_path / "runs", tmp_path / "a", 6, "old", extra=[failed(90)])
    make_run(tmp_path / "runs", tmp_path / "b", 2, "growing", close=False)
    (tmp_path / "runs" / "notes.h5").write_bytes(b"no archive")
    (tmp_path / "runs" / "old.resolved.yaml").write_text("x: 1")
    cards = {card.name: card for card in RunShelf([tmp_path / "runs"], tmp_path).look()}
    assert set(cards) == {"old", "growing", "notes"}
    assert (cards["old"].frames, cards["old"].failed, cards["old"].live) == (6, 1, False)
    assert cards["old"].duration_s == 5.0
    assert [name for name, _ in cards["old"].classes] == ["alpha", "beta"]
    assert cards["growing"].live
    assert "HDF5" in cards["notes"].trouble
    assert not card_message(cards["notes"])["opens"]
    assert card_message(cards["old"])["facts"][1] == "6 frames, 1 failed"


def test_shelf_looks_again_only_at_what_changed(tmp_path):
    make_run(tmp_path / "runs", tmp_path / "a", 2, "one")
    shelf = RunShelf([tmp_path / "runs"], tmp_path)
    (first,) = shelf.look()
    assert shelf.look()[0] is first
    make_run(tmp_path / "runs", tmp_path / "b", 3, "two")
    cards = {card.name: card for card in shelf.look()}
    assert cards["one"] is first
    assert cards["two"].frames == 3


def test_preview_is_a_small_picture_also_without_the_frame(tmp_path):
    make_run(tmp_path / "runs", tmp_path / "a", 3, "with")
    make_run(tmp_path / "runs", tmp_path / "b", 3, "without", missing=(0, 1, 2))
    previews = {c.name: c.preview for c in RunShelf([tmp_path / "runs"], tmp_path).look()}
    for data in previews.values():
        assert max(Image.open(io.BytesIO(data)).size) == 128
    assert previews["with"] != previews["without"]
    assert np.ptp(np.asarray(Image.open(io.BytesIO(previews["without"])))) > 50


def test_missing_folder_is_an_empty_shelf(tmp_path):
    assert RunShelf([tmp_path / "nowhere"], tmp_path).look() == []


def test_words_for_sizes_and_times():
    assert [size(n) for n in (7, 2_300_000)] == ["7 bytes", "2.3 MB"]
    assert [duration(s) for s in (0.25, 2.5, 61, 7260)] == [
        "250 ms",
        "2.5 s",
        "1 min 01 s",
        "2 h 01 min",
    ]


def test_shelf_takes_several_folders_and_single_runs_and_tells_equal_names_apart(tmp_path):
    one = make_run(tmp_path / "one", tmp_path / "a", 1, "run")
    two = make_run(tmp_path / "two", tmp_path / "b", 2, "run")
    make_run(tmp_path / "two", tmp_path / "c", 3, "other")
    save_support(support(), tmp_path / "one" / "set.h5")
    shelf = RunShelf([tmp_path / "one", two, tmp_path / "one"], tmp_path)
    names = {card.name: (card.path, card.frames) for card in shelf.look()}
    assert names == {str(tmp_path / "one/run"): (one, 1), str(tmp_path / "two/run"): (two, 2)}
    renamed = one.rename(tmp_path / "one" / "run.nxs")
    (card,) = RunShelf([renamed], tmp_path).look()
    assert (card.name, card.frames) == ("run", 1)


def colored(color):
    made = support()
    return replace(made, classes=(replace(made.classes[0], color=color), *made.classes[1:]))


def test_a_colour_that_is_none_costs_nothing_but_itself(tmp_path):
    """B33: such a run hid all others, and Live had no curve."""
    made = colored("no <colour>")
    make_run(tmp_path / "runs", tmp_path / "a", 2, "good")
    writer = RunWriter(tmp_path / "runs", "odd")
    writer.add_support(support_to_bytes(made), made.version)
    writer.append(record(0, result=result(0, version=made.version)))
    path = writer.close()
    cards = {card.name: card for card in RunShelf([tmp_path / "runs"], tmp_path).look()}
    assert (cards["good"].trouble, cards["odd"].trouble, cards["odd"].frames) == ("", "", 1)
    assert dict(cards["odd"].classes)["alpha"] == "#7f7f7f"
    assert OpenedRun(path, tmp_path).colors["alpha"] == "#7f7f7f"
    state = RunState()
    state.use(made)
    message = replaced(live(), colors=("javascript:x",))
    state.course.record(message, shot(message).picture)
    plot = CurvePlot(lambda _time: None)
    measured, true, _ = state.course.curves(None)
    plot.update(measured, true, state.colors)
    assert shot(message).picture.colors[0] == "#7f7f7f"
    assert state.colors["alpha"] == color_of(0)  # grey is that of unknown, so it is told apart
    assert DraftState.of(made).classes[0].color == "#7f7f7f"


@pytest.mark.parametrize("error", [TypeError("odd"), MemoryError(), RecursionError(), KeyError(3)])
def test_one_archive_that_cannot_be_looked_at_does_not_hide_the_others(
    tmp_path, monkeypatch, error
):
    """B33: whatever goes wrong in one archive."""
    make_run(tmp_path / "runs", tmp_path / "a", 2, "good")
    make_run(tmp_path / "runs", tmp_path / "b", 2, "odd")

    def opened(path):
        if path.stem == "odd":
            raise error
        return open_run(path)

    monkeypatch.setattr(runs, "open_run", opened)
    cards = {card.name: card for card in RunShelf([tmp_path / "runs"], tmp_path).look()}
    assert (cards["good"].frames, cards["good"].trouble) == (2, "")
    assert type(error).__name__ in cards["odd"].trouble
    assert not card_message(cards["odd"])["opens"]


def test_times_beyond_any_calendar_are_words():
    for seconds in (float("nan"), float("inf"), 1e300, -1e18, 0.0):
        assert (clock(seconds), moment(seconds)) == ("no time", "no date")
