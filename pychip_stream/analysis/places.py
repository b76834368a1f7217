"""Places: where a frame that a message names lies on this machine."""

from pathlib import Path

from pychip_stream.domain.frames import FrameKey
from pychip_stream.errors import FrameError


def inside(root: Path, relative: str) -> Path:
    """Resolve a path from a message; it must stay inside `root`, also through links.

    Raises
    ------
    FrameError
        If it does not.
    """
    FrameKey(relative)
    base = root.resolve()
    path = (base / relative).resolve()
    if not path.is_relative_to(base):
        raise FrameError(f"{relative}: leads out of the acquisition folder; refused")
    return path
