"""Caveats: what makes the numbers of a support set less certain than they look."""

import numpy as np

from pychip_stream.domain.support import SupportSet
from pychip_stream.model.discriminant import Examples
from pychip_stream.model.novelty import Novelty


def caveats(support: SupportSet, examples: Examples, novelty: Novelty) -> list[str]:
    """Say what makes the numbers of this set less certain than they look."""
    out = []
    if not np.isfinite(novelty.threshold):
        out.append(
            "the examples came without their frame, so nothing can be told to be unknown; pick "
            "them on a frame to have unlike chips rejected"
        )
    single = [name for name, count in support.counts.items() if count == 1]
    if single:
        out.append(
            f"only one example of {', '.join(map(repr, single))}: its spread is borrowed from "
            "the other classes; add at least one more"
        )
    if not np.ptp(examples.chips, axis=0).max() > 1e-9:
        out.append("all examples look the same to the encoder; the labels mean nothing")
        return out
    out.extend(_twins(support, examples))
    return out


def _twins(support: SupportSet, examples: Examples) -> list[str]:
    """Warn of one chip given as an example of two classes."""
    out = []
    _, first, group = np.unique(
        np.round(examples.chips, 6), axis=0, return_index=True, return_inverse=True
    )
    for number in range(len(first)):
        names = {support.chips[i].label for i in np.flatnonzero(group.ravel() == number)}
        if len(names) > 1:
            pair = " and ".join(repr(name) for name in sorted(names))
            out.append(f"the same chip is an example of {pair}; remove it from one of them")
    return out
