"""Quality: what cross-validation and plain counting say about a support set."""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np

from pychip_stream.domain.support import SupportChip, SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.cross_validation import HeldOut, frame_folds, hold_out, split_classes
from pychip_stream.model.lda import Discriminant, Examples, Float, Index, linear_rule


def influences(classifier: Classifier) -> list[tuple[float, int]]:
    """Leave out each example in turn and count the chips of the support frame again.

    Returns
    -------
    For every example the largest change of a class's fraction, 0…1, and the index of that class.

    Notes
    -----
    Shrinkage and blobs stay as chosen; sums over the cells of each blob are kept, so that
    leaving one chip out costs one small factorisation. Where an example is the only one of its
    blob, that prototype goes with it.
    """
    examples = classifier.examples
    sums = _Sums.of(examples)
    classes = len(examples.counts)
    before = _fractions(classifier.rule, classifier.background, classes)
    out = []
    for chip, blob in enumerate(examples.members.tolist()):
        if sums.chips[blob] == 1:
            rule = _without(classifier.rule, blob)
        else:
            rule = sums.rule_without(blob, examples.cells[chip], classifier.shrinkage)
        after = _fractions(rule, classifier.background, classes)
        change = np.abs(after - before)
        out.append((float(change.max()), int(change.argmax())))
    return out


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the cells of each blob.

    Attributes
    ----------
    chips, owners
        (P,) examples of each blob and its class.
    per_chip
        Cells per chip.
    first, second
        (P, D) sum of the cells and (P, D, D) of their products.
    """

    chips: Index
    owners: Index
    per_chip: int
    first: Float
    second: Float

    @classmethod
    def of(cls, examples: Examples) -> "_Sums":
        members, owners = examples.members, examples.owners
        flat = [
            examples.cells[members == p].reshape(-1, examples.cells.shape[-1])
            for p in range(len(owners))
        ]
        return cls(
            np.bincount(members),
            owners,
            examples.cells.shape[1],
            np.stack([m.sum(axis=0) for m in flat]),
            np.stack([m.T @ m for m in flat]),
        )

    def rule_without(self, blob: int, cells: Float, shrinkage: float) -> Discriminant:
        """Rule after one chip, given by its (C, D) cells, has left a blob."""
        chips = self.chips.astype(np.float64)
        chips[blob] -= 1
        first = self.first.copy()
        first[blob] -= cells.sum(axis=0)
        centres = first / (chips * self.per_chip)[:, None]
        per_class = np.bincount(self.owners, chips)
        weight = 1.0 / (per_class[self.owners] * len(per_class) * self.per_chip)
        covariance = np.tensordot(weight, self.second, 1) - weight[blob] * (cells.T @ cells)
        covariance -= np.einsum("p,pi,pj->ij", weight * chips * self.per_chip, centres, centres)
        return linear_rule(centres, covariance, shrinkage, self.owners)


def _without(rule: Discriminant, blob: int) -> Discriminant:
    """Leave out one prototype, and with it perhaps its class."""
    kept = np.arange(len(rule.owners)) != blob
    return Discriminant(
        rule.prototypes[kept], rule.weights[:, kept], rule.offsets[kept], rule.owners[kept]
    )


def _fractions(rule: Discriminant, background: Float, classes: int) -> Float:
    nearest = (background @ rule.weights + rule.offsets).argmax(axis=1)
    labels = rule.owners[nearest]
    return np.asarray(np.bincount(labels, minlength=classes) / max(len(labels), 1))


FEWEST, MOST = 2, 10
"""Advised number of examples per class."""
_LOW_ACCURACY = 0.8
_INFLUENTIAL = 0.05
"""Change of a fraction through one example that is worth a word."""
_CORNER = 4
"""Examples within 1/4 of each edge of the frame come from one place."""


@dataclass(frozen=True)
class ChipQuality:
    """What one example is worth, in the order of the support set's chips.

    Attributes
    ----------
    label
        Its class.
    taken_for
        What a classifier that did not know it says; None for the only one of its class.
    silhouette
        -1…1: how much nearer it is to its own class than to the next (Rousseeuw 1987); None
        for the only one of its class.
    influence
        Largest change of a class's fraction on the support frame without this example.
    affected
        The class whose fraction changes most.
    """

    label: str
    taken_for: str | None
    silhouette: float | None
    influence: float
    affected: str


@dataclass(frozen=True)
class Quality:
    """How good a support set seems.

    Attributes
    ----------
    accuracy
        Balanced accuracy over the examples, each judged by a classifier that did not know it, nor
        any other example of its frame where `frames` says so; None where no class has two.
    confusion
        (class, taken for, share of the class's examples) where that happens most; None without
        a mistake.
    chips
        One entry per example.
    advice
        What to mend, one line each; never a condition.
    frames
        Number of frames that were left out in turn; None where single examples were, because
        fewer than two classes are shown on two frames.
    """

    accuracy: float | None
    confusion: tuple[str, str, float] | None
    advice: tuple[str, ...]
    chips: tuple[ChipQuality, ...] = ()
    frames: int | None = None

    @property
    def basis(self) -> str:
        """Say for people what the examples were judged over."""
        return "the examples" if self.frames is None else f"{self.frames} frames"


def assess(support: SupportSet, classifier: Classifier) -> Quality:
    """Judge a support set by its own examples, with the classifier that was fitted to it."""
    held, frames = _held_out(support, classifier)
    table = _confusion_table(held, len(classifier.names))
    known = table.sum(axis=1) > 0
    accuracy = float(table.diagonal()[known].mean()) if known.any() else None
    confusion = _worst(table, classifier.names)
    chips = _chips(classifier, held)
    advice = [*classifier.warnings, *_count_advice(support), *_place_advice(support)]
    if frames is not None:
        advice += _frame_advice(support)
    if accuracy is not None and accuracy < _LOW_ACCURACY and confusion is not None:
        own, other, share = confusion
        advice.append(
            f"{share:.0%} of the examples of {own!r} look like {other!r}; check them, or add "
            "examples of both"
        )
    advice += _chip_advice(support, chips)
    return Quality(accuracy, confusion, tuple(advice), chips, frames)


def _held_out(support: SupportSet, classifier: Classifier) -> tuple[HeldOut, int | None]:
    """Examples as rules see them that know no example of their frame, and how many frames.

    As the classifier has held them out, chip by chip, and None, where that is impossible.
    """
    groups = frame_folds(classifier.examples.labels, [_frame_of(c) for c in support.chips])
    if not groups:
        return classifier.held_out, None
    numbers = np.bincount(classifier.rule.owners, minlength=len(classifier.names)).tolist()
    split = partial(split_classes, numbers=numbers)
    shrinkage = (classifier.shrinkage,)
    return hold_out(classifier.examples, shrinkage, split=split, groups=groups), len(groups)


def _frame_of(chip: SupportChip) -> tuple[str, int]:
    """Name the frame of an example; imported ones, whose frame nobody knows, count as one."""
    source = chip.source
    return ("", -1) if source.row is None else (source.path, source.index)


def _frame_advice(support: SupportSet) -> list[str]:
    """Say which classes cannot be judged over frames."""
    seen = {n: {_frame_of(c) for c in support.chips if c.label == n} for n in support.names}
    alone = [repr(name) for name, frames in seen.items() if len(frames) == 1]
    return [f"examples of {', '.join(alone)} are from one frame, and not judged"] if alone else []


def _confusion_table(held: HeldOut, classes: int) -> Float:
    """(K, K) share of each class's held-out examples that goes to each class."""
    from sklearn.metrics import confusion_matrix  # takes a second

    if not len(held.labels):
        return np.zeros((classes, classes))
    said = held.logits[0].argmax(axis=1)
    table = confusion_matrix(held.labels, said, labels=range(classes), normalize="true")
    return np.asarray(table, np.float64)


def _worst(table: Float, names: tuple[str, ...]) -> tuple[str, str, float] | None:
    mistakes = table - np.diag(table.diagonal())
    own, other = np.unravel_index(int(mistakes.argmax()), mistakes.shape)
    share = float(mistakes[own, other])
    return (names[int(own)], names[int(other)], share) if share > 0 else None


def _chips(classifier: Classifier, held: HeldOut) -> tuple[ChipQuality, ...]:
    names, labels = classifier.names, classifier.examples.labels
    guesses = dict(zip(held.chips.tolist(), held.logits[0].argmax(axis=1).tolist(), strict=True))
    return tuple(
        ChipQuality(
            label=names[int(labels[i])],
            taken_for=names[guesses[i]] if i in guesses else None,
            silhouette=silhouette,
            influence=change,
            affected=names[affected],
        )
        for i, (silhouette, (change, affected)) in enumerate(
            zip(_silhouettes(classifier), influences(classifier), strict=True)
        )
    )


def _silhouettes(classifier: Classifier) -> list[float | None]:
    """Silhouette of every example where the scatter of a class is a unit sphere."""
    from sklearn.metrics import silhouette_samples  # takes a second

    examples = classifier.examples
    labels, counts = examples.labels, examples.counts
    if len(labels) <= len(counts):
        return [None] * len(labels)
    flat = examples.chips @ classifier.novelty.whitening.matrix
    values = silhouette_samples(flat, labels)
    return [
        float(v) if counts[c] > 1 else None for v, c in zip(values, labels.tolist(), strict=True)
    ]


def _count_advice(support: SupportSet) -> list[str]:
    advice = []
    for name, count in support.counts.items():
        if count > MOST:
            advice.append(
                f"{count} examples of {name!r}: more than {MOST} gain little; keep unlike ones"
            )
    copies = Counter((chip.pixels.dtype.str, chip.pixels.tobytes()) for chip in support.chips)
    if extra := sum(count - 1 for count in copies.values()):
        advice.append(f"{extra} example(s) are there twice; a copy adds no information")
    return advice


def _place_advice(support: SupportSet) -> list[str]:
    """Say which classes were picked in one place of a frame."""
    advice = []
    for name in support.names:
        sources = [chip.source for chip in support.chips if chip.label == name]
        places = [(s.row, s.column) for s in sources if s.row is not None and s.column is not None]
        one_frame = len({(s.path, s.index) for s in sources}) == 1
        if len(places) == len(sources) > 2 and one_frame and _crowded(support, places):
            advice.append(
                f"all examples of {name!r} are from one corner; pick some elsewhere, or the "
                "classifier learns that place"
            )
    return advice


def _crowded(support: SupportSet, places: list[tuple[int, int]]) -> bool:
    """Whether places keep within a quarter of the frame's edges, or all touch each other."""
    extent = np.ptp(np.array(places), axis=0) + 1
    frame = support.reference
    if frame is None:
        return bool((extent <= 2).all())
    size = support.chip_size
    grid = np.array([frame.shape[0] // size.height, frame.shape[1] // size.width])
    return bool((extent <= np.maximum(grid // _CORNER, 2)).all())


def _chip_advice(support: SupportSet, chips: tuple[ChipQuality, ...]) -> list[str]:
    """Point at the example that carries most and at the one that fits its class least."""
    advice = []
    heavy = max(range(len(chips)), key=lambda i: chips[i].influence)
    if chips[heavy].influence >= _INFLUENTIAL and support.counts[chips[heavy].label] > 1:
        one = chips[heavy]
        advice.append(
            f"without {_where(support, heavy)} of {one.label!r} the fraction of {one.affected!r} "
            f"changes by {one.influence:.0%}; add examples like it"
        )
    odd = [i for i, one in enumerate(chips) if (one.silhouette or 0.0) < -0.1]
    if odd:
        worst = min(odd, key=lambda i: chips[i].silhouette or 0.0)
        advice.append(
            f"{_where(support, worst)} of {chips[worst].label!r} is nearer to another class; is "
            "its label right?"
        )
    return advice


def _where(support: SupportSet, number: int) -> str:
    source = support.chips[number].source
    if source.row is None or source.column is None:
        return f"example {number}" + (f" ({source.path})" if source.path else "")
    return f"the chip in row {source.row}, column {source.column}"
