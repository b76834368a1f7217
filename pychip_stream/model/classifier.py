"""Classifier: a support set, fitted; from a frame to labels, fractions and their intervals."""

import logging
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.caveats import DOUBTS
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.domain.records import FrameResult
from pychip_stream.domain.support import SupportEmbedding, SupportSet
from pychip_stream.errors import SupportError, UsageError
from pychip_stream.model import cross_validation, lda
from pychip_stream.model.cross_validation import HeldOut, choose_blobs, hold_out
from pychip_stream.model.embedding import embedded
from pychip_stream.model.encoders import Encoder
from pychip_stream.model.intervals import fit_ensemble
from pychip_stream.model.lda import SHRINKAGES, Discriminant, Examples
from pychip_stream.model.novelty import Novelty, fit_novelty
from pychip_stream.model.scoring import Origin, Scorer

logger = logging.getLogger(__name__)

Method = Literal["auto", "lda", "euclidean"]


@dataclass(frozen=True, eq=False)
class Classifier:
    """A fitted support set; immutable and cheap to apply.

    Attributes
    ----------
    support
        What it was fitted to, with its embedding.
    support_version
        Version of the support set that was given, before any new embedding.
    method
        "lda" or "euclidean": what was asked for, or what cross-validation chose.
    shrinkage
        Of the shared covariance towards the identity, 0…1; 1 is Euclidean.
    temperature
        Divides the logits; fitted on held-out examples.
    examples
        Standardised cells and labels, and which prototype each belongs to.
    background
        (m, D) standardised chips of the support frame.
    held_out
        The examples as rules that did not know them see them; one set of logits.
    warnings
        What is odd about the support set, one line each.
    """

    support: SupportSet = field(repr=False)
    support_version: str
    method: str
    shrinkage: float
    temperature: float
    examples: Examples = field(repr=False)
    background: npt.NDArray[np.float64] = field(repr=False)
    rule: Discriminant = field(repr=False)
    novelty: Novelty = field(repr=False)
    held_out: HeldOut = field(repr=False)
    scorer: Scorer = field(repr=False)
    warnings: tuple[str, ...] = ()
    encoder: Encoder | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls,
        support: SupportSet,
        encoder: Encoder | None = None,
        *,
        method: Method = "auto",
        sensitivity: float = 1.0,
        seed: int = 0,
    ) -> "Classifier":
        """Fit prototypes (and how many), shrinkage, temperature, novelty and the bootstrap.

        Parameters
        ----------
        encoder
            Embeds the examples where that was not done or was done by another encoder, and the
            frames given to `predict`. None: the support set must carry its embedding, and
            embeddings are given to `score`.
        method
            "auto" chooses the shrinkage by cross-validation over the examples, Euclidean
            prototypes included; "lda" leaves those out; "euclidean" is pyChip's way.
        sensitivity
            Factor on novelty: larger rejects more chips as unknown.
        seed
            Of the resampling.

        Raises
        ------
        SupportError
            If the set has no embedding and there is no encoder, or its embedding is damaged.
        UsageError
            If `method` or `sensitivity` is impossible.
        """
        if not (np.isfinite(sensitivity) and sensitivity > 0):
            raise UsageError(f"sensitivity {sensitivity!r}: write a number above 0")
        version, support = support.version, _embedded(support, encoder)
        embedding = support.embedding
        assert embedding is not None
        examples, background = standardised(support, embedding)
        candidates = _candidates(examples, method)
        tried = hold_out(examples, candidates, seed=seed)
        chosen, temperature = cross_validation.choose_shrinkage(tried)
        held_out, shrinkage = tried.only(chosen), candidates[chosen]
        examples, held_out, temperature = choose_blobs(
            examples, shrinkage, held_out, temperature, seed=seed
        )
        rule = lda.fit(examples, shrinkage)
        novelty = fit_novelty(examples, background)
        scorer = Scorer(
            mean=embedding.mean,
            deviation=embedding.deviation,
            weights=np.ascontiguousarray(rule.weights / temperature, dtype=np.float32),
            offsets=np.asarray(rule.offsets / temperature, dtype=np.float32),
            owners=rule.owners,
            novelty=novelty.in_single_precision(),
            sensitivity=sensitivity,
            ensemble=fit_ensemble(
                examples, rule, shrinkage, temperature, held_out, novelty.doubt, seed=seed
            ),
            origin=Origin.of(examples, novelty, background, rule.logits(background).argmax(axis=1)),
        )
        return cls(
            support=support,
            support_version=version,
            method="euclidean" if shrinkage >= 1.0 else "lda",
            shrinkage=shrinkage,
            temperature=temperature,
            examples=examples,
            background=background,
            rule=rule,
            novelty=novelty,
            held_out=held_out,
            scorer=scorer,
            warnings=tuple(_caveats(support, examples, background, novelty)),
            encoder=encoder,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, without "unknown"."""
        return self.support.names

    @property
    def sensitivity(self) -> float:
        """Factor on novelty."""
        return self.scorer.sensitivity

    def predict(self, frame: Frame | npt.NDArray[np.generic], reject: bool = True) -> FrameResult:
        """Embed a frame with the encoder of the fit and classify its chips.

        Raises
        ------
        UsageError
            If the classifier was fitted without an encoder.
        """
        if self.encoder is None:
            raise UsageError(
                "this classifier was fitted without an encoder; give embeddings to score()"
            )
        size, normalization = self.support.chip_size, self.support.normalization
        return self.score(self.encoder.embed(frame, size, normalization), reject=reject)

    def score(
        self,
        embeddings: npt.NDArray[np.floating],
        reject: bool = True,
        progress: Progress = no_progress,
    ) -> FrameResult:
        """Classify the chips of a frame from their embeddings; closed form, no network.

        Parameters
        ----------
        embeddings
            (rows, columns, D), not standardised. A chip with a non-finite component counts as
            unlike everything; another D than that of the support set's encoder is a SupportError.
        reject
            Whether chips with a novelty above 1 become "unknown".
        progress
            Told before each block of a large frame how many chips are scored, and of how many.
        """
        shape = embeddings.shape[:2]
        flat = embeddings.reshape(1, -1, embeddings.shape[-1])
        scores = self.scorer.score(flat, reject=reject, progress=progress)
        return FrameResult(
            names=self.names,
            label_map=scores.labels.reshape(shape),
            probabilities=scores.probabilities.reshape(*shape, -1),
            distances=scores.distances.reshape(*shape, -1),
            novelty=scores.novelty.reshape(shape),
            intervals=scores.shares.intervals[0],
            support_version=self.support_version,
            drift=float(scores.shifts.max()),
            strange=float(scores.strange[0]),
            doubts=dict(zip(DOUBTS, scores.shares.doubts[0].tolist(), strict=True)),
        )

    def derived(self) -> dict[str, npt.NDArray[np.generic]]:
        """Numbers that follow from the support set, to be stored beside it.

        Returns
        -------
        prototypes (P, D) in standardised components, and owners (P,), the class of each;
        weights (D, P) and offsets (P,) of the logits, temperature applied; mean and deviation
        (D,); temperature, shrinkage and novelty_threshold, each (). P is the number of classes
        unless one of them has several prototypes.
        """
        return {
            "prototypes": self.rule.prototypes.astype(np.float32),
            "owners": self.rule.owners,
            "weights": self.scorer.weights,
            "offsets": self.scorer.offsets,
            "mean": self.scorer.mean,
            "deviation": self.scorer.deviation,
            "temperature": np.asarray(self.temperature),
            "shrinkage": np.asarray(self.shrinkage),
            "novelty_threshold": np.asarray(self.novelty.threshold / self.sensitivity),
        }


def standardised(
    support: SupportSet, embedding: SupportEmbedding
) -> tuple[Examples, npt.NDArray[np.float64]]:
    """Examples and (m, D) background in units of the support frame's mean and deviation."""
    cells, background = embedding.cells, embedding.background
    if cells.ndim != 3 or len(cells) != len(support.chips):
        raise SupportError(
            f"the embedding holds {len(cells)} chips, the support set {len(support.chips)}; "
            "embed it again"
        )
    if background.ndim != 2 or background.shape[1:] != cells.shape[2:] or len(background) == 0:
        raise SupportError("the embedding of the support frame is missing; embed the set again")
    if not (np.isfinite(cells).all() and np.isfinite(background).all()):
        raise SupportError("the embedding holds values that are not finite; embed the set again")
    mean = embedding.mean.astype(np.float64)
    deviation = embedding.deviation.astype(np.float64)
    return (
        Examples((cells - mean) / deviation, support.label_indices),
        (background - mean) / deviation,
    )


def _embedded(support: SupportSet, encoder: Encoder | None) -> SupportSet:
    if encoder is not None:
        support, note = embedded(support, encoder)
        if note:
            logger.warning("%s", note)
    elif support.embedding is None:
        raise SupportError("the support set was never embedded; give an encoder, which will do it")
    return support


def _candidates(examples: Examples, method: Method) -> tuple[float, ...]:
    """Shrinkages to choose from; the first is the default."""
    if method == "euclidean":
        return (1.0,)
    if method not in ("auto", "lda"):
        raise UsageError(f'method {method!r}: write "auto", "lda" or "euclidean"')
    analytic = lda.analytic_shrinkage(examples)
    others = [s for s in SHRINKAGES if s < 1.0 or method == "auto"]
    return (analytic, *(s for s in others if abs(s - analytic) > 1e-9))


def _caveats(
    support: SupportSet,
    examples: Examples,
    background: npt.NDArray[np.float64],
    novelty: Novelty,
) -> list[str]:
    """Say what makes the numbers of this set less certain than they look."""
    out = []
    if not np.isfinite(novelty.threshold):
        out.append(
            "the examples came without their frame, one of each class, so nothing can be told to "
            "be unknown; add more, or pick them on a frame to have unlike chips rejected"
        )
    elif len(background) <= len(examples.labels):
        out.append(
            "the examples came without their frame, so what is unknown is judged by how far they "
            "are from each other, which finds less and is less sure; pick some on a frame"
        )
    single = [name for name, count in support.counts.items() if count == 1]
    if single:
        out.append(
            f"only one example of {', '.join(map(repr, single))}: its spread is borrowed from "
            "the other classes; add at least one more"
        )
    if not np.ptp(examples.chips, axis=0).max() > 1e-9:
        return [*out, "all examples look the same to the encoder; the labels mean nothing"]
    groups = np.unique(np.round(examples.chips, 6), axis=0, return_inverse=True)[1].ravel()
    for number in range(int(groups.max()) + 1):
        names = {support.chips[i].label for i in np.flatnonzero(groups == number)}
        if len(names) > 1:
            pair = " and ".join(repr(name) for name in sorted(names))
            out.append(f"the same chip is an example of {pair}; remove it from one of them")
    return out
