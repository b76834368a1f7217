"""Plug-ins: what this package brings and what other installed packages add, by name.

A member of this package is an object at the top level of a module in the folder of its kind.
Another package adds a member by an entry point, for example in its pyproject.toml:

    [project.entry-points."pychip_stream.formats"]
    my_format = "my_package.my_format:FORMAT"
"""

import logging
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)


class Named(Protocol):
    """Whatever has a name."""

    @property
    def name(self) -> str:
        """By which it is known; unique among its kind."""


T = TypeVar("T", bound=Named)


def members_of(folder: str, kind: type) -> Callable[[], list[Any]]:
    """Find what the modules of a package have of a kind, at their top level or in a tuple there.

    Parameters
    ----------
    folder
        Name of the package; its modules are loaded when the members are first asked for.
    kind
        Type of the members; where the members are classes, their base class.

    Returns
    -------
    callable
        Gives them in the order of their `place`, then as they stand in the modules.
    """

    def is_member(value: object) -> bool:
        return kind in (value.__mro__[1:] if isinstance(value, type) else type(value).__mro__)

    def find() -> list[Any]:
        found = {}
        for module in pkgutil.iter_modules(import_module(folder).__path__, f"{folder}."):
            for value in vars(import_module(module.name)).values():
                for member in value if isinstance(value, tuple) else (value,):
                    if is_member(member):
                        found[member.name] = member
        return sorted(found.values(), key=lambda member: member.place)

    return find


class Registry(Generic[T]):
    """Members of one kind, in order: those of this package, then those of others.

    A member of another package that cannot be loaded, or whose name is taken, is left out and
    said in the log: it must not stop a run.

    Parameters
    ----------
    group
        Of the entry points.
    members
        Of this package, or a function that gives them when they are first asked for, where
        their modules take long to load.
    """

    def __init__(self, group: str, members: Iterable[T] | Callable[[], Iterable[T]]) -> None:
        self.group = group
        self._own = members

    @cached_property
    def _members(self) -> dict[str, T]:
        own = self._own() if callable(self._own) else self._own
        found = {member.name: member for member in own}
        for point in sorted(entry_points(group=self.group), key=lambda p: p.name):
            try:
                member = point.load()
                if member.name in found:
                    raise ValueError(f"there is a {member.name!r} already")
                found[member.name] = member
            except Exception as error:
                logger.error("%s from %s is left out: %s", self.group, point.value, error)
        return found

    def __iter__(self) -> Iterator[T]:
        return iter(self._members.values())

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> T:
        return self._members[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all members."""
        return tuple(self._members)
