"""Drafts: every change, its undo, and that nothing is lost."""

import pytest

from dashboard.parts.editor import edited
from dashboard.work.drafts import Draft, DraftState
from pychip_stream.domain.chips import ChipSize
from pychip_stream.errors import UsageError

F1, F2 = "feature 1", "feature 2"


def picked(state=None, label=F1, places=((0, 0), (1, 2)), add=True):
    return (state or DraftState()).choose(label, "a.dm4", 0, places, add=add)


def test_a_chip_belongs_to_one_class_and_a_second_click_takes_it_out():
    state = picked()
    assert state.counts == {F1: 2, F2: 0}
    state = picked(state, F2, [(0, 0)])
    assert state.counts == {F1: 1, F2: 1}
    assert picked(state, F2, [(0, 0)], add=False).counts == {F1: 1, F2: 0}


def test_classes_are_renamed_recoloured_merged_and_removed():
    state = picked(picked(), F2, [(5, 5)]).rename(F1, "α phase").recolor("α phase", "#ABCDEF")
    assert state.classes[0].color == "#abcdef"
    assert state.counts == {"α phase": 2, F2: 1}
    assert state.merge(F2, "α phase").counts == {"α phase": 3}
    assert state.remove_class(F2).counts == {"α phase": 2}
    assert state.add_class().names == ("α phase", F2, "feature 3")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.rename(F1, F2),
        lambda s: s.rename(F1, " "),
        lambda s: s.rename(F1, "unknown"),
        lambda s: s.rename(F1, "a\nb"),
        lambda s: s.recolor(F1, "red"),
        lambda s: s.merge("gone", F1),
        lambda s: s.remove_class("gone"),
        lambda s: s.drop(7),
        lambda s: s.remove_class(F1).remove_class(F2),
        lambda s: s.rename(F1, "Unknown"),
        lambda s: s.add_class("UNKNOWN "),
    ],
)
def test_impossible_changes_are_refused_with_a_reason(change):
    with pytest.raises(UsageError):
        change(DraftState())


def test_picks_move_with_the_grid():
    state = picked(DraftState(ChipSize(64, 64)), places=[(1, 2)]).resize(ChipSize(32, 64))
    assert [(p.row, p.column) for p in state.picks] == [(1, 5)]


def test_examples_where_no_whole_chip_fits_any_more_go():
    """The whole draft was refused: "chip 3,0 is outside the grid of 3 rows"."""
    state = picked(DraftState(ChipSize(35, 35)), places=[(0, 0), (21, 3), (3, 22), (21, 22)])
    kept = state.resize(ChipSize(200, 200), (787, 802)).picks
    assert [(p.row, p.column) for p in kept] == [(0, 0), (0, 3)]
    assert len(state.resize(ChipSize(200, 200)).picks) == 4


def test_undo_goes_back_step_by_step(tmp_path):
    draft = Draft.open(tmp_path / "d.json", DraftState())
    first = draft.state
    draft.change(picked())
    draft.change(draft.state.add_class())
    assert draft.undo()
    assert draft.undo()
    assert draft.state == first
    assert not draft.undo()


def test_a_draft_survives_a_restart(tmp_path):
    path = tmp_path / "drafts" / "d.json"
    draft = Draft.open(path, DraftState())
    draft.change(picked(DraftState(ChipSize(34, 35))).rename(F1, "ü"))
    again = Draft.open(path, DraftState())
    assert again.state == draft.state
    assert again.saved is None


def test_a_damaged_draft_begins_anew(tmp_path):
    path = tmp_path / "d.json"
    path.write_text('{"chip_size": [1]}')
    assert Draft.open(path, DraftState()).state == DraftState()


def test_messages_that_make_no_sense_change_nothing():
    state = picked()
    with pytest.raises((KeyError, ValueError, TypeError)):
        edited(state, {"type": "pick", "chips": "x"}, ("a.dm4", 0))
    with pytest.raises(ValueError, match="negative"):
        edited(state, {"type": "pick", "label": F1, "chips": [[-1, 0]], "add": True}, ("a.dm4", 0))
    with pytest.raises(KeyError):
        edited(state, {"type": "explode"}, None)
