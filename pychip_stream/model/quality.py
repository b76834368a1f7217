"""Quality: what cross-validation and plain counting say about a support set."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pychip_stream.domain.support import SupportSet
from pychip_stream.model.classifier import Classifier

MOST = 10
"""Example chips per class beyond which another gains little."""
_LOW_ACCURACY = 0.8


@dataclass(frozen=True)
class Quality:
    """How good a support set seems.

    Attributes
    ----------
    accuracy
        Balanced accuracy over the examples, each judged by a classifier that did not know it;
        None where no class has two.
    confusion
        (class, taken for, share of the class's examples) where that happens most; None without
        a mistake.
    advice
        What to mend, one line each; never a condition.
    """

    accuracy: float | None
    confusion: tuple[str, str, float] | None
    advice: tuple[str, ...]


def assess(support: SupportSet, classifier: Classifier) -> Quality:
    """Judge a support set by its own examples.

    Parameters
    ----------
    classifier
        Fitted to `support`.
    """
    table = _confusion_table(classifier)
    known = table.sum(axis=1) > 0
    accuracy = float(table.diagonal()[known].mean()) if known.any() else None
    confusion = _worst(table, classifier.names)
    advice = [*classifier.warnings, *_count_advice(support)]
    if accuracy is not None and accuracy < _LOW_ACCURACY and confusion is not None:
        own, other, share = confusion
        advice.append(
            f"{share:.0%} of the examples of {own!r} look like {other!r}; check them, or add "
            "examples of both"
        )
    return Quality(accuracy, confusion, tuple(advice))


def _confusion_table(classifier: Classifier) -> np.typing.NDArray[np.float64]:
    """(K, K) share of each class's held-out examples that goes to each class."""
    held, classes = classifier.held_out, len(classifier.names)
    table = np.zeros((classes, classes))
    if len(held.labels):
        np.add.at(table, (held.labels, held.logits[0].argmax(axis=1)), 1.0)
    return np.asarray(table / np.maximum(table.sum(axis=1, keepdims=True), 1.0))


def _worst(
    table: np.typing.NDArray[np.float64], names: tuple[str, ...]
) -> tuple[str, str, float] | None:
    mistakes = table - np.diag(table.diagonal())
    own, other = np.unravel_index(int(mistakes.argmax()), mistakes.shape)
    share = float(mistakes[own, other])
    return (names[int(own)], names[int(other)], share) if share > 0 else None


def _count_advice(support: SupportSet) -> list[str]:
    advice = []
    for name, count in support.counts.items():
        if count > MOST:
            advice.append(
                f"{count} examples of {name!r}: more than {MOST} gain little; keep unlike ones"
            )
    copies = Counter(chip.pixels.tobytes() for chip in support.chips)
    if extra := sum(count - 1 for count in copies.values()):
        advice.append(f"{extra} example(s) are there twice; a copy adds no information")
    return advice
