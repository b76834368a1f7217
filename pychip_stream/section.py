"""Sections: parts of a configuration, how their errors are told and their paths resolved."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _write_paths_plainly(cls, tree: Any) -> Any:
        # "D:\\temp" in double quotes is D:, a tab, and emp.
        for name, value in tree.items() if isinstance(tree, dict) else ():
            field = cls.model_fields.get(name)
            if field is None or Path not in (field.annotation, *_members(field.annotation)):
                continue
            if isinstance(value, str) and min(value, default=" ") < " ":
                raise ValueError(
                    f"{name}: {value!r} is no path (\\t in double quotes is a tab, \\n a line "
                    "break); write it with / or in 'single quotes'"
                )
        return tree


SectionT = TypeVar("SectionT", bound=Section)


def _members(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", ())


def problems(error: ValidationError) -> list[str]:
    """Tell what is wrong, a line each, as people who edit the file understand it."""
    return [f"{'.'.join(str(p) for p in e['loc'])}: {_plain(e)}" for e in error.errors()]


def _plain(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key (misspelt?)"
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "string_type":
        return f"{error['input']} is no text here; put it in 'quotes'"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"


def resolve(section: SectionT, base: Path) -> SectionT:
    """Resolve every path of a section and of those in it against a folder."""

    def resolved(value: object) -> object:
        if isinstance(value, Section):
            return resolve(value, base)
        if isinstance(value, tuple):
            return tuple(map(resolved, value))
        return Path(base, value.expanduser()) if isinstance(value, Path) else value

    return section.model_copy(update={name: resolved(value) for name, value in section})
