"""Findings: what a checkup says."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """What a check found.

    Attributes
    ----------
    check
        What was looked at.
    level
        "good", "hint" (works, may surprise), "bad" (will not work).
    what, do
        What was found; what to do about it, empty where nothing is to be done.
    """

    check: str
    level: Literal["good", "hint", "bad"]
    what: str
    do: str = ""


def safely(part: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check; one that fails in an unforeseen way is a finding, not the end."""
    try:
        return list(part())
    except ImportError as error:
        return [Finding("packages", "bad", str(error), "install pychip-stream again")]
    except Exception as error:
        name = getattr(part, "__name__", "check").strip("_<>")
        return [Finding(name, "bad", f"{type(error).__name__}: {error}", "report this")]
