"""Recent: a few things that are remembered, and moments that come round."""

import math
import threading
from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values that were used last, by key; for any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Find a value, which makes it the newest."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: K, value: V) -> V:
        """Remember a value, and return it; the oldest makes room."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return value

    def values(self) -> list[V]:
        """All values, the newest last."""
        with self._lock:
            return list(self._kept.values())

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()


class Every:
    """Tells when so many seconds have gone by; the first time at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = -math.inf

    def due(self, now: float) -> bool:
        """Whether it is time; `now` is `time.monotonic()`."""
        if now - self._at <= self._seconds:
            return False
        self._at = now
        return True

    def hurry(self) -> None:
        """Be due the next time."""
        self._at = -math.inf
