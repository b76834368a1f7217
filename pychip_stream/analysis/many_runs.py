"""Many runs under one support set: each by itself, whatever becomes of the others."""

from dataclasses import dataclass
from pathlib import Path

from pychip_stream.analysis.block_scoring import Scoring, scored_here
from pychip_stream.analysis.rescoring import (
    Rescored,
    classify_settings,
    encoder_finder,
    rescore,
    scored_already,
)
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.run import Run, open_run
from pychip_stream.archive.scorings import set_default_scoring
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import ArchiveUsageError, ClusterError, PychipError
from pychip_stream.model.encoders import Encoder


@dataclass(frozen=True)
class Order:
    """What is to be done with every run.

    Attributes
    ----------
    encoder
        Where to look first for that of a run; None: as its configuration says.
    reject
        False: no chip is unknown, whatever the run says.
    default
        Whether runs show the scoring from now on.
    merge
        Whether it is written into the one file of the run.
    score
        Who scores: this process, or the workers of a cluster.
    """

    support: SupportSet
    encoder: str | None = None
    reject: bool = True
    default: bool = True
    merge: bool = False
    score: Scoring = scored_here


@dataclass(frozen=True)
class RunOutcome:
    """What became of a run.

    Attributes
    ----------
    rescored
        None, where it failed.
    skipped
        It was scored completely and under the same settings already.
    live
        Frames may still come.
    reason
        Why it failed; empty, where it did not.
    """

    path: Path
    rescored: Rescored | None = None
    skipped: bool = False
    live: bool = False
    reason: str = ""


def settings_for(run: Run, *, reject: bool) -> ClassifyConfig:
    """Tell by which settings chips are labelled: those of the run, perhaps without unknown."""
    settings = classify_settings(run)
    return settings if reject else settings.model_copy(update={"reject": False})


def rescore_run(
    path: Path, order: Order, encoders: list[Encoder], progress: Progress = no_progress
) -> RunOutcome:
    """Score a run unless that is done; what is wrong with it costs no other run.

    Parameters
    ----------
    encoders
        That were loaded for the runs before; grows.
    progress
        As for `rescore`.

    Raises
    ------
    ClusterError
        If the cluster that scores is lost, which no other run could use either.
    """
    try:
        with open_run(path, everything=True) as run:
            if order.merge and run.live:
                raise ArchiveUsageError(f"{path}: is live; --merge is for closed runs")
            settings = settings_for(run, reject=order.reject)
            done = scored_already(run, order.support, settings)
            finder = encoder_finder(run, order.encoder, encoders)
            rescored = done or rescore(
                path, order.support, finder, settings,
                default=order.default, progress=progress, score=order.score,
            )  # fmt: skip
            if done and order.default:
                set_default_scoring(path, done.scoring)
        if order.merge and RunPlaces.of(path).scorings.exists():
            merge_scorings(path)
    except ClusterError:
        raise
    except PychipError as error:
        return RunOutcome(path, reason=str(error))
    return RunOutcome(path, rescored, skipped=done is not None, live=run.live)
