"""Review page: the runs of the archive folder, and one of them opened."""

from typing import Any, ClassVar

import panel as pn
import panel_material_ui as pmui

from ..accounts import Viewer
from ..page import Desk, View
from ..parts.components import RunList
from ..parts.review_tables import card_message
from ..parts.run_view import RunView
from ..work.background import Background
from ..work.links import NOTHING, Link
from ..work.recent import Every
from ..work.runs import RunCard
from ..work.words import count

_LOOK_S = 5.0


class ReviewPage(View):
    """What was measured before, and what is being measured."""

    name: ClassVar = "review"
    title: ClassVar = "Review"
    place: ClassVar = 2

    def __init__(self, desk: Desk, viewer: Viewer) -> None:
        self._viewer = viewer
        self._asked = desk.asked
        self._name = ""
        self._root = desk.config.watch.root
        self._shelf, self._bench = desk.shelf, desk.bench
        self._background = Background(self._on_trouble, threads=1)
        self._cards: list[RunCard] | None = None
        self._trouble = ""
        self._look = Every(_LOOK_S)
        self._opened: RunView | None = None
        self._list = RunList(self._on_list, sizing_mode="stretch_width")
        self._shelf_page = pn.Column(
            pmui.Typography("Runs", variant="h6", margin=0), self._list, margin=(8, 16),
            sizing_mode="stretch_width",
        )  # fmt: skip
        self._place = pn.Column(self._shelf_page, sizing_mode="stretch_width")

    def panel(self) -> Any:
        """Show the list, or the run that was opened in its place."""
        return self._place

    def pull(self, now: float) -> None:
        """Look at the folder now and then; follow the opened run."""
        if self._opened is not None:
            self._opened.pull(now)
        elif self._look.due(now):
            self._background.do(self._shelf.look, self._on_look, slot="look")

    def link(self) -> Link:
        """Say which run is opened, and what of it is shown."""
        if self._opened is None:
            return Link(self.name)
        return self._opened.link()._replace(page=self.name, run=self._name)

    def close(self) -> None:
        """Let go of everything."""
        self._background.close()
        if self._opened is not None:
            self._opened.close()

    def _on_look(self, cards: list[RunCard]) -> None:
        self._cards, self._trouble = cards, ""
        self._send()

    def _on_trouble(self, text: str) -> None:
        self._trouble = text
        self._send()

    def _send(self) -> None:
        if self._opened is not None or (self._cards is None and not self._trouble):
            return  # a list that is not on the page is not spoken to
        cards = self._cards or []
        places = ", ".join(map(str, self._shelf.places))
        note = self._trouble or f"{count(len(cards), 'run')} in {places}"
        runs = [card_message(card) for card in cards]
        self._list.send(type="runs", note=note, runs=runs, open=self._asked.run)

    def _on_list(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self._send()
        elif message["type"] == "open":
            self._open(str(message.get("name")))

    def _open(self, name: str) -> None:
        cards = {card.name: card for card in self._cards or []}
        if name not in cards or self._opened is not None:
            return
        others = {n: c.path for n, c in cards.items() if n != name and not c.trouble and c.frames}
        asked, self._asked = self._asked, NOTHING
        self._opened = RunView(
            cards[name].path,
            self._root,
            others,
            self._leave,
            self._viewer,
            self._bench,
            self._shelf.readers,
            asked if asked.run == name else NOTHING,
        )
        self._name = name
        self._place[:] = [self._opened.panel()]

    def _leave(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
            self._look.hurry()
            self._place[:] = [self._shelf_page]
