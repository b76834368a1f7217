"""Calibration: how far a difference of distances may be believed.

Temperature scaling (Guo et al., "On calibration of modern neural networks", ICML 2017) of
held-out logits. A handful of examples is usually separated perfectly, which would drive the
temperature to zero and the probabilities to 1; a moment estimate, which looks at how far the
margins of one class scatter, is therefore the centre of a prior.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from pychip_stream.model.discriminant import Float, Index
from pychip_stream.model.validation import HeldOut

PRIOR_SPREAD = 0.7
"""Standard deviation of the logarithm of the temperature about its moment estimate."""
FEWER_ERRORS = 3
"""Held-out errors that another shrinkage must save to replace the analytic one. A difference
of log-losses, even by several standard errors, chooses worse from ten to twenty examples: on
the labelled micrographs by 0.01 to 0.02 within and 0.01 to 0.04 across images."""
_BOUNDS = (np.log(1e-4), np.log(1e6))


def nearest_margins(logits: Float, labels: Index) -> Float:
    """(n,) logit of the own class less that of the nearest other; negative where wrong."""
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return np.asarray(logits[rows, labels] - others.max(axis=1))


def moment_temperature(logits: Float, labels: Index) -> float:
    """Temperature that two Gaussian classes with these margins would need.

    With margins of mean m and variance v in either class the calibrated logit is 2·m/v times
    the margin.
    """
    margins = nearest_margins(logits, labels)
    mean = float(margins.mean())
    degrees = len(margins) - len(np.unique(labels))
    scatter = sum(float(((m := margins[labels == c]) - m.mean()) @ (m - m.mean()))
                  for c in np.unique(labels))  # fmt: skip
    variance = scatter / degrees if degrees > 0 else mean * mean
    size = float(np.abs(margins).mean())
    # Overlapping classes have no positive mean margin; their size still sets the scale.
    return max(variance / (2.0 * max(mean, 0.1 * size)), 1e-3) if size > 0 else 1.0


def fit_temperature(logits: Float, labels: Index, spread: float = PRIOR_SPREAD) -> float:
    """Most probable temperature given held-out logits.

    Parameters
    ----------
    logits, labels
        (n, K) and (n,) of chips whose rule did not know them; n may be 0.
    spread
        Width of the prior about the moment estimate, in units of the logarithm.
    """
    if len(labels) == 0:
        return 1.0
    centre = float(np.clip(np.log(moment_temperature(logits, labels)), *_BOUNDS))
    rows = np.arange(len(labels))

    def cost(log_temperature: float) -> float:
        log_p = log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels]
        return -float(log_p.sum()) + 0.5 * ((log_temperature - centre) / spread) ** 2

    found = minimize_scalar(cost, bounds=(centre - 4, centre + 4), method="bounded")
    return float(np.exp(np.clip(found.x, *_BOUNDS)))


def log_losses(logits: Float, labels: Index, temperature: float) -> Float:
    """(n,) negative log-probability of the true classes."""
    log_p = log_softmax(logits / temperature, axis=1)
    return np.asarray(-log_p[np.arange(len(labels)), labels])


def choose_shrinkage(held_out: HeldOut) -> tuple[int, float]:
    """Pick a candidate by cross-validation over the examples.

    The first candidate is the default: the choice is made from very few chips, so another one
    must save `FEWER_ERRORS` of its errors. Among those that do, the smallest loss counts.

    Returns
    -------
    Position of the choice among the candidates, and its temperature.
    """
    labels = held_out.labels
    if len(labels) == 0:
        return 0, 1.0
    temperatures = [fit_temperature(logits, labels) for logits in held_out.logits]
    losses = [
        float(log_losses(logits, labels, t).mean())
        for logits, t in zip(held_out.logits, temperatures, strict=True)
    ]
    errors = (held_out.logits.argmax(axis=2) != labels).sum(axis=1)
    better = [n for n in range(len(errors)) if errors[0] - errors[n] >= FEWER_ERRORS]
    best = min(better, key=losses.__getitem__, default=0)
    return best, temperatures[best]


def clearly_smaller(losses: Float, reference: Float) -> bool:
    """Whether (n,) paired losses are smaller by more than one standard error."""
    gain = reference - losses
    error = gain.std(ddof=min(1, len(gain) - 1)) / np.sqrt(len(gain))
    return bool(gain.mean() > error)


def calibration_error(
    confidence: npt.NDArray[np.floating], correct: npt.NDArray[np.bool_], bins: int = 15
) -> float:
    """Measure the expected calibration error: |confidence - accuracy| over equal bins.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.

    Parameters
    ----------
    confidence, correct
        (n,) probability given to the predicted class, and whether it was right.
    """
    if confidence.size == 0:
        return 0.0
    number = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    gap = np.bincount(number, confidence, bins) - np.bincount(number, correct, bins)
    return float(np.abs(gap).sum() / confidence.size)
