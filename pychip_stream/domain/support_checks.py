"""What makes a support set impossible, and what a new one may not hold."""

from collections import Counter
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from pychip_stream.errors import SupportUsageError

if TYPE_CHECKING:
    from pychip_stream.domain.support import SupportChip

UNKNOWN = "unknown"
"""Name of the class of chips that are too far from every prototype."""

MAX_CLASSES = 250


def check_classes(names: Sequence[str], labels: Set[str]) -> None:
    """Refuse classes that make no support set.

    Parameters
    ----------
    labels
        Classes of the chips.

    Raises
    ------
    SupportUsageError
        If there are too few or too many, or one has no chip or an impossible name.
    """
    if len(names) < 2:
        raise SupportUsageError(
            f"a support set needs at least two classes, this one has {len(names)}"
            + (f" ({names[0]!r})" if names else "")
            + "; add examples of a second feature"
        )
    if len(names) > MAX_CLASSES:
        raise SupportUsageError(f"{len(names)} classes; at most {MAX_CLASSES} are possible")
    for name in names:
        if not name.strip() or not name.isprintable():
            raise SupportUsageError(f"class name {name!r} is empty or not printable")
        if name == UNKNOWN:
            raise SupportUsageError(f"{UNKNOWN!r} is the name of rejected chips; choose another")
    doubled = [name for name, n in Counter(names).items() if n > 1]
    if doubled:
        raise SupportUsageError(f"two classes are called {doubled[0]!r}; rename or merge them")
    empty = [name for name in names if name not in labels]
    if empty:
        raise SupportUsageError(f"class {empty[0]!r} has no chip; pick 2-10 examples or remove it")
    stray = labels - set(names)
    if stray:
        raise SupportUsageError(f"chips of an undeclared class {sorted(stray)[0]!r}")


def check_new(names: Sequence[str], chips: "Sequence[SupportChip]") -> None:
    """Refuse what sets of before may hold.

    Raises
    ------
    SupportUsageError
        If a class could be mistaken for unknown, or a chip is shown as two classes.
    """
    for name in names:
        check_name(name)
    seen: dict[object, str] = {}
    for chip in chips:
        s = chip.source
        place = () if s.row is None else (s.path, s.index, s.row, s.column)
        label = seen.setdefault((place, chip.pixels.tobytes()), chip.label)
        if label != chip.label:
            where = f"{s.row},{s.column}" if place else s.path
            raise SupportUsageError(
                f"chip {where} is an example of {label!r} and of {chip.label!r}; "
                "take it out of one of them"
            )


def check_name(name: str) -> None:
    """Refuse a class that people would take for unknown.

    Raises
    ------
    SupportUsageError
        If it is called so, in any case.
    """
    if name.strip().casefold() == UNKNOWN:
        raise SupportUsageError(
            f"class {name!r}: {UNKNOWN!r} is the name of rejected chips; choose another"
        )
