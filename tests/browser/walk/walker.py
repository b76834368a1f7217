"""Walker: goes through the acts, takes a picture for each finding, and writes what it saw."""

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Error as BrowserError

from tests.browser.walk.findings import FINDINGS
from tests.support.visits import Visits

OK, NOT, UNSEEN = "as expected", "**not as expected**", "**not reached**"
_MOST = 300


@dataclass
class Setting:
    """What acts play on: the page that is looked at, and whatever else they need."""

    page: Any = None
    things: dict[str, Any] = field(default_factory=dict)


class Scene:
    """Acts that play on one setting, in order."""

    def __init__(self, name: str, setting: Callable[["Walk"], Iterator[Setting]]) -> None:
        self.name = name
        self._setting = contextmanager(setting)
        self.acts: list[tuple[tuple[str, ...], Callable[[Walk, Setting], None]]] = []

    def __call__(self, *findings: str) -> Callable[..., Any]:
        def keep(act: Callable[["Walk", Setting], None]) -> Callable[["Walk", Setting], None]:
            self.acts.append((findings, act))
            return act

        return keep

    def play(self, walk: "Walk") -> None:
        """Play all acts; one that fails costs its own findings."""
        try:
            with self._setting(walk) as setting:
                for findings, act in self.acts:
                    walk.play(self.name, findings, act, setting)
        except Exception as error:
            walk.miss(self.name, [f for found, _ in self.acts for f in found], error)


class Walk:
    """Pictures and rows of the table.

    Parameters
    ----------
    out
        Folder of the pictures and of `walk.md`.
    """

    def __init__(self, out: Path, visits: Visits) -> None:
        self.out, self.visits = out, visits
        self.rows: dict[str, tuple[str, str, str, str]] = {}
        self.step = ""

    def see(self, finding: str, page: Any, seen: str) -> None:
        """Take a picture of what was found as expected."""
        self._put(finding, OK, seen, page)

    def play(self, scene: str, findings: tuple[str, ...], act: Any, setting: Setting) -> None:
        """Play an act."""
        self.step = f"{scene}: {(inspect.getdoc(act) or act.__name__).rstrip('.')}"
        try:
            act(self, setting)
        except Exception as error:
            sys.stderr.write(traceback.format_exc(limit=2))
            self._fail(findings, error, setting.page)

    def miss(self, scene: str, findings: list[str], error: BaseException) -> None:
        """Note that a scene could not be set or ended."""
        sys.stderr.write(traceback.format_exc(limit=2))
        self.step = scene
        self._fail(findings, error, None)

    def _fail(self, findings: Any, error: BaseException, page: Any) -> None:
        left = [one for one in findings if one not in self.rows] or findings[-1:]
        for number, finding in enumerate(left):
            self._put(finding, UNSEEN if number else NOT, _line(error), None if number else page)

    def _put(self, finding: str, state: str, seen: str, page: Any) -> None:
        seen = " ".join(seen.split())
        picture = f"{len(self.rows) + 1:02d}-{finding}.png" if page is not None else ""
        if page is not None:
            try:
                page.screenshot(path=self.out / picture)
            except BrowserError as error:
                picture = ""
                if state == OK:
                    state, seen = NOT, f"no picture: {_line(error)}"
        self.rows[finding] = (self.step, state, seen, picture)
        sys.stdout.write(f"{finding:4} {state.strip('*'):16} {seen}\n")
        sys.stdout.flush()

    def table(self) -> str:
        """All findings in the order of the list."""
        lines = ["| finding | step | expected | what was seen | picture |", "|---|---|---|---|---|"]
        for finding, expected in FINDINGS.items():
            step, state, seen, picture = self.rows.get(finding, ("", UNSEEN, "", ""))
            cells = (finding, step, expected, f"{state}: {seen}", picture)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines) + "\n"

    @property
    def failed(self) -> list[str]:
        """Findings of the acts played that were not as expected."""
        return [finding for finding, row in self.rows.items() if row[1] != OK]


def _line(error: BaseException) -> str:
    return re.sub(r"\s+", " ", str(error) or repr(error))[:_MOST]
