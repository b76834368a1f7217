"""Progress: how far a piece of work is, told by the work itself."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with how much is done, and the total; it may raise what ends the work."""


def no_progress(_done: int, _total: int) -> None:
    """Tell nobody."""
