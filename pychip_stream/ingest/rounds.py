"""Rounds: what of the tree is looked at, when, and how much of a core that may cost."""

import time
from collections import deque
from collections.abc import Iterator

from pychip_stream.ingest.tree import Tree

# Of one turn of the loop: what looking at the whole tree and at new folders may take.
_BUDGET_S = 0.04
# The whole tree may take this share of a core in the long run.
_SHARE = 1 / 40
_RECENT = 64


class Rounds:
    """Looks at the newest folders often, at the whole tree now and then, in short slices.

    Parameters
    ----------
    scan_s
        Pause between looks at the newest folders.
    reconcile_s
        Pause between looks at the whole tree; longer where the tree is so large that its share
        of a core would be exceeded.
    """

    def __init__(self, tree: Tree, *, scan_s: float, reconcile_s: float) -> None:
        self._tree = tree
        self._scan_s = scan_s
        self._reconcile_s = reconcile_s
        self._recent: deque[str] = deque(maxlen=_RECENT)
        self._pass: Iterator[None] | None = None
        self._pass_cpu = 0.0
        self._scan_at = self._pass_at = self._recent_at = 0.0
        self._more = False
        self._passes = 0

    @property
    def passes(self) -> int:
        """How often the whole tree has been looked at, to the end."""
        return self._passes

    def remember(self, path: str) -> None:
        """Keep an eye on a file that was handed on: it may be written again."""
        self._recent.append(path)

    def reconcile_now(self) -> None:
        """Look at the whole tree from the beginning as soon as possible."""
        self._pass, self._pass_at = None, 0.0

    def look(self, now: float) -> None:
        """Do what is due.

        Raises
        ------
        OSError
            If the root cannot be listed; the next call begins again.
        """
        try:
            if now >= self._scan_at:
                self._scan_at = now + self._scan_s
                self._tree.look_at_frontier()
                self._scan_at = time.monotonic() + self._scan_s
            if now >= self._recent_at:
                # Without events, a rewrite shows in nothing but the file itself.
                for path in list(self._recent):
                    self._tree.look_at(path)
                self._recent_at = now + max(1.0, self._scan_s)
            self._more = self._tree.explore(_BUDGET_S)
            if not self._more:
                self._reconcile(now)
        except OSError:
            self.reconcile_now()
            raise

    def pause(self, now: float) -> float:
        """Seconds until something is due; 0 while a look is not finished."""
        if self._more or self._pass is not None:
            return 0.0
        return max(0.0, min(self._scan_at, self._pass_at) - now)

    def _reconcile(self, now: float) -> None:
        """Go on with the pass over the whole tree, or begin one when it is time."""
        if self._pass is None:
            if now < self._pass_at:
                return
            self._pass = self._tree.reconcile()
            self._pass_cpu = 0.0
        cpu, end = time.thread_time(), time.monotonic() + _BUDGET_S
        for _ in self._pass:
            if time.monotonic() >= end:
                break
        else:
            self._pass = None
        self._pass_cpu += time.thread_time() - cpu
        if self._pass is None:
            self._passes += 1
            wait = max(self._reconcile_s, self._pass_cpu / _SHARE)
            self._pass_at = time.monotonic() + wait
