"""Verification: labels of a run computed again from the source frames, and compared."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pychip_stream.analysis.rescoring import classify_settings, conditions
from pychip_stream.archive import hdf
from pychip_stream.archive.run import Run
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.frames import inside, mtime_of
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.errors import ArchiveError, FrameError
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.embedding import Conditions, EncoderFinder, adapt

AGREEMENT = 0.99
"""Share of labels that must agree; rounding differs between devices and precisions."""


@dataclass(frozen=True)
class FrameCheck:
    """One frame.

    Attributes
    ----------
    chips, agreeing
        Chips compared, and those whose label is the archived one.
    problem
        Why it could not be compared: "missing", "changed" (another content than was
        archived), or what the reader says; empty where it could.
    """

    path: str
    index: int
    chips: int = 0
    agreeing: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Verification:
    """What came out for the frames of a sample.

    Attributes
    ----------
    scoring
        Whose labels were compared.
    """

    scoring: str
    checks: tuple[FrameCheck, ...] = field(repr=False)

    @property
    def agreement(self) -> float:
        """Share of labels that agree; NaN where none could be compared."""
        chips = sum(c.chips for c in self.checks)
        return sum(c.agreeing for c in self.checks) / chips if chips else float("nan")

    @property
    def compared(self) -> int:
        """Frames that could be compared."""
        return sum(not c.problem for c in self.checks)

    def with_problem(self, problem: str) -> list[FrameCheck]:
        """Pick the checks with this problem."""
        return [c for c in self.checks if c.problem == problem]

    @property
    def passed(self) -> bool:
        """Whether labels were compared and agree, and no source file has changed."""
        return self.agreement >= AGREEMENT and not self.with_problem("changed")


def verify(
    run: Run,
    root: Path,
    find_encoder: EncoderFinder,
    *,
    sample: int = 20,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Verification:
    """Compute the labels of some frames again from their files.

    Parameters
    ----------
    run
        Under the scoring to verify.
    root
        Folder that the frames' paths are relative to.
    sample
        Number of frames, drawn at random; 0: all that the scoring covers.
    seed
        Of the drawing.

    Raises
    ------
    ArchiveError
        If the run holds nothing to verify or cannot be read.
    EncoderError, SupportError
        If the run's encoder is not there, or a support set cannot be used.
    """
    covered = run.covered
    if not len(covered):
        raise ArchiveError(f"{run.path}: holds no classified frame to verify")
    if sample and sample < len(covered):
        covered = np.sort(np.random.default_rng(seed).choice(covered, sample, replace=False))
    checks = []
    with GuardedReader(detector=str(run.watch.get("detector") or "")) as reader:
        checker = _Checker(run, root, find_encoder, reader)
        for number in covered.tolist():
            checks.append(checker.check(number))
            progress(len(checks), len(covered))
    return Verification(run.scoring, tuple(checks))


class _Checker:
    """Classifies frames as the run did."""

    def __init__(
        self, run: Run, root: Path, find_encoder: EncoderFinder, reader: GuardedReader
    ) -> None:
        self._run = run
        self._root = root
        self._find = find_encoder
        self._reader = reader
        self._columns = run.columns(
            "path",
            "index",
            "size",
            "content_hash",
            "frame_hash",
            "support_version",
            "encoder_hash",
            "session",
            "chip_width",
            "chip_height",
        )
        self._fitted: dict[tuple[Any, ...], Classifier] = {}

    def check(self, number: int) -> FrameCheck:
        """Compare one frame."""
        row = {name: values[number] for name, values in self._columns.items()}
        path, index = hdf.decode(row["path"]), int(row["index"])
        try:
            place = inside(self._root, path)
            if not place.is_file():
                return FrameCheck(path, index, problem="missing")
            stat = place.stat()
            frame, digest = self._reader.read_checked(place, index, stat.st_size, mtime_of(stat))
        except (FrameError, OSError) as error:
            return FrameCheck(path, index, problem=str(error))
        stored, own = (
            row[name].decode("ascii", "replace") for name in ("content_hash", "frame_hash")
        )
        grown = own == frame.frame_hash != "" and stat.st_size > row["size"]
        if stored and digest != stored and not grown:
            return FrameCheck(path, index, problem="changed")
        encoder_hash = row["encoder_hash"].decode("ascii", "replace")
        condition = self._condition(number, encoder_hash)
        settings = self._settings(int(row["session"]))
        classifier = self._classifier(number, condition, settings)
        size = (int(row["chip_width"]), int(row["chip_height"]))
        embeddings = self._find(encoder_hash).embed(
            frame, size, condition.normalization or classifier.support.normalization
        )
        labels = self._run.label_map(number)
        found = classifier.score(embeddings, reject=settings.reject).label_map
        # The run may know more classes than this frame's support set.
        order = [*(self._run.names.index(n) for n in classifier.names), len(self._run.names)]
        if found.shape != labels.shape:
            return FrameCheck(path, index, chips=labels.size, agreeing=0)
        same = np.asarray(order, np.uint8)[found] == labels
        return FrameCheck(path, index, chips=labels.size, agreeing=int(same.sum()))

    def _condition(self, number: int, encoder_hash: str) -> Conditions:
        support = self._run.support_set(self._run.support_version(number))
        frames = np.array([number])
        found = conditions(
            self._run, encoder_hash, frames, self._columns["support_version"], support
        )
        return found[0][0]

    def _settings(self, session: int) -> ClassifyConfig:
        made = self._run.scoring_provenance.get("classify")
        if isinstance(made, dict):
            return ClassifyConfig.model_validate(made)
        return classify_settings(self._run, session)

    def _classifier(
        self, number: int, condition: Conditions, settings: ClassifyConfig
    ) -> Classifier:
        version = self._run.support_version(number)
        key = (version, condition, settings)
        if key not in self._fitted:
            support = self._run.support_set(version)
            adapted, _ = adapt(support, condition, self._find, str(self._run.path))
            self._fitted[key] = Classifier.fit(
                adapted, method=settings.method, sensitivity=settings.sensitivity
            )
        return self._fitted[key]
