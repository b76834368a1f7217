"""Many frames at once by replicates that look at open chips only: as the plain formula has it."""

from types import SimpleNamespace

import numpy as np
import pytest

from pychip_stream.model import intervals
from pychip_stream.model.classifier import Classifier

DIM, CLASSES, CHIPS, FRAMES = 24, 4, 400, 3


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def soft(logits, vague):
    """Probabilities of chips whose two best classes have vague borders."""
    first, second = np.argsort(-logits, axis=1, kind="stable")[:, :2].T
    width = np.sqrt(1 + np.pi / 8 * (vague[first] ** 2 + vague[second] ** 2))
    return softmax((logits - logits.max(axis=1, keepdims=True)) / width[:, None])


def counts(values):
    return np.bincount(values.argmax(axis=1), minlength=CLASSES) / len(values)


def prevalence(odds):
    share = odds.mean(axis=0)
    for _ in range(14):
        share = (share * odds / (odds @ share)[:, None]).mean(axis=0)
    return share


def plainly(scorer, embeddings, novelty, shifts, reject):
    """Labels and intervals of one frame, rule by rule and on the chips that count."""
    rules = scorer.ensemble
    chips = (embeddings.astype(np.float16).astype(np.float32) - scorer.mean) / scorer.deviation
    logits = chips @ scorer.weights + scorer.offsets
    labels = logits.argmax(axis=1)
    accepted = novelty <= 1 if reject else np.ones(len(chips), bool)
    labels = np.where(accepted, labels, CLASSES)
    value = np.bincount(labels, minlength=CLASSES + 1) / len(chips)
    parts = np.zeros((5, CLASSES + 1))
    if reject:
        kept = [np.bincount(logits[novelty <= t].argmax(axis=1), minlength=CLASSES + 1)
                for t in rules.thresholds]  # fmt: skip
        kept = np.array(kept) / len(chips)
        kept[:, -1] = kept.sum(axis=1)
        parts[4] = 2.0 * np.sqrt(np.square(kept[1:] - kept[0]).mean(axis=0))
    if accepted.any():
        chips, logits = chips[accepted], logits[accepted]
        calm, moved = rules.vagueness(0 * shifts), rules.vagueness(shifts)
        each = [
            chips @ rules.weights.reshape(-1, CLASSES, DIM)[number].T
            + rules.offsets.reshape(-1, CLASSES)[number]
            for number in range(intervals.REPLICATES)
        ]
        stages = softmax(logits), soft(logits, calm), soft(logits, moved)
        resampled = [softmax(each[n] + rules.borders[n] * moved) for n in range(12)]
        wanted, *found = [prevalence(o) - counts(o) for o in (stages[0], *resampled)]
        scatter = np.square(np.array(found[1:]) - found[0]).mean()
        value[:-1] += (1 - value[-1]) * 0.01 / (0.01 + scatter) * wanted
        value[:-1] = np.maximum(value[:-1], 0)
        value[:-1] *= (1 - value[-1]) / value[:-1].sum()
        confused = [np.square((p * (1 - p)).mean(axis=0)) for p in stages]
        named = np.array([counts(one) for one in each])
        parts[0, :-1] = 1.1 * np.sqrt(np.square(named[1:] - named[0]).mean(axis=0))
        parts[1:4, :-1] = 2.5 * np.sqrt(np.maximum(np.diff(confused, axis=0, prepend=0), 0))
        parts[:4] *= accepted.mean()
        unseen = rules.mistakes * np.sqrt(value * (1 - value))
        parts[1, :-1] = np.hypot(parts[1], unseen)[:-1]
    half = np.sqrt(np.square(parts).sum(axis=0)) * ([1] * CLASSES + [reject])
    low, high = np.maximum(value - half, 0), np.minimum(value + half, 1)
    return labels, np.stack([value, low, high], axis=1)


@pytest.fixture(params=[(gap, shots) for gap in (0.5, 2.0, 6.0) for shots in (2, 6)], ids=str)
def scene(request, made):
    """A scorer, and frames of which a third of the chips are on borders; the last is unknown."""
    gap, shots = request.param
    rng = np.random.default_rng(shots)
    centres = gap * rng.normal(size=(CLASSES, DIM)) / np.sqrt(DIM / CLASSES)
    labels = np.repeat(np.arange(CLASSES), shots)
    background = made.cells(centres[rng.integers(CLASSES, size=300)], rng).mean(axis=1)
    support = made.support(made.cells(centres[labels], rng), labels, background)
    one, other = rng.integers(CLASSES, size=(2, FRAMES * CHIPS))
    along = rng.uniform(-1, 2, size=(FRAMES * CHIPS, 1)).clip(0, 1)
    mixed = along * centres[one] + (1 - along) * centres[other]
    chips = made.cells(mixed, rng).mean(axis=1).astype(np.float32).reshape(FRAMES, CHIPS, DIM)
    chips[1] *= 1.3
    chips[-1] += 40
    return SimpleNamespace(
        scorer=Classifier.fit(support).scorer, chips=chips, apart=gap == 6.0 and shots == 6
    )


@pytest.mark.parametrize("reject", [True, False])
def test_labels_and_intervals_are_those_of_the_plain_formula(scene, reject, monkeypatch):
    seen = []
    real = intervals._resampled_logits

    def watched(ensemble, some, first, stop):
        seen.append((stop - first) * some[..., 0].size)
        return real(ensemble, some, first, stop)

    monkeypatch.setattr(intervals, "_resampled_logits", watched)
    found = scene.scorer.score(scene.chips, reject=reject)
    assert (found.labels[-1] == CLASSES).all() == reject
    for number in range(FRAMES - (not reject)):  # the last is strange
        labels, rows = plainly(
            scene.scorer, scene.chips[number], found.novelty[number], found.shifts[number], reject
        )
        np.testing.assert_array_equal(found.labels[number], labels)
        if not found.strange[number] > 0.8:
            np.testing.assert_allclose(found.shares.intervals[number], rows, atol=0.005)
            assert np.ptp(rows[:-1, 1:], axis=1).min() > 0.02
    if scene.apart:  # two examples leave nearly everything open
        assert sum(seen) < 0.75 * intervals.REPLICATES * CHIPS * FRAMES


def test_a_frame_is_scored_among_others_as_it_is_alone(scene):
    among = scene.scorer.score(scene.chips, reject=True)
    for number, chips in enumerate(scene.chips):
        alone = scene.scorer.score(chips[None], reject=True)
        for name in ("labels", "novelty", "probabilities", "distances", "shifts", "strange"):
            np.testing.assert_array_equal(getattr(among, name)[number], getattr(alone, name)[0])
        np.testing.assert_allclose(
            among.shares.intervals[number], alone.shares.intervals[0], atol=1e-6
        )
        np.testing.assert_allclose(among.shares.doubts[number], alone.shares.doubts[0], atol=1e-6)
