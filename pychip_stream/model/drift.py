"""Drift: how far the chips of a frame have moved away from what the examples showed.

The chips that get a class's name are compared with those that got it on the support frame. The
distance between the two means, in units of the spread of a class (Mahalanobis), less what so
few chips scatter by chance (the positive-part estimator of James & Stein, 1961), is divided by
the way to the border with the nearest other class: at 1 a typical chip would stand on it, so
its label means little, whatever its probability says.
"""

from dataclasses import dataclass, field

import numpy as np

from pychip_stream.model.discriminant import Examples, Float, Index
from pychip_stream.model.novelty import Floating, Novelty

FEWEST = 8
"""Chips of a class without which its mean says nothing."""
_CHANCE = 4.0
"""Neighbouring chips are alike, so a mean scatters more than that of independent ones."""


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the chips of each class were on the support frame, whitened.

    Attributes
    ----------
    means
        (K, D) float32; of the prototypes where the frame has too few chips of a class.
    scatter
        (K,) expected square distance of such a mean from the true one.
    reach
        (K,) half the distance to the nearest prototype of another class.
    """

    means: Floating = field(repr=False)
    scatter: Float = field(repr=False)
    reach: Float = field(repr=False)

    @classmethod
    def of(cls, examples: Examples, novelty: Novelty, background: Float, labels: Index) -> "Origin":
        """Learn it from the (m, D) standardised background and its (m,) labels."""
        whitening = novelty.whitening
        flat = background @ whitening.matrix
        usual = whitening.between(whitening.distances(background)) <= novelty.threshold
        owners, classes = examples.owners, len(examples.counts)
        means, scatter, reach = [], [], []
        for k in range(classes):
            own, others = whitening.prototypes[owners == k], whitening.prototypes[owners != k]
            mine = flat[(labels == k) & usual]
            enough = len(mine) >= FEWEST
            means.append(mine.mean(axis=0) if enough else own.mean(axis=0))
            scatter.append(flat.shape[1] / (len(mine) if enough else examples.counts[k]))
            gaps = np.linalg.norm(own[:, None, :] - others[None, :, :], axis=2)
            reach.append(max(float(gaps.min()) / 2.0, 1e-6))
        return cls(np.stack(means).astype(np.float32), np.array(scatter), np.array(reach))

    def shifts(self, flat: Floating, labels: Index, usual: "np.typing.NDArray[np.bool_]") -> Float:
        """(K,) share of the way to the border that each class has moved; 0 for absent ones.

        Parameters
        ----------
        flat
            (n, D) whitened chips.
        labels, usual
            (n,) class of each, and whether it is like the examples at all.
        """
        classes, dim = self.means.shape
        member = np.equal.outer(np.arange(classes), labels) & usual
        count = member.sum(axis=1)
        enough = count >= FEWEST
        means = member.astype(flat.dtype) @ flat / np.maximum(count, 1)[:, None]
        square = np.square(means - self.means, dtype=np.float64).sum(axis=1)
        chance = _CHANCE * (dim / np.maximum(count, 1) + self.scatter)
        moved = np.sqrt(np.maximum(square - chance, 0.0))
        return np.asarray(np.where(enough, moved / self.reach, 0.0))
