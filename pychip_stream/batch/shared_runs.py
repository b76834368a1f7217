"""Runs on a cluster: workers score embeddings that they read, this process writes the labels."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import threadpoolctl
from distributed import Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from pychip_stream import __version__
from pychip_stream.analysis.block_scoring import Fitted, scored_block
from pychip_stream.archive.blocks import Rows
from pychip_stream.archive.run import BLOCK_CHIPS, Run, open_run
from pychip_stream.batch.cluster import (
    Cluster,
    Killed,
    check_version,
    in_order,
    keep_quiet,
    name_for,
    stationed,
)
from pychip_stream.errors import ArchiveError
from pychip_stream.model.scoring import Scorer


@dataclass(frozen=True)
class RunTask:
    """What every worker must know of a run.

    Attributes
    ----------
    name
        Tells this batch from others on the same cluster.
    path
        Of the run, which every worker must see.
    scorers
        Each with the names of its classes.
    here
        Whether the workers were started for this, on this machine.
    """

    name: str
    path: Path
    run_id: str
    scorers: tuple[tuple[tuple[str, ...], Scorer], ...]
    reject: bool
    here: bool
    version: str = __version__


class Piece(NamedTuple):
    """Frames that are scored together, by their sequence numbers."""

    scorer: int
    sequence: npt.NDArray[np.int64]

    def __str__(self) -> str:
        return f"frames {self.sequence[0]} to {self.sequence[-1]}"


class RunStation(WorkerPlugin):
    """What a worker process keeps for a run."""

    def __init__(self, task: RunTask) -> None:
        self.name = task.name
        self._task = task

    async def setup(self, worker: Worker) -> None:  # noqa: ARG002
        """Open the run; what is wrong here comes back to who asked."""
        if self._task.here:
            keep_quiet()
        await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        task = self._task
        check_version(task.version)
        threadpoolctl.threadpool_limits(1, "blas")  # as `scored_here` does
        unseen = f"{task.path}: a worker does not see this run; workers need it under the same path"
        try:
            self._run = open_run(task.path, everything=True)
        except ArchiveError as error:
            raise ArchiveError(f"{unseen} ({error})") from error
        if self._run.run_id != task.run_id:
            raise ArchiveError(f"{unseen} (there is another run there)")
        self._lock = threading.Lock()  # none before: the plugin travels

    def score(self, piece: Piece) -> list[Rows]:
        """Read and score some frames; others are read meanwhile."""
        names, scorer = self._task.scorers[piece.scorer]
        numbers = _numbers(self._run, piece.sequence)
        found = []
        for _, block in self._run.embedding_blocks(numbers):
            with self._lock:
                found.append(scored_block(block, names, scorer, reject=self._task.reject))
        return found

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Let the run go."""
        if hasattr(self, "_run"):
            self._run.close()


def _numbers(run: Run, sequence: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers of frames as this process sees the run."""
    order = np.argsort(run.sequence)
    places = np.searchsorted(run.sequence, sequence, sorter=order)
    numbers = order[np.minimum(places, len(order) - 1)]
    if (run.sequence[numbers] != sequence).any():
        raise ArchiveError(f"{run.path}: a worker does not see all its frames yet; try again")
    return np.asarray(numbers)


def _score(name: str, piece: Piece) -> list[Rows]:
    station = get_worker().plugins[name]
    assert isinstance(station, RunStation)
    return station.score(piece)


def score_on(cluster: Cluster, run: Run, fitted: Fitted, reject: bool) -> Iterator[Rows]:
    """Score frames of a run on the workers of a cluster, in their order (`block_scoring.Scoring`).

    Raises
    ------
    ClusterError
        If the cluster is lost, or its workers have another version of this package.
    ArchiveError
        If workers do not see the run, or die over some of its frames.
    """
    scorers = tuple((one.names, one.scorer) for one, _ in fitted)
    path = run.path.resolve()
    task = RunTask(name_for(path), path, run.run_id, scorers, reject, bool(cluster.here))
    with stationed(cluster, task.name, RunStation(task)):
        pieces = _pieces(run, [frames for _, frames in fitted])
        for piece, found in in_order(
            cluster, pieces, lambda piece: cluster.submit(_score, task.name, piece)
        ):
            if isinstance(found, Killed):
                raise ArchiveError(f"{run.path}: {piece}: {found}")
            yield from found


def _pieces(run: Run, frames: list[npt.NDArray[np.int64]]) -> Iterator[Piece]:
    """Frames in portions of about as many chips as are read at once."""
    columns = run.columns("width", "height", "chip_width", "chip_height")
    width, height, chip_width, chip_height = columns.values()
    chips = (width // chip_width) * (height // chip_height)
    for scorer, numbers in enumerate(frames):
        portion = np.cumsum(chips[numbers], dtype=np.int64) // BLOCK_CHIPS
        for part in np.split(numbers, np.flatnonzero(np.diff(portion)) + 1):
            yield Piece(scorer, run.sequence[part])
