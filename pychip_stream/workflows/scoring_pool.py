"""Scoring pool: many frames labelled from their embeddings, on all cores."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType

import numpy as np
from threadpoolctl import threadpool_limits

from pychip_stream.archive.blocks import EmbeddingBlock
from pychip_stream.archive.layout import NO_CHIP
from pychip_stream.archive.results import FrameRows, Results
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.model.classifier import Classifier

_FRAMES_PER_TASK = 8
_MAX_THREADS = 8
_LARGEST = np.float32(np.finfo(np.float16).max)


class ScoringPool:
    """Threads that score frames; the matrix library keeps to one thread of its own meanwhile."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> "ScoringPool":
        threads = min(os.cpu_count() or 1, _MAX_THREADS)
        self._threads = self._stack.enter_context(ThreadPoolExecutor(threads))
        self._stack.enter_context(threadpool_limits(1, "blas"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def score(
        self, classifier: Classifier, blocks: Iterable[EmbeddingBlock], *, reject: bool
    ) -> Iterator[Results]:
        """Score blocks while the next one is read and the last one is written.

        Returns
        -------
        Results of each block, with unknown and then the classes of the classifier.
        """
        waiting: tuple[Results, list[Future[None]]] | None = None
        for block in blocks:
            empty = _empty(block.frames, (UNKNOWN, *classifier.names))
            jobs = [
                self._threads.submit(_score, classifier, block, empty, first, reject=reject)
                for first in range(0, len(block.frames), _FRAMES_PER_TASK)
            ]
            if waiting is not None:
                yield _finished(*waiting)
            waiting = (empty, jobs)
        if waiting is not None:
            yield _finished(*waiting)


def _finished(results: Results, jobs: Sequence[Future[None]]) -> Results:
    for job in jobs:
        job.result()
    return results


def _score(
    classifier: Classifier, block: EmbeddingBlock, into: Results, first: int, *, reject: bool
) -> None:
    """Score some frames of a block into their places."""
    frames, classes = block.frames, len(into.class_names) - 1
    for number in range(first, min(first + _FRAMES_PER_TASK, len(frames))):
        rows, columns = int(frames.rows[number]), int(frames.columns[number])
        start = int(frames.offset[number])
        mine = slice(start, start + rows * columns)
        scores = classifier.scorer.score(block.values[mine], reject=reject)
        labels = np.where(scores.labels == classes, 0, scores.labels + 1)
        into.label_map[number, :rows, :columns] = labels.reshape(rows, columns)
        into.intervals[number] = np.roll(scores.intervals, 1, axis=0)
        into.chips["probabilities"][mine] = scores.probabilities
        into.chips["distances"][mine] = np.minimum(scores.distances, _LARGEST)
        into.chips["novelty"][mine] = np.minimum(scores.novelty, _LARGEST)


def _empty(frames: FrameRows, names: tuple[str, ...]) -> Results:
    count, chips, classes = len(frames), int(frames.chips.sum()), len(names) - 1
    grid = (int(frames.rows.max(initial=1)), int(frames.columns.max(initial=1)))
    return Results(
        names,
        frames,
        np.full((count, *grid), NO_CHIP, np.uint8),
        np.full((count, len(names), 3), np.nan),
        {
            "probabilities": np.empty((chips, classes), np.float16),
            "distances": np.empty((chips, classes), np.float16),
            "novelty": np.empty(chips, np.float16),
        },
    )
