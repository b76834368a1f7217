"""Places: the files of a run and which of them count.

A run NAME in a folder is NAME.h5 once it is closed. While it is live there are, beside it,
NAME.segments/ (what is archived), NAME.live.h5 (a view of it for other programs), NAME.lock, and
NAME.scorings/ with the scorings that are not in NAME.h5 yet.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_SEGMENT = re.compile(r"seg-(\d{8})-(\d{8})\.h5")
_SUPPORT = re.compile(r"support-([0-9a-f]{8,64})\.h5")
_SCORING = re.compile(r"([0-9a-f]{8,64})\.h5")
TEMPORARY = ".tmp"


class Span(NamedTuple):
    """Numbers of the published segments that a file holds, from `first` to `last`."""

    first: int
    last: int

    @property
    def name(self) -> str:
        """File name of a segment."""
        return f"seg-{self.first:08d}-{self.last:08d}.h5"

    @classmethod
    def parse(cls, name: str) -> "Span | None":
        """Read a file name; None for other files."""
        match = _SEGMENT.fullmatch(name)
        return cls(int(match[1]), int(match[2])) if match else None

    @property
    def width(self) -> int:
        """How many published segments it stands for."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class RunPlaces:
    """Where the parts of a run lie.

    Attributes
    ----------
    folder, name
        Of the run.
    renamed
        The closed archive where it does not end in .h5.
    """

    folder: Path
    name: str
    renamed: Path | None = None

    @classmethod
    def of(cls, path: Path) -> "RunPlaces":
        """Find the run that RUN.h5, RUN.live.h5, RUN.segments or RUN stands for."""
        if path.name in ("", ".."):
            path = path.resolve()
        name = path.name
        for suffix in (".live.h5", ".segments", ".h5"):
            if name.endswith(suffix) and name != suffix:
                return cls(path.parent, name[: -len(suffix)])
        return cls(path.parent, path.stem, path) if path.is_file() else cls(path.parent, name)

    @property
    def closed(self) -> Path:
        """The merged archive."""
        return self.renamed or self.folder / f"{self.name}.h5"

    @property
    def live(self) -> Path:
        """View of a live run with virtual datasets, for other programs."""
        return self.folder / f"{self.name}.live.h5"

    @property
    def segments(self) -> Path:
        """Folder of the segments and support sets of a live run."""
        return self.folder / f"{self.name}.segments"

    @property
    def lock(self) -> Path:
        """File that the archiver holds locked."""
        return self.folder / f"{self.name}.lock"

    @property
    def scorings(self) -> Path:
        """Folder of scorings that are not merged yet."""
        return self.folder / f"{self.name}.scorings"

    def scoring(self, version: str) -> Path:
        """File of a scoring that is not merged yet."""
        return self.scorings / f"{version}.h5"

    def segment(self, span: Span) -> Path:
        """File of a segment."""
        return self.segments / span.name

    def support(self, version: str) -> Path:
        """File of a support set of a live run."""
        return self.segments / f"support-{version}.h5"

    def spans(self) -> list[Span]:
        """Every segment file there is, also superfluous ones, in order."""
        return sorted(s for s in map(Span.parse, _names(self.segments)) if s is not None)

    def support_versions(self) -> list[str]:
        """Versions of the support sets that lie beside the segments."""
        return [m[1] for m in map(_SUPPORT.fullmatch, _names(self.segments)) if m]

    def scoring_versions(self) -> list[str]:
        """Versions of the scorings that are not merged yet."""
        return [m[1] for m in map(_SCORING.fullmatch, _names(self.scorings)) if m]

    def temporaries(self) -> list[Path]:
        """Files that a killed archiver left unfinished."""
        found = [p for p in self.segments.glob(f"*{TEMPORARY}") if p.is_file()]
        for final in (self.closed, self.live):
            found += self.folder.glob(f"{_literal(final.name)}.*{TEMPORARY}")
        return found


def covering(spans: Iterable[Span], after: int = 0) -> list[Span]:
    """Segments that count: compacted files stand for the narrower ones they were made of.

    Parameters
    ----------
    after
        Segments up to this number are in the merged archive.
    """
    chosen: list[Span] = []
    reach = after
    for span in sorted(spans, key=lambda s: (s.first, -s.last)):
        if span.last > reach:
            chosen.append(span)
            reach = span.last
    return chosen


def _names(folder: Path) -> list[str]:
    try:
        return sorted(p.name for p in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _literal(name: str) -> str:
    """Name as a glob pattern that matches only itself."""
    return re.sub(r"([*?\[])", r"[\1]", name)
