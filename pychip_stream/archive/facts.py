"""Facts: what a run is, apart from its arrays."""

import json
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from pychip_stream.archive import hdf, provenance
from pychip_stream.archive.catalog import FileCatalog
from pychip_stream.archive.finding import Finder
from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.archive.scorings import default_scoring
from pychip_stream.archive.segment import Session
from pychip_stream.domain.support import PALETTE, UNKNOWN, UNKNOWN_COLOR, SupportSet
from pychip_stream.errors import ArchiveError


class RunFacts:
    """Frames, scorings, classes, support sets and provenance of a run."""

    def __init__(self, files: FileCatalog, scoring: str | None = None) -> None:
        self._files = files
        self._asked = scoring
        self._finder = Finder(files)
        self._take(scoring)

    def __len__(self) -> int:
        return len(self._catalog.order)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go; nothing stays open between calls anyway."""

    def refresh(self) -> bool:
        """Take in what was archived since; whether there was anything.

        Raises
        ------
        ArchiveError
            If the run is gone or cannot be read.
        """
        before, shown = self._catalog, self._scoring
        self._finder.refresh()
        self._take(self._asked)
        now = self._catalog
        return (
            [p.header.last for p in before.parts] != [p.header.last for p in now.parts]
            or list(before.scorings.values()) != list(now.scorings.values())
            or before.scoring_names != now.scoring_names
            or shown != self._scoring
        )

    def _take(self, scoring: str | None) -> None:
        """Give numbers to the frames that there are now."""
        self._catalog = self._finder.catalog
        self._scoring = scoring or default_scoring(self._catalog)
        for name in ("fractions", "frames", "names", "colors"):
            self.__dict__.pop(name, None)

    @property
    def path(self) -> Path:
        """The archive, which a live run does not have yet."""
        return self._catalog.places.closed

    @property
    def live(self) -> bool:
        """Whether the run is not closed, or is continued."""
        return any(p.kind == "segment" for p in self._catalog.parts) or not self._catalog.parts

    @property
    def run_id(self) -> str:
        """Identifies the run; empty while it holds no frame."""
        return self._catalog.parts[-1].header.run_id if self._catalog.parts else ""

    @property
    def count(self) -> int:
        """Number of classified frames; they are numbered 0 … count - 1."""
        return len(self._catalog.classified)

    @property
    def start(self) -> float:
        """Time of the first classified frame in seconds since 1970; NaN without one."""
        rows = self._catalog.classified
        return float(self._catalog.table["time"][rows[0]]) if len(rows) else float("nan")

    @property
    def scoring(self) -> str:
        """Scoring that is shown: "acquired" or the version of a support set."""
        return self._scoring

    @property
    def scorings(self) -> tuple[str, ...]:
        """Names of all scorings."""
        return tuple(self._catalog.scoring_names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The K class names, without unknown."""
        return self._class_names[1:]

    @cached_property
    def colors(self) -> dict[str, str]:
        """Colour (#rrggbb) of each class and of unknown, from the newest support set with it."""
        colors: dict[str, str] = {}
        for version in self._versions_by_use():
            for one in self.support_set(version).classes:
                colors.setdefault(one.name, one.color)
            if colors.keys() >= set(self.names):
                break
        plain = {n: PALETTE[i % len(PALETTE)] for i, n in enumerate(self.names)}
        return {n: colors.get(n, c) for n, c in plain.items()} | {UNKNOWN: UNKNOWN_COLOR}

    def support_set(self, version: str | None = None) -> SupportSet:
        """Support set of the newest frame under this scoring, or another that was in use.

        Raises
        ------
        ArchiveError
            If the run does not hold it.
        """
        if version is None:
            versions = self._versions_by_use()
            if not versions:
                raise ArchiveError(f"{self.path}: holds no support set")
            version = versions[0]
        return self._finder.support(version)

    @property
    def support_versions(self) -> tuple[str, ...]:
        """Versions of the support sets that the run holds."""
        return tuple(self._finder.support_versions())

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Starts of the archiver, with the config and versions that each was told."""
        return provenance.sessions(self._catalog)

    @property
    def metadata(self) -> dict[str, str]:
        """What the newest start of the archiver was told."""
        return dict(self.sessions[-1].metadata) if self.sessions else {}

    @property
    def config(self) -> dict[str, Any]:
        """Configuration of the newest start of the archiver, as far as it was told."""
        return provenance.config(self.metadata)

    @property
    def scoring_provenance(self) -> dict[str, Any]:
        """How the scoring that is shown was made; empty for "acquired", see `sessions`."""
        return dict(json.loads(self._catalog.provenance(self._scoring) or "{}"))

    @property
    def root(self) -> Path | None:
        """Acquisition folder that the frames' paths are relative to, where it is known."""
        return provenance.root(self.metadata)

    @property
    def _class_names(self) -> tuple[str, ...]:
        return self._catalog.class_names(self._scoring)

    @property
    def sequence(self) -> npt.NDArray[np.int64]:
        """(count,) numbers in order of archiving of the classified frames, in order of time."""
        return np.asarray(self._catalog.table["sequence"][self._catalog.classified])

    def _checked(self, frame: int) -> int:
        if not -self.count <= frame < self.count:
            raise IndexError(f"frame {frame} of a run with {self.count} classified frames")
        return frame % self.count

    def _versions_by_use(self) -> list[str]:
        """Versions of support sets, those of the newest frames first."""
        if self._scoring != ACQUIRED:
            return [self._scoring]
        used = self._catalog.table["support_version"][self._catalog.classified[::-1]]
        held = self.support_versions
        versions = dict.fromkeys(hdf.strings(pd.unique(used.astype(object))))
        return [v for v in dict.fromkeys([*versions, *reversed(held)]) if v in held]
