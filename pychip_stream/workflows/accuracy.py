"""Accuracy: a run beside the truth that a simulation wrote next to its frames."""

from pathlib import Path

import pandas as pd

from pychip_stream.errors import ArchiveError

_NOT_CLASSES = {"frame", "index", "path", "time_s"}


def mean_absolute_error(fractions: pd.DataFrame, truth_csv: Path) -> float:
    """Mean of |measured - true| over all frames and true classes; NaN without a common frame.

    Parameters
    ----------
    fractions
        As `Run.fractions`: a row per frame with "path", "index" and a column per class.
    truth_csv
        The same columns with the true fractions.

    Raises
    ------
    ArchiveError
        If the truth cannot be read.
    """
    try:
        truth = pd.read_csv(truth_csv)
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{truth_csv}: the true fractions cannot be read ({error})") from error
    classes = [name for name in truth.columns if name not in _NOT_CLASSES]
    both = fractions.merge(truth, on=["path", "index"], suffixes=("", " true"))
    errors = [(both[name] - both[f"{name} true"]).abs() for name in classes if name in fractions]
    return float(pd.concat(errors).mean()) if errors and len(both) else float("nan")
