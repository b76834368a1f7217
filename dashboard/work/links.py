"""Links: what of a page its address says, so that somebody else sees the same."""

import math
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from .frame_pictures import Key

Window = tuple[float, float]
"""Beginning and end, in seconds since 1970."""


class Link(NamedTuple):
    """What a page shows.

    Attributes
    ----------
    page, run
        By name; empty: not said.
    frame
        Path and index; None: the page's own choice.
    window
        Part of the curve; None: the whole.
    """

    page: str = ""
    run: str = ""
    frame: Key | None = None
    window: Window | None = None

    @classmethod
    def read(cls, query: Mapping[str, list[bytes]]) -> "Link":
        """Read the arguments of a request; what makes no sense is not said."""
        said = {name: v[-1].decode(errors="replace") for name, v in query.items() if v}
        path, _, index = said.get("frame", "").rpartition("#")
        frame = (path, int(index)) if path and index.isdecimal() and len(index) < 10 else None
        try:
            window = float(said.get("from", "nan")), float(said.get("to", "nan"))
        except ValueError:
            window = (math.nan, math.nan)
        good = all(map(math.isfinite, window)) and window[0] < window[1]
        run = said.get("run", "")
        page = said.get("page") or ("review" if run else "")
        return cls(page, run, frame, window if good else None)

    @property
    def query(self) -> str:
        """Arguments of the address, with the question mark."""
        said = {"page": self.page, "run": self.run}
        if self.frame is not None:
            said["frame"] = f"{self.frame[0]}#{self.frame[1]}"
        if self.window is not None:
            said |= {"from": f"{self.window[0]:.3f}", "to": f"{self.window[1]:.3f}"}
        return "?" + urlencode({name: text for name, text in said.items() if text})


NOTHING = Link()
"""Of an address that asks for nothing."""
