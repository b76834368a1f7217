"""What can go wrong, and how much of the work it costs.

Every message is one line that says what happened, where, and what to do about it.
"""

from collections.abc import Sequence
from typing import Self


class PychipError(Exception):
    """Root of all errors this package raises on purpose.

    Attributes
    ----------
    exit_code
        What a command ends with when nothing catches the error: 1 the work failed,
        2 wrong usage or configuration, 130 Ctrl-C.
    """

    exit_code = 1


class UsageError(PychipError):
    """A command was asked for something that it cannot do; nothing was started."""

    exit_code = 2


class StoppedError(PychipError):
    """Ctrl-C ended the work; the message says what is kept and how to go on."""

    exit_code = 130


class ConfigError(PychipError):
    """A configuration cannot be used; start-up stops with every problem listed.

    Parameters
    ----------
    where
        The file (or source) that was read.
    problems
        One line each, naming the key and what to do.
    """

    exit_code = 2

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.where = where
        self.problems = tuple(problems)
        super().__init__(f"{where}: " + "; ".join(self.problems))

    def __reduce__(self) -> tuple[type[Self], tuple[str, tuple[str, ...]]]:
        return type(self), (self.where, self.problems)


class GuardError(PychipError):
    """Guarded code took too long, too much memory, or its process along.

    Attributes
    ----------
    kind
        "time", "memory", "crash", or "killed" from outside.
    """

    def __init__(self, message: str, kind: str = "crash") -> None:
        super().__init__(message)
        self.kind = kind


class FrameError(PychipError):
    """One frame cannot be read or analysed; the run records the reason and goes on."""


class FrameIncompleteError(FrameError):
    """The file is not whole yet (or changed while it was read); try again later."""


class FrameUnreachableError(FrameIncompleteError):
    """The file cannot be opened or read now, which is no fault of its own; try again later."""


class FrameMissingError(FrameUnreachableError, UsageError):
    """There is no file of this name; in a run it may come back."""


class FrameLostError(FrameError):
    """Looking at the file hung, crashed or swelled; which another try may not do."""


class FrameUsageError(FrameError, UsageError):
    """What was named is no image, holds no such frame, or no chip of that size fits on it."""


class SupportError(PychipError):
    """A support set is impossible or cannot be read."""


class SupportUsageError(SupportError, UsageError):
    """What was given makes no support set, or what was named is none."""


class ArchiveError(PychipError):
    """A run archive cannot be opened, read or written."""


class StorageError(ArchiveError):
    """The disk refuses now (full, read-only, gone); the same may be tried again."""


class ArchiveUsageError(ArchiveError, UsageError):
    """What was named is no run archive, or does not hold what was asked for."""


class EncoderError(PychipError):
    """An encoder or its weights cannot be loaded or do not fit."""


class EncoderUsageError(EncoderError, UsageError):
    """There is no encoder of this name."""


class ClusterError(PychipError):
    """The Dask cluster cannot be reached, has no workers that fit, or was lost."""


class WireError(PychipError):
    """A message is malformed, too large or of another protocol version; it is dropped."""
