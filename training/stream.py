"""Episodes from worker processes into a pool that training draws from."""

import multiprocessing
import queue
from multiprocessing.queues import Queue

import numpy as np
import numpy.typing as npt
import torch

from training.episodes import Episode, draw
from training.scenes import Rng, make_pair

EPISODES = 4
"""Drawn of each pair of scenes."""
BORDER = 2
"""Outermost cells of a scene, which lack their surroundings."""

Half = npt.NDArray[np.float16]
Pair = tuple[Half, Half, list[Episode]]
"""Images of two scenes, and episodes of them (places without the border)."""


def make(size: int, rng: Rng) -> Pair | None:
    """Draw a pair of scenes and its episodes; None if a class got too little room."""
    pair = make_pair(size, rng)
    if pair is None:
        return None
    inner = slice(BORDER, -BORDER)
    near, far = (scene.shares[:, inner, inner] for scene in pair)
    episodes = [draw(near, far, rng) for _ in range(EPISODES)]
    usable = [e for e in episodes if e is not None]
    return (*(s.image.astype(np.float16) for s in pair), usable) if usable else None


def work(out: "Queue[Pair]", size: int, seed: int) -> None:
    """Make pairs of scenes for ever."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        pair = make(size, rng)
        if pair is not None:
            _put(out, pair)


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
    """The latest pairs; each is drawn a few times, with other episodes."""

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

    def draw(self, rng: Rng) -> tuple[Half, Half, Episode]:
        """Draw a pair and one of its episodes."""
        a, b, episodes = self._pairs[int(rng.integers(len(self._pairs)))]
        return a, b, episodes[int(rng.integers(len(episodes)))]

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.terminate()
            worker.join()
