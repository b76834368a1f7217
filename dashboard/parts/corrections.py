"""Corrections: wrong chips of the shown frame go, under their right class, into the draft."""

from collections.abc import Callable
from typing import Any

from pychip_stream.domain.chips import ChipSize
from pychip_stream.errors import PychipError

from ..accounts import Viewer
from ..work.drafts import Draft, DraftState
from ..work.previews import OpenDrafts
from ..work.state import RunState
from ..work.words import count
from .editor import edited
from .editor_messages import picks_message
from .frame_view import FrameView
from .layouts import small_button


class Corrections:
    """A button for operators that lets chips be chosen on a canvas that shows labels.

    What is chosen is in the draft of the operator, which Examples shows, judges and publishes.

    Parameters
    ----------
    view
        Of the frame.
    hold
        Called when chips are to be chosen: the shown frame is to stay.

    Attributes
    ----------
    words
        What is to be said of it; empty while nothing is corrected.
    """

    def __init__(
        self,
        viewer: Viewer,
        drafts: OpenDrafts,
        run: RunState,
        view: FrameView,
        hold: Callable[[], None],
    ) -> None:
        self._viewer, self._drafts, self._run = viewer, drafts, run
        self._view, self._hold = view, hold
        self._draft: Draft | None = None
        self._echo = 0
        self._sent: tuple[object, ...] = ()
        self._trouble = self.words = ""
        self.button = small_button("Correct labels", self._press, visible=viewer.operator)

    @property
    def on(self) -> bool:
        """Whether chips can be chosen."""
        return self._draft is not None

    def stop(self) -> None:
        """Let no more chips be chosen; what was chosen stays in the draft."""
        if self._draft is not None:
            self._draft, self.words = None, ""
            self._view.lock()
            self.button.label = "Correct labels"

    def pull(self) -> None:
        """Show the chosen chips of the shown frame, whoever has changed them, and say how many."""
        draft, picture = self._draft, self._view.picture
        if draft is None or picture is None:
            return
        state = draft.state
        sent = (draft.number, picture.key, self._echo, self._trouble)
        if sent == self._sent:
            return
        self._sent = sent
        size = ChipSize(*picture.chip_size)
        if size != state.chip_size:
            self._view.lock()
            self.words = (
                f"this frame has chips of {size} px, your draft has chips of {state.chip_size} px; "
                "on Examples, go on from the version that the frame was labelled with"
            )
            return
        self._view.canvas.send(**picks_message(state, picture.key, self._echo, locked=False))
        here = sum((p.path, p.index) == picture.key for p in state.picks)
        self.words = self._trouble or (
            "choose a class, then click the chips of this frame that are of it: "
            f"{count(here, 'chip')} of this frame, {count(len(state.picks), 'chip')} in all are in "
            "the draft of the next version"
        )

    def take(self, message: dict[str, Any]) -> None:
        """Change the draft as the browser asks; what is impossible is said, not done."""
        draft, picture, kind = self._draft, self._view.picture, message["type"]
        if kind == "ready":
            self._echo, self._sent = 0, ()
        if draft is None or picture is None or kind not in ("pick", "undo"):
            return
        self._echo, self._trouble = int(message.get("click", 0)), ""
        size = draft.state.chip_size
        if kind == "undo":
            draft.undo()
        elif self._view.shows(message.get("seq")) and message.get("chip") == [
            size.width,
            size.height,
        ]:
            try:
                draft.change(edited(draft.state, message, picture.key))
            except PychipError as error:
                self._trouble = str(error)

    def _press(self) -> None:
        if self.on or not self._viewer.operator:
            self.stop()
            return
        support = self._run.support
        draft = self._drafts.of(self._viewer.user, support).draft
        # Work of one's own is gone on with; what is kept as another version gives way.
        unused = not draft.state.picks or draft.saved is not None
        if support is not None and unused and draft.saved != support.version:
            draft.change(DraftState.of(support), support.version)
        self._draft, self._echo, self._sent, self._trouble = draft, 0, (), ""
        self.button.label = "Stop correcting"
        self._hold()
