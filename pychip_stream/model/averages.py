"""Averages: intervals of a fraction over several frames.

Independent fields tell about the specimen (ASTM E562); frames of one field in time do not, and
are alike besides, so their mean gets its interval from blocks.
"""

import numpy as np
import numpy.typing as npt
from scipy import stats

from pychip_stream.domain.records import Fraction

LEVEL = 0.95

Float = npt.NDArray[np.float64]


def field_interval(fractions: npt.ArrayLike, level: float = LEVEL) -> Fraction:
    """Mean fraction of a specimen from independent fields: mean ± t·s/√n (ASTM E562).

    Parameters
    ----------
    fractions
        (n,) fraction of each field; non-finite ones are left out.

    Returns
    -------
    With one field the interval is 0…1: it says nothing about the specimen.

    Raises
    ------
    ValueError
        Without any finite fraction.
    """
    values = _finite(fractions)
    mean = float(values.mean())
    if len(values) < 2:
        return Fraction(mean, 0.0, 1.0)
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1)) * float(
        values.std(ddof=1) / np.sqrt(len(values))
    )
    return Fraction(mean, max(mean - half, 0.0), min(mean + half, 1.0))


def series_interval(
    fractions: npt.ArrayLike,
    level: float = LEVEL,
    *,
    block: int | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> Fraction:
    """Mean fraction over a time series of one field, by circular block bootstrap.

    Neighbouring frames are alike, so √n would promise too much; blocks of frames are resampled
    instead (Politis & Romano 1992).

    Parameters
    ----------
    fractions
        (n,) in time order; non-finite ones are left out.
    block
        Frames per block; None takes the larger of n^(1/3) and the lag at which the
        autocorrelation has fallen below 1/e, doubled.

    Raises
    ------
    ValueError
        Without any finite fraction.
    """
    values = _finite(fractions)
    count, mean = len(values), float(values.mean())
    if count < 3:
        return Fraction(mean, 0.0, 1.0)
    length = min(max(block or _block_length(values), 1), count)
    rng = np.random.default_rng(seed)
    starts = rng.integers(count, size=(replicates, -(-count // length), 1))
    places = ((starts + np.arange(length)) % count).reshape(replicates, -1)[:, :count]
    means = values[places].mean(axis=1)
    low, high = np.quantile(means, (0.5 - level / 2, 0.5 + level / 2))
    return Fraction(mean, float(min(low, mean)), float(max(high, mean)))


def _block_length(values: Float) -> int:
    centred = values - values.mean()
    power = float(centred @ centred)
    default = round(float(len(values)) ** (1 / 3))
    if not power > 0:
        return int(default)
    lag = 1
    while lag < len(values) // 2 and float(centred[lag:] @ centred[:-lag]) / power > np.exp(-1):
        lag += 1
    return int(max(default, 2 * lag if lag > 1 else 1))


def _finite(fractions: npt.ArrayLike) -> Float:
    values = np.asarray(fractions, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise ValueError("no finite fraction to average")
    return values
