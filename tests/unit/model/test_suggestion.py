import numpy as np
import pytest

from pychip_stream.errors import UsageError
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.suggestion import suggest

DIM = 8
HOMES = np.zeros((4, DIM))
HOMES[1, 0], HOMES[2, 1], HOMES[3, 2] = 14.0, 14.0, 14.0


@pytest.fixture
def frame(made):
    """12 × 12 chips: four phases in bands, one chip between two, one like nothing else."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2, 3], 36).reshape(12, 12)
    centres = HOMES[truth.ravel()].reshape(12, 12, DIM).copy()
    centres[1, 6] = (HOMES[0] + HOMES[1]) / 2
    centres[10, 2] = 60.0
    chips = made.cells(centres.reshape(-1, DIM), rng, chip=0.5, cell=0.5).mean(axis=1)
    return chips.reshape(12, 12, DIM).astype(np.float32), truth


def fitted(made, frame, classes):
    chips, truth = frame
    rng = np.random.default_rng(1)
    places = [tuple(p) for c in classes for p in np.argwhere(truth == c)[[0, 13, 30]]]
    labels = np.repeat(np.arange(len(classes)), 3)
    cells = made.cells(np.array([chips[p] for p in places]), rng, chip=0.0, cell=0.5)
    support = made.support(cells, labels, chips.reshape(-1, DIM), places)
    return Classifier.fit(support), places


def test_typical_chips_of_unnamed_groups_come_first(made, frame):
    chips, truth = frame
    classifier, places = fitted(made, frame, [0, 1])
    found = suggest([chips], classifier, taken=[(0, *p) for p in places], count=5)
    assert [s.kind for s in found] == ["typical", "typical", "uncertain", "uncertain", "far"]
    assert {int(truth[s.row, s.column]) for s in found[:2]} == {2, 3}
    assert all("group without examples" in s.reason for s in found[:2])


def test_then_the_uncertain_ones_and_the_farthest_last(made, frame):
    chips, _ = frame
    classifier, places = fitted(made, frame, [0, 1, 2, 3])
    found = suggest([chips], classifier, taken=[(0, *p) for p in places], count=6)
    first = next(s for s in found if s.kind == "uncertain")
    assert (first.row, first.column) == (1, 6)
    assert "between 'class 0' and 'class 1'" in first.reason or "between 'class 1'" in first.reason
    assert (found[-1].row, found[-1].column, found[-1].kind) == (10, 2, "far")


def test_nothing_is_suggested_twice_or_taken_already(made, frame):
    chips, _ = frame
    classifier, places = fitted(made, frame, [0, 1])
    found = suggest([chips], classifier, taken=[(0, *p) for p in places], count=30)
    spots = [(s.row, s.column) for s in found]
    assert len(set(spots)) == len(spots)
    assert 25 <= len(spots) <= 30
    assert not set(spots) & set(places)


def test_without_a_set_the_groups_of_the_frame_are_shown(frame):
    chips, truth = frame
    found = suggest([chips], count=6)
    assert [s.kind for s in found] == ["typical"] * 5 + ["far"]
    assert len({int(truth[s.row, s.column]) for s in found[:5]}) == 4
    assert all(s.looks_like is None and s.confidence is None for s in found)


def test_chips_of_a_phase_that_only_a_later_frame_shows_are_suggested_there(made, frame):
    chips, truth = frame
    early = np.where((truth == 3)[..., None], chips[::-1], chips)  # phase 3 is not there yet
    classifier, places = fitted(made, (chips, truth), [0, 1, 2])
    taken = [(0, *p) for p in places]
    assert all(truth[s.row, s.column] != 3 for s in suggest([early], classifier, taken=taken)[:1])
    first = suggest([early, chips[:, :9]], classifier, taken=taken)[0]
    assert (first.kind, first.frame, int(truth[first.row, first.column])) == ("typical", 1, 3)


def test_one_spot_of_the_specimen_is_asked_about_once_whenever_it_is_uncertain(made, frame):
    chips, _ = frame
    later = chips.copy()
    later[1, 6], later[1, 7] = chips[1, 7], chips[1, 6]  # the border has moved by a chip
    classifier, places = fitted(made, frame, [0, 1, 2, 3])
    taken = [(0, *p) for p in places]
    found = suggest([chips, later, chips], classifier, taken=taken, count=12)
    spots = np.array([(s.row, s.column) for s in found if s.kind == "uncertain"])
    assert len(spots) >= 3
    apart = np.abs(spots[:, None] - spots[None]).max(axis=2) + 9 * np.eye(len(spots))
    assert apart.min() > 1
    named = {(s.row, s.column) for s in suggest(
        [chips, later, chips], classifier, taken=[*taken, (1, 1, 6)], count=12
    ) if s.kind == "uncertain"}  # fmt: skip
    assert (1, 6) not in named


def test_small_and_odd_frames(frame):
    assert len(suggest([frame[0][:1, :1]], count=5)) == 1
    assert len(suggest([np.zeros((3, 3, DIM), np.float32)], count=4)) == 2
    broken = frame[0].copy()
    broken[0, 0] = np.nan
    assert len(suggest([broken], count=4)) == 4
    large = np.random.default_rng(0).normal(size=(60, 60, DIM))
    assert len(suggest([large], count=8, taken=[(0, 59, 59)])) == 8


def test_impossible_wishes_are_refused(frame):
    with pytest.raises(UsageError, match="at least one"):
        suggest([frame[0]], count=0)
    with pytest.raises(UsageError, match="outside the grid"):
        suggest([frame[0]], taken=[(0, 12, 0)])
