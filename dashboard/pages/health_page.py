"""Health view: services, rates, queues, latency, machine, alerts and the log."""

from typing import Any

import panel as pn

from ..page import Desk, Viewer
from ..parts.components import Tables
from ..work.background import Later
from ..work.machine import Machine, look
from ..work.stages import HealthBoard

_SHOW_S = 1.0
_LOOK_S = 2.0


class HealthView:
    """Whether everything runs, and if not, what is wrong."""

    title = "Health"

    def __init__(self, desk: Desk, viewer: Viewer) -> None:
        del viewer  # everybody may look
        archive = desk.config.archive
        self._folder = archive.folder
        self._log = archive.folder / f"{archive.name}.log"
        self._board = HealthBoard(desk.run)
        self._later = Later(self._on_trouble, threads=1)
        self._machine: Machine | None = None
        self._looking = False
        self._looked_at = self._shown_at = 0.0
        self._tables = Tables(self._on_message, sizing_mode="stretch_width", margin=(12, 16))

    def panel(self) -> Any:
        """One column of tables that flow beside each other."""
        return pn.Column(self._tables, sizing_mode="stretch_width")

    def pull(self, now: float) -> None:
        """Refresh once a second."""
        if now - self._shown_at > _SHOW_S:
            self._shown_at = now
            self._board.sample(now)
            self._send()
        if not self._looking and now - self._looked_at > _LOOK_S:
            self._looked_at, self._looking = now, True
            self._later.do(lambda: look(self._folder, self._log), self._on_look)

    def close(self) -> None:
        """Let go of the thread."""
        self._later.close()

    def _on_look(self, machine: Machine) -> None:
        self._looking = False
        self._machine = machine

    def _on_trouble(self, _text: str) -> None:
        self._looking = False

    def _on_message(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self._send()

    def _send(self) -> None:
        self._tables.send(type="tables", tables=self._board.tables(self._machine))
