"""Words: numbers, times and sizes as people read them."""

import math
from datetime import datetime

from pychip_stream.analysis.rescoring import Rescored
from pychip_stream.domain.support import SupportSet

STAGE_WORDS = {"started": "waiting", "received": "archiver", "total": "in all"}
"""Stages of a frame's way that go by another name on the pages."""
LIGHTS = {
    "live": "●", "behind": "▲", "stalled": "■", "idle": "○", "waiting": "…", "lost": "✕",
}  # fmt: skip
"""What stands beside the colours of a run's state."""


AS_ACQUIRED = "as acquired"
"""What the labels are called that frames got when they came."""


def percent(value: float) -> str:
    """Write a fraction for people."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def moment(seconds: float) -> str:
    """Date and time of day here."""
    return _written(seconds, "%Y-%m-%d %H:%M:%S") or "no date"


def clock(seconds: float) -> str:
    """Time of day here."""
    return _written(seconds, "%H:%M:%S") or "no time"


def _written(seconds: float, form: str) -> str:
    if not math.isfinite(seconds) or seconds <= 0:
        return ""
    try:
        return datetime.fromtimestamp(seconds).strftime(form)
    except (OverflowError, OSError, ValueError):
        return ""  # beyond the year 9999


def duration(seconds: float) -> str:
    """Length of time for people."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def support_name(support: SupportSet) -> str:
    """Name of a support set: its note or classes, when and by whom it was made, its version."""
    made = _written(support.created, "%m-%d %H:%M") or "no date"
    return f"{support.called} · {made} · {support.author[:12]} · {support.version[:8]}"


def size(number: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def published(version: str) -> str:
    """Say that a support set is in force."""
    return f"published {version[:8]}; the worker uses it from its next frame on"


def relabelled(done: Rescored, name: str) -> list[str]:
    """Say in lines what became of a run under a support set."""
    lines = [f"{done.frames} frames have labels under {name} ({done.seconds:.1f} s)"]
    lines += [f"left out: {number} frames, {why}" for why, number in done.left_out.items()]
    return [*lines, *done.notes]


def count(number: int, what: str) -> str:
    """Write a number with its noun."""
    return f"{number} {what}" + "s" * (number != 1)
