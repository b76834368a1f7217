"""Re-scoring: the frames of a run under other examples, from the embeddings that it keeps."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from pychip_stream.analysis.block_scoring import Fitted, Scoring, scored_here
from pychip_stream.analysis.magnification import matched_size, pixel_ratio
from pychip_stream.archive import hdf
from pychip_stream.archive.blocks import OF_RESULTS, Rows
from pychip_stream.archive.files import installed_versions
from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.archive.run import Run, open_run
from pychip_stream.archive.scorings import add_scoring, set_default_scoring
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import ArchiveError, ArchiveUsageError, EncoderError
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.embedding import Conditions, EncoderFinder, adapt
from pychip_stream.model.encoders import Encoder, open_encoder

logger = logging.getLogger(__name__)


def conditions(
    run: Run,
    encoder_hash: str,
    frames: npt.NDArray[np.int64],
    versions: npt.NDArray[np.bytes_],
    support: SupportSet,
) -> list[tuple[Conditions, npt.NDArray[np.int64]]]:
    """Sort frames with embeddings by one encoder by what else these depend on.

    Parameters
    ----------
    versions
        (count,) support set that each frame of the run was classified with.
    support
        Whose version stands for itself, whether the run holds it or not.
    """
    found: dict[Conditions, list[npt.NDArray[np.int64]]] = {}
    for version in np.unique(versions[frames]):
        mine = frames[versions[frames] == version]
        norm = _normalization(run, version.decode(), support)
        found.setdefault(Conditions(encoder_hash, norm), []).append(mine)
    return [(one, np.sort(np.concatenate(parts))) for one, parts in found.items()]


def _normalization(run: Run, version: str, support: SupportSet) -> Normalization | None:
    if version == support.version:
        return support.normalization
    try:
        return run.support_set(version).normalization
    except ArchiveError:
        return None


def encoder_finder(
    run: Run, name: str | None = None, loaded: list[Encoder] | None = None
) -> EncoderFinder:
    """Return a function that loads the encoder of a hash.

    Parameters
    ----------
    name
        Where to look first; then comes what the run's configuration names, then the bundled, also
        that of former versions of the package.
    loaded
        What other runs have loaded; grows.
    """
    kept = [] if loaded is None else loaded
    candidates = [EncoderConfig(name=name)] if name is not None else []
    candidates += [*_configured(run), EncoderConfig()]

    def find(weights_hash: str) -> Encoder:
        for known in kept:
            if known.weights_hash == weights_hash:
                return known
        found: list[str] = []
        for candidate in dict.fromkeys([*candidates, *_former(weights_hash)]):
            encoder = _load(candidate, found)
            if encoder is not None and encoder.weights_hash == weights_hash:
                kept.append(encoder)
                return encoder
        raise EncoderError(
            f"{run.path}: its embeddings were made by encoder {weights_hash[:8]}, which is not "
            f"at hand ({'; '.join(found)}); choose that encoder (on the command line "
            "--encoder NAME, or its weights' file)"
        )

    return find


def _former(weights_hash: str) -> list[EncoderConfig]:
    from pychip_stream.model.encoders.weights_files import former  # loads torch

    path = former(weights_hash)
    return [EncoderConfig(weights=path)] if path is not None else []


def _load(candidate: EncoderConfig, found: list[str]) -> Encoder | None:
    """Load an encoder, and note what it is."""
    try:
        encoder = open_encoder(candidate)
    except EncoderError as error:
        found.append(str(error))
        return None
    found.append(f"{encoder.name} is {encoder.weights_hash[:8]}")
    return encoder


def _configured(run: Run) -> Sequence[EncoderConfig]:
    section = run.config.get("encoder")
    if not isinstance(section, dict):
        return ()
    try:
        known = {k: v for k, v in section.items() if k in EncoderConfig.model_fields}
        return (EncoderConfig.model_validate(known),)
    except ValidationError:
        return ()


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
    progress: Progress = no_progress,
    score: Scoring = scored_here,
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
    score
        Who scores: this process, or the workers of a cluster.

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
    run = open_run(path, everything=True)
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
    scored = score(run, fitted, settings.reject)
    results = _results(run, plan, scored, sequence, support, progress)
    name = add_scoring(
        path, support, sequence, results,
        derived=fitted[0][0].derived() if fitted else None,
        provenance=_how(run, support, settings, notes, fitted), default=default,
    )  # fmt: skip
    seconds = time.monotonic() - start
    covered = len(sequence) + plan.acquired
    return Rescored(name, covered, plan.left_out, tuple(notes), seconds)


def _fitting(run: Run, support: SupportSet) -> npt.NDArray[np.bool_]:
    """(count,) which frames have chips as large as the examples, in pixels or on the specimen."""
    columns = run.columns(
        "chip_width", "chip_height", "width", "height", "pixel_size", "unit", "pixel_size_of_file"
    )
    kinds, kind = np.unique(np.rec.fromarrays(list(columns.values())), return_inverse=True)
    fits = []
    for width, height, *shape, size, unit, of_file in kinds.tolist():
        known = size if np.isfinite(size) else None
        ratio = pixel_ratio(support, known, hdf.decode(unit), hdf.decode(of_file))
        matched = matched_size(support, ratio, shape[::-1])
        sizes = (support.chip_size, matched or support.chip_size)
        fits.append((width, height) in [(one.width, one.height) for one in sizes])
    return np.asarray(fits, bool)[kind]


def uncovered(path: str | Path, support: SupportSet) -> int:
    """Frames of a run that could be but are not labelled under a support set yet."""
    plan = _Plan.of(open_run(path, everything=True), support, keep=True)
    return sum(len(frames) for _, frames in plan.wanted)


def scored_already(run: Run, support: SupportSet, settings: ClassifyConfig) -> Rescored | None:
    """Describe the scoring that a run has, if it is complete and was made by these settings."""
    version = support.version
    if version not in run.scorings:
        return None
    plan = _Plan.of(run, support, keep=True)
    made = run.with_scoring(version).scoring_provenance.get("classify")
    if plan.wanted or made != settings.model_dump(mode="json"):
        return None
    return Rescored(version, len(plan.kept) + plan.acquired, plan.left_out)


def classify_settings(run: Run, session: int | None = None) -> ClassifyConfig:
    """Tell by which settings a start of the archiver (default: the newest) labelled chips."""
    chosen = [s for s in run.sessions if session is None or s.number == session]
    section = chosen[-1].config.get("classify") if chosen else None
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
        fits = _fitting(run, support)
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
    scored: Iterator[Rows],
    sequence: npt.NDArray[np.int64],
    support: SupportSet,
    progress: Progress,
) -> Iterator[Rows]:
    """Results of the kept frames, then of those that are scored."""
    total, done = len(sequence), 0
    if len(plan.kept):
        there = run.with_scoring(support.version)
        for numbers, piece in there.result_blocks(OF_RESULTS):
            mine = np.isin(numbers, plan.kept)
            if not mine.all():
                piece = piece.take(mine)
            done += int(mine.sum())
            progress(done, total)
            if len(piece):
                yield piece
    for piece in scored:
        done += len(piece)
        yield piece
        progress(done, total)


def _how(
    run: Run,
    support: SupportSet,
    settings: ClassifyConfig,
    notes: Sequence[str],
    fitted: Fitted,
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
