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
    found = suggest(chips, classifier, taken=places, count=5)
    assert [s.kind for s in found] == ["typical", "typical", "uncertain", "uncertain", "far"]
    assert {int(truth[s.row, s.column]) for s in found[:2]} == {2, 3}
    assert all("group without examples" in s.reason for s in found[:2])


def test_then_the_uncertain_ones_and_the_farthest_last(made, frame):
    chips, _ = frame
    classifier, places = fitted(made, frame, [0, 1, 2, 3])
    found = suggest(chips, classifier, taken=places, count=6)
    first = next(s for s in found if s.kind == "uncertain")
    assert (first.row, first.column) == (1, 6)
    assert "between 'class 0' and 'class 1'" in first.reason or "between 'class 1'" in first.reason
    assert (found[-1].row, found[-1].column, found[-1].kind) == (10, 2, "far")


def test_nothing_is_suggested_twice_or_taken_already(made, frame):
    chips, _ = frame
    classifier, places = fitted(made, frame, [0, 1])
    found = suggest(chips, classifier, taken=places, count=30)
    spots = [(s.row, s.column) for s in found]
    assert len(set(spots)) == len(spots)
    assert 25 <= len(spots) <= 30
    assert not set(spots) & set(places)


def test_without_a_set_the_groups_of_the_frame_are_shown(frame):
    chips, truth = frame
    found = suggest(chips, count=6)
    assert [s.kind for s in found] == ["typical"] * 5 + ["far"]
    assert len({int(truth[s.row, s.column]) for s in found[:5]}) == 4
    assert all(s.looks_like is None and s.confidence is None for s in found)


def test_small_and_odd_frames(frame):
    assert len(suggest(frame[0][:1, :1], count=5)) == 1
    assert len(suggest(np.zeros((3, 3, DIM), np.float32), count=4)) == 2
    broken = frame[0].copy()
    broken[0, 0] = np.nan
    assert len(suggest(broken, count=4)) == 4
    large = np.random.default_rng(0).normal(size=(60, 60, DIM))
    assert len(suggest(large, count=8, taken=[(59, 59)])) == 8


def test_impossible_wishes_are_refused(frame):
    with pytest.raises(UsageError, match="at least one"):
        suggest(frame[0], count=0)
    with pytest.raises(UsageError, match="outside the grid"):
        suggest(frame[0], taken=[(12, 0)])
