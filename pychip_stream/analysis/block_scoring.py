"""Scoring of blocks: embeddings of many frames, as archives keep them, become labels and shares."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from pychip_stream.archive.blocks import OF_RESULTS, VALUES, Rows
from pychip_stream.archive.run import Run
from pychip_stream.domain.records import half
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.scoring import Scorer

_CHIPS_PER_TASK = 8192
"""So many are scored at once: enough for NumPy, few enough for the caches of a processor."""
_MAX_THREADS = 8

Fitted = Sequence[tuple[Classifier, npt.NDArray[np.int64]]]
"""Classifiers, each with the numbers of the frames that it scores."""
Scoring = Callable[[Run, Fitted, bool], Iterator[Rows]]
"""Scores frames of a run, with or without rejection, in their order, block by block."""


def scored_here(run: Run, fitted: Fitted, reject: bool) -> Iterator[Rows]:
    """Score embeddings while the next block is read and the last one is written.

    The matrix library keeps to one thread of its own meanwhile.
    """
    workers = min(os.cpu_count() or 1, _MAX_THREADS)
    with ThreadPoolExecutor(workers) as threads, threadpool_limits(1, "blas"):
        waiting: tuple[Rows, list[Future[None]]] | None = None
        for classifier, frames in fitted:
            for _, block in run.embedding_blocks(frames):
                empty = _unscored(block, classifier.names)
                jobs = [
                    threads.submit(_score, classifier.scorer, block, empty, frames, reject=reject)
                    for frames in _alike(block)
                ]
                if waiting is not None:
                    yield _finished(*waiting)
                waiting = (empty, jobs)
        if waiting is not None:
            yield _finished(*waiting)


def scored_block(block: Rows, names: tuple[str, ...], scorer: Scorer, *, reject: bool) -> Rows:
    """Score the embeddings of some frames."""
    into = _unscored(block, names)
    for frames in _alike(block):
        _score(scorer, block, into, frames, reject=reject)
    return into


def _alike(block: Rows) -> Iterator[slice]:
    """Frames beside each other that have one grid, a task at a time."""
    edges = np.flatnonzero((np.diff(block.grids, axis=0) != 0).any(axis=1)) + 1
    for first, end in pairwise([0, *edges.tolist(), len(block)]):
        step = max(_CHIPS_PER_TASK // int(block.counts[first]), 1)
        for start in range(first, end, step):
            yield slice(start, min(start + step, end))


def _unscored(block: Rows, names: tuple[str, ...]) -> Rows:
    return replace(block, names=(*names, UNKNOWN), kept=OF_RESULTS).allocated()


def _finished(rows: Rows, jobs: Sequence[Future[None]]) -> Rows:
    for job in jobs:
        job.result()
    return rows


def _score(scorer: Scorer, block: Rows, into: Rows, frames: slice, *, reject: bool) -> None:
    """Score frames of one grid into their places."""
    mine = block.span(frames.start, frames.stop - 1)
    values = block.arrays[VALUES][mine]
    count = frames.stop - frames.start
    scores = scorer.score(values.reshape(count, -1, values.shape[1]), reject=reject)
    rows, columns = block.grids[frames.start].tolist()
    into.label_map[frames, :rows, :columns] = scores.labels.reshape(-1, rows, columns)
    into.intervals[frames] = scores.shares.intervals
    for name in OF_RESULTS:
        there = into.arrays[name][mine]
        there[...] = half(getattr(scores, name)).reshape(there.shape)
