"""Scenes from worker processes into a pool that training draws from."""

import multiprocessing
import queue
from multiprocessing.queues import Queue

import numpy as np
import torch

from training.scenes import Image, Rng, make_pair

Pair = tuple[Image, Image, Image, Image]
"""Image and shares of the first scene, then of the second."""


def work(out: "Queue[Pair]", size: int, seed: int) -> None:
    """Make pairs of scenes for ever."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        pair = make_pair(size, rng)
        if pair is not None:
            a, b = pair
            _put(out, (a.image.astype(np.float16), a.shares, b.image.astype(np.float16), b.shares))


def _put(out: "Queue[Pair]", pair: Pair) -> None:
    """Wait for room, but not for ever: the run may be gone."""
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        try:
            return out.put(pair, timeout=5)
        except queue.Full:
            continue
    return None


class Pool:
    """The latest pairs; each is drawn a few times, turned and mirrored differently."""

    def __init__(self, size: int, seed: int, workers: int, capacity: int = 512) -> None:
        context = multiprocessing.get_context("spawn")
        self._incoming: Queue[Pair] = context.Queue(maxsize=32)
        self._pairs: list[Pair] = []
        self._next = 0
        self._capacity = capacity
        self._workers = [
            context.Process(target=work, args=(self._incoming, size, seed * 1000 + i), daemon=True)
            for i in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def fill(self, least: int) -> int:
        """Take in what has arrived, waiting until there are `least` pairs; return how many."""
        taken = 0
        while True:
            try:
                pair = self._incoming.get(block=len(self._pairs) < least, timeout=10)
            except queue.Empty:
                if len(self._pairs) >= least:
                    return taken
                if not any(worker.is_alive() for worker in self._workers):
                    raise RuntimeError("the processes that draw scenes have ended") from None
                continue
            taken += 1
            if len(self._pairs) < self._capacity:
                self._pairs.append(pair)
            else:
                self._pairs[self._next] = pair
                self._next = (self._next + 1) % self._capacity

    def draw(self, rng: Rng) -> Pair:
        """Draw a pair, turned, mirrored, and perhaps inverted."""
        a, sa, b, sb = self._pairs[int(rng.integers(len(self._pairs)))]
        turns, flip, invert = int(rng.integers(4)), rng.uniform() < 0.5, rng.uniform() < 0.3

        def turned(x: Image) -> Image:
            out = np.rot90(x, turns, axes=(-2, -1))
            return np.ascontiguousarray(out[..., ::-1] if flip else out).astype(np.float32)

        images = [1 - turned(x) if invert else turned(x) for x in (a, b)]
        return images[0], turned(sa), images[1], turned(sb)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.terminate()
            worker.join()
