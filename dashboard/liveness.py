"""Liveness: what the page may honestly say about how fresh it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pychip_stream.wire.messages import Status

Light = Literal["live", "behind", "stalled", "idle", "waiting", "lost"]

SILENT_S = 5.0
"""A service that says nothing for this long is taken for gone."""
STALLED_S = 5.0
"""Frames wait and none has come for this long."""
_IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class Liveness:
    """A state in a word, and in a sentence for people."""

    light: Light
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What liveness is judged from; times are seconds of one clock.

    Attributes
    ----------
    heard_at
        When the hub was last heard; None: never.
    shown_at
        When the last frame was classified and shown here; None: never.
    seen_at
        When the watcher last saw a new frame; None: never.
    behind
        Frames seen and not archived.
    gap_s
        Usual time between two frames.
    started_at
        When listening began.
    """

    heard_at: float | None
    shown_at: float | None
    seen_at: float | None
    behind: int
    gap_s: float
    started_at: float


def judge(pulse: Pulse, now: float, clock: str = "") -> Liveness:
    """Say how fresh the page is.

    Parameters
    ----------
    now
        On the clock of `pulse`.
    clock
        Time of day of the newest frame, for the text.
    """
    if now - (pulse.heard_at or pulse.started_at) > SILENT_S:
        return Liveness("lost", "no connection to the run", "the hub is silent; it is restarted")
    since = f" since {clock}" if clock else ""
    if pulse.shown_at is None and pulse.behind == 0:
        return Liveness("waiting", "waiting for the first frame")
    quiet_s = now - max(pulse.shown_at or pulse.started_at, pulse.started_at)
    if pulse.behind > 0 and quiet_s > max(STALLED_S, 3 * pulse.gap_s):
        return Liveness("stalled", f"stalled{since}", f"{_frames(pulse.behind)} waiting")
    if pulse.behind > _IN_FLIGHT:
        return Liveness("behind", f"{_frames(pulse.behind)} behind", "the newest is shown first")
    if quiet_s > max(STALLED_S, 5 * pulse.gap_s):
        return Liveness("idle", f"no new frame{since}", "everything is analysed")
    return Liveness("live", "live")


def troubles(statuses: Mapping[str, Status], heard: Mapping[str, float], now: float) -> list[str]:
    """One line for every service that is not well."""
    lines = []
    for instance, status in sorted(statuses.items()):
        if now - heard[instance] > SILENT_S:
            lines.append(f"{instance} is silent")
        elif status.state not in ("running", "starting"):
            lines.append(
                f"{instance} {status.state}" + (f": {status.detail}" * bool(status.detail))
            )
    return lines


def _frames(count: int) -> str:
    return f"{count} frame" + "s" * (count != 1)
