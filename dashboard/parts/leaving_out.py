"""Leaving out: the button that takes the shown frame out of the curves, or back into them."""

from collections.abc import Callable

from pychip_stream.archive.exclusions import BLANK, Exclusion

from ..accounts import Viewer
from ..work.words import clock
from .layouts import small_button

_BLANK = (
    "Blank: no more signal than without a beam. It is left out of curves, means and tables; "
    "an operator can take it back."
)


def blank_words(excluded: Exclusion | None) -> str:
    """Say why a frame was left out by itself; empty for all others."""
    return _BLANK if excluded is not None and excluded.who == BLANK else ""


class LeavingOut:
    """A button for operators; a viewer sees none, and what his browser says does nothing.

    Parameters
    ----------
    act
        Called with whether the frame is to be taken back.
    """

    def __init__(self, viewer: Viewer, act: Callable[[bool], None]) -> None:
        self._operator = viewer.operator
        self._act = act
        self._shown = self._out = False
        self.button = small_button(
            "Leave this frame out", self._press, visible=viewer.operator, margin=4
        )

    def about(self, excluded: Exclusion | None) -> str:
        """Offer what can be done with the shown frame; returns what is said before its name."""
        self._shown, self._out = True, excluded is not None
        self.button.label = "Take this frame back" if self._out else "Leave this frame out"
        if excluded is None:
            return ""
        if excluded.who == BLANK:
            return "blank, left out: "
        who = f" by {excluded.who}" if excluded.who else ""
        return f"left out{who} at {clock(excluded.when)}, not in the curves: "

    def _press(self) -> None:
        if self._operator and self._shown:
            self._act(self._out)
