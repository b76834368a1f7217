"""Re-scoring: the frames of a run under other examples, from the embeddings that it keeps."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pychip_stream.archive import provenance
from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.archive.reader import Run, open_run
from pychip_stream.archive.results import FrameRows, Results
from pychip_stream.archive.scorings import add_scoring, set_default_scoring
from pychip_stream.archive.segment import installed_versions
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import ArchiveError, ArchiveUsageError
from pychip_stream.model.classifier import Classifier
from pychip_stream.workflows.comparability import Conditions, EncoderFinder, adapt, conditions
from pychip_stream.workflows.scoring_pool import ScoringPool

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Rescored:
    """What became of a run.

    Attributes
    ----------
    scoring
        Name of the scoring.
    frames
        Frames that it covers.
    left_out
        Classified frames that it does not cover, by reason.
    notes
        What people should know, one line each.
    seconds
        How long it took.
    """

    scoring: str
    frames: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def rescore(
    path: str | Path,
    support: SupportSet,
    find_encoder: EncoderFinder,
    settings: ClassifyConfig | None = None,
    *,
    keep: bool = False,
    default: bool = True,
    progress: Progress = lambda _done, _total: None,
) -> Rescored:
    """Add the scoring of a support set to a run, live or closed; no frame is read again.

    Parameters
    ----------
    path
        As for `open_run`.
    support
        An embedding by another encoder, or in another intensity range than the run's, is made
        again from its chips.
    find_encoder
        Loads the encoder of a hash; called only where chips must be embedded again.
    settings
        How chips are labelled; default: as the run says.
    keep
        Frames that the run has under this scoring already stay as they are.
    default
        Whether the run shows this scoring from now on.
    progress
        Called with the number of frames done and their total.

    Raises
    ------
    ArchiveError
        If the run has no embeddings that fit, or cannot be read or written.
    SupportError
        If the support set cannot be used.
    EncoderError
        If the run's encoder is needed and not there.
    """
    start = time.monotonic()
    run = open_run(path)
    plan = _Plan.of(run, support, keep=keep)
    if not plan.wanted and not len(plan.kept):
        if default:
            set_default_scoring(path, ACQUIRED)
        return Rescored(
            ACQUIRED, run.count, plan.left_out,
            ("every frame was classified with this support set while acquiring",),
            time.monotonic() - start,
        )  # fmt: skip
    settings = settings or classify_settings(run)
    notes: list[str] = []
    fitted = []
    for condition, frames in plan.wanted:
        adapted, note = adapt(support, condition, find_encoder, str(run.path))
        notes += [line for line in note if line not in notes]
        fitted.append((_fit(adapted, support, settings), frames))
    sequence = run.sequence[np.concatenate([plan.kept, *(f for _, f in plan.wanted)])]
    results = _results(run, plan, fitted, support, settings, progress)
    name = add_scoring(
        path, support, sequence, results,
        derived=fitted[0][0].derived() if fitted else None,
        provenance=_how(run, support, settings, notes, fitted), default=default,
    )  # fmt: skip
    seconds = time.monotonic() - start
    covered = len(sequence) + plan.acquired
    return Rescored(name, covered, plan.left_out, tuple(notes), seconds)


def uncovered(path: str | Path, support: SupportSet) -> int:
    """Frames of a run that could be but are not labelled under a support set yet."""
    plan = _Plan.of(open_run(path), support, keep=True)
    return sum(len(frames) for _, frames in plan.wanted)


def classify_settings(run: Run, session: int | None = None) -> ClassifyConfig:
    """Tell by which settings a start of the archiver (default: the newest) labelled chips."""
    chosen = [s for s in run.sessions if session is None or s.number == session]
    section = provenance.config(chosen[-1].metadata).get("classify") if chosen else None
    if not isinstance(section, dict):
        return ClassifyConfig()
    known = {k: v for k, v in section.items() if k in ClassifyConfig.model_fields}
    return ClassifyConfig.model_validate(known)


@dataclass(frozen=True)
class _Plan:
    """Which frames are to be scored, under which conditions they were embedded.

    Attributes
    ----------
    wanted
        Conditions and frame numbers.
    kept
        Frame numbers whose results are taken over from the scoring that is there.
    acquired
        Frames that belong to the scoring without being stored in it.
    """

    wanted: list[tuple[Conditions, npt.NDArray[np.int64]]]
    kept: npt.NDArray[np.int64]
    acquired: int
    left_out: dict[str, int]

    @classmethod
    def of(cls, run: Run, support: SupportSet, *, keep: bool) -> "_Plan":
        if run.count == 0:
            raise ArchiveError(f"{run.path}: holds no classified frame yet; nothing to re-score")
        columns = run.columns("support_version", "chip_width", "chip_height")
        own = columns["support_version"] == support.version.encode()
        fits = columns["chip_width"] == support.chip_size.width
        fits &= columns["chip_height"] == support.chip_size.height
        if not (fits | own).any():
            width, height = (int(columns[f"chip_{n}"][-1]) for n in ("width", "height"))
            raise ArchiveUsageError(
                f"{run.path}: has chips of {width}x{height} pixels, the support set of "
                f"{support.chip_size.width}x{support.chip_size.height}; make one of the run's "
                "chip size, or classify the frames again"
            )
        there = np.zeros(run.count, bool)
        if keep and support.version in run.scorings:
            there[run.with_scoring(support.version).covered] = True
            there &= ~own
        wanted, embedded = [], np.zeros(run.count, bool)
        for encoder_hash, numbers in run.embedded.items():
            embedded[numbers] = True
            mine = numbers[(fits & ~own & ~there)[numbers]]
            wanted += conditions(run, encoder_hash, mine, columns["support_version"], support)
        if not (embedded | own).any():
            raise ArchiveError(
                f"{run.path}: keeps no embeddings (archive.embeddings was false); classify its "
                "frames again"
            )
        left_out = {
            "chips of another size": int((~fits & ~own).sum()),
            "no embeddings kept": int((fits & ~own & ~embedded & ~there).sum()),
        }
        reasons = {why: count for why, count in left_out.items() if count}
        return cls(wanted, np.flatnonzero(there), int(own.sum()), reasons)


def _fit(adapted: SupportSet, support: SupportSet, settings: ClassifyConfig) -> Classifier:
    classifier = Classifier.fit(adapted, method=settings.method, sensitivity=settings.sensitivity)
    for warning in classifier.warnings:
        logger.warning("support set %s: %s", support.version[:8], warning)
    return classifier


def _results(
    run: Run,
    plan: _Plan,
    fitted: Sequence[tuple[Classifier, npt.NDArray[np.int64]]],
    support: SupportSet,
    settings: ClassifyConfig,
    progress: Progress,
) -> Iterator[Results]:
    """Results of the kept frames, then of those that are scored."""
    total = len(plan.kept) + sum(len(frames) for _, frames in fitted)
    done = 0
    if len(plan.kept):
        there = run.with_scoring(support.version)
        for numbers, piece in there.result_blocks(("probabilities", "distances", "novelty")):
            mine = np.isin(numbers, plan.kept)
            if not mine.all():
                piece = _taken(piece, mine)
            done += int(mine.sum())
            progress(done, total)
            if len(piece.frames):
                yield piece
    with ScoringPool() as pool:
        for classifier, frames in fitted:
            blocks = run.embedding_blocks(frames)
            for piece in pool.score(classifier, blocks, reject=settings.reject):
                done += len(piece.frames)
                yield piece
                progress(done, total)


def _taken(piece: Results, mine: npt.NDArray[np.bool_]) -> Results:
    """Pick frames of a piece."""
    chip = np.repeat(mine, piece.frames.chips)
    grids = np.stack([piece.frames.rows, piece.frames.columns], axis=1)[mine]
    frames = FrameRows.of(piece.frames.sequence[mine], [(int(r), int(c)) for r, c in grids])
    chips = {name: values[chip] for name, values in piece.chips.items()}
    return Results(piece.class_names, frames, piece.label_map[mine], piece.intervals[mine], chips)


def _how(
    run: Run,
    support: SupportSet,
    settings: ClassifyConfig,
    notes: Sequence[str],
    fitted: Sequence[tuple[Classifier, npt.NDArray[np.int64]]],
) -> dict[str, object]:
    """How a scoring was made."""
    found = [c.support.embedding for c, _ in fitted if c.support.embedding is not None]
    return {
        "made": time.time(),
        "support_set": support.version,
        "encoder": sorted({(e.encoder_name, e.encoder_hash) for e in found}),
        "classify": settings.model_dump(mode="json"),
        "notes": list(notes),
        "versions": json.loads(installed_versions()),
        "run_id": run.run_id,
    }
