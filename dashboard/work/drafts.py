"""Drafts: a support set in the making; immutable states, so that undo is exact.

A draft lives on the server and on disk from the first click on: a reload, a closed browser or a
restart of the dashboard loses nothing.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pychip_stream.archive.disk import Disk
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.colors import color_of, shown_color
from pychip_stream.domain.support import SupportClass, SupportSet, check_name
from pychip_stream.errors import UsageError

logger = logging.getLogger(__name__)

_UNDO_STEPS = 200
_MOST_PICKS = 5000
_FIRST_SIZE = ChipSize(64, 64)


Later = Callable[[Callable[[], None]], object]


@dataclass(frozen=True, slots=True)
class Pick:
    """One chosen chip: a place on a frame of the run, or a chip of a saved version.

    Attributes
    ----------
    label
        Name of its class.
    path, index, row, column
        Place; an empty path for chips that are in no frame of the run.
    version, number
        Support set and position in it that the chip was loaded from.
    """

    label: str
    path: str = ""
    index: int = 0
    row: int = -1
    column: int = -1
    version: str = ""
    number: int = -1

    @property
    def place(self) -> tuple[str, int, int, int]:
        """Where it is."""
        return self.path, self.index, self.row, self.column


@dataclass(frozen=True)
class DraftState:
    """One state of a draft.

    Raises
    ------
    UsageError
        From every change that is impossible, with the reason for the operator.
    """

    chip_size: ChipSize = _FIRST_SIZE
    classes: tuple[SupportClass, ...] = (
        SupportClass("feature 1", color_of(0)),
        SupportClass("feature 2", color_of(1)),
    )
    picks: tuple[Pick, ...] = field(default=(), repr=False)
    parent: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in order."""
        return tuple(c.name for c in self.classes)

    @property
    def counts(self) -> dict[str, int]:
        """Chosen chips per class."""
        return {n: sum(p.label == n for p in self.picks) for n in self.names}

    @classmethod
    def of(cls, support: SupportSet) -> "DraftState":
        """Go on from a saved support set."""
        version = support.version
        classes = tuple(SupportClass(c.name, shown_color(c.color)) for c in support.classes)
        picks = tuple(
            Pick(
                chip.label,
                chip.source.path,
                chip.source.index,
                -1 if chip.source.row is None else chip.source.row,
                -1 if chip.source.column is None else chip.source.column,
                version,
                number,
            )
            for number, chip in enumerate(support.chips)
        )
        return cls(support.chip_size, classes, picks, version)

    def choose(
        self, label: str, path: str, index: int, places: Iterable[tuple[int, int]], *, add: bool
    ) -> "DraftState":
        """Add chips to a class (taking them from any other), or take them out."""
        self._class(label)
        wanted = {(path, index, row, column) for row, column in places}
        rest = tuple(p for p in self.picks if p.place not in wanted)
        if not add:
            return replace(self, picks=rest)
        kept = {p.place: p for p in self.picks if p.place in wanted and p.version}
        fresh = tuple(
            replace(kept[place], label=label) if place in kept else Pick(label, *place)
            for place in sorted(wanted)
        )
        if len(rest) + len(fresh) > _MOST_PICKS:
            raise UsageError(f"{_MOST_PICKS} examples are enough; a handful per class is better")
        return replace(self, picks=(*rest, *fresh))

    def drop(self, number: int) -> "DraftState":
        """Take out the pick at a position."""
        if not 0 <= number < len(self.picks):
            raise UsageError("that example is gone already")
        return replace(self, picks=self.picks[:number] + self.picks[number + 1 :])

    def add_class(self, name: str = "") -> "DraftState":
        """Add a class with the first free colour."""
        taken = {c.color for c in self.classes}
        count = len(self.classes)
        free = next((c for c in map(color_of, range(count)) if c not in taken), color_of(count))
        number = len(self.classes) + 1
        while not name or (name in self.names and name.startswith("feature ")):
            name = f"feature {number}"
            number += 1
        self._check_name(name)
        return replace(self, classes=(*self.classes, SupportClass(name, free)))

    def rename(self, old: str, new: str) -> "DraftState":
        """Give a class another name."""
        self._class(old)
        new = new.strip()
        if new == old:
            return self
        self._check_name(new)
        return replace(
            self,
            classes=tuple(SupportClass(new, c.color) if c.name == old else c for c in self.classes),
            picks=tuple(replace(p, label=new) if p.label == old else p for p in self.picks),
        )

    def recolor(self, name: str, color: str) -> "DraftState":
        """Give a class another colour (#rrggbb)."""
        self._class(name)
        digits = color.removeprefix("#")
        if len(digits) != 6 or any(c not in "0123456789abcdefABCDEF" for c in digits):
            raise UsageError(f"{color!r} is no colour; write #rrggbb")
        color = f"#{digits.lower()}"
        same = next((c.name for c in self.classes if c.color == color and c.name != name), None)
        if same is not None:
            raise UsageError(f"{same!r} has that colour already; choose another")
        return replace(
            self,
            classes=tuple(
                SupportClass(c.name, color) if c.name == name else c for c in self.classes
            ),
        )

    def merge(self, source: str, target: str) -> "DraftState":
        """Give the chips of one class to another, and remove it."""
        self._class(source)
        self._class(target)
        if source == target:
            return self
        return replace(
            self,
            classes=tuple(c for c in self.classes if c.name != source),
            picks=tuple(replace(p, label=target) if p.label == source else p for p in self.picks),
        )

    def remove_class(self, name: str) -> "DraftState":
        """Remove a class with its chips."""
        self._class(name)
        if len(self.classes) == 1:
            raise UsageError("at least one class stays; rename it instead")
        return replace(
            self,
            classes=tuple(c for c in self.classes if c.name != name),
            picks=tuple(p for p in self.picks if p.label != name),
        )

    def resize(self, size: ChipSize, shape: tuple[int, int] | None = None) -> "DraftState":
        """Change the chip size; each pick moves to the chip that now covers its centre.

        Chips that are in no frame of the run are of the old size, and go. So do those whose
        centre no whole chip covers on a frame of `shape` (rows, columns).
        """
        if size == self.chip_size:
            return self
        old = self.chip_size
        moved: dict[tuple[str, int, int, int], Pick] = {}
        for pick in self.picks:
            if not pick.path or pick.row < 0:
                continue
            row = int((pick.row + 0.5) * old.height / size.height)
            column = int((pick.column + 0.5) * old.width / size.width)
            if shape is not None and not (
                (row + 1) * size.height <= shape[0] and (column + 1) * size.width <= shape[1]
            ):
                continue
            place = (pick.path, pick.index, row, column)
            moved.setdefault(place, Pick(pick.label, *place))
        return replace(self, chip_size=size, picks=tuple(moved.values()))

    def _class(self, name: str) -> SupportClass:
        for one in self.classes:
            if one.name == name:
                return one
        raise UsageError(f"there is no class {name!r} any more")

    def _check_name(self, name: str) -> None:
        if not name.strip() or not name.isprintable() or len(name) > 80:
            raise UsageError("a class needs a printable name of at most 80 characters")
        check_name(name)
        if name in self.names:
            raise UsageError(f"there is a class {name!r} already; merge them, or choose another")


class Draft:
    """A draft with its past, kept in a file; shared by all tabs of its owner.

    Attributes
    ----------
    state
        The present state.
    number
        Grows with every change.
    saved
        The version that this state was saved as, or None.
    """

    def __init__(self, path: Path, state: DraftState, later: Later | None = None) -> None:
        self._path = path
        self._later = later or (lambda work: work())
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._past: list[DraftState] = []
        self.state = state
        self.number = 1
        self.saved: str | None = state.parent

    @classmethod
    def open(cls, path: Path, start: DraftState, later: Later | None = None) -> "Draft":
        """Go on with what was kept at `path`, or begin with `start`.

        Parameters
        ----------
        later
            Runs the writing to disk, which may take a while; default: at once.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            draft = cls(path, _from_json(document), later)
            draft.saved = document["saved"]
        except FileNotFoundError:
            return cls(path, start, later)
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            logger.warning("%s: the draft cannot be read (%s); it begins anew", path, error)
            return cls(path, start, later)
        return draft

    def change(self, state: DraftState, saved: str | None = None) -> None:
        """Go to another state; the present one can be had back by `undo`."""
        with self._lock:
            if state == self.state and saved == self.saved:
                return
            if state != self.state:
                self._past = [*self._past, self.state][-_UNDO_STEPS:]
            self._enter(state, saved)

    def undo(self) -> bool:
        """Go back one step; False where there is none."""
        with self._lock:
            if not self._past:
                return False
            self._enter(self._past.pop(), None)
            return True

    def _enter(self, state: DraftState, saved: str | None) -> None:
        self.state, self.saved = state, saved
        self.number += 1
        self._later(self._keep)

    def _keep(self) -> None:
        with self._writing:
            document = json.dumps(_to_json(self.state, self.saved))
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                Disk().save(self._path, document.encode())
            except OSError as error:
                logger.warning("%s: the draft is not kept (%s)", self._path, error)


def _to_json(state: DraftState, saved: str | None) -> dict[str, Any]:
    return {
        "chip_size": [state.chip_size.width, state.chip_size.height],
        "classes": [[c.name, c.color] for c in state.classes],
        "picks": [[p.label, *p.place, p.version, p.number] for p in state.picks],
        "parent": state.parent,
        "saved": saved,
    }


def _from_json(document: dict[str, Any]) -> DraftState:
    return DraftState(
        ChipSize(*document["chip_size"]),
        tuple(SupportClass(str(n), str(c)) for n, c in document["classes"]),
        tuple(Pick(*entry) for entry in document["picks"]),
        document["parent"],
    )
