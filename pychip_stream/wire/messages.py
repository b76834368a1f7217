"""The messages of the services: typed, versioned, never pickled.

Each struct is one message; its docstring says who sends it to whom. Arrays travel beside the
header as raw buffers and are described by `Array` entries (see `codec`).
"""

import math
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pychip_stream.domain import quantities
from pychip_stream.domain.frames import EARLIEST_S, LATEST_S, FrameRef

PIXEL_SIZE = b"pixel_size"
SUPPORT = b"support"
STATUS = b"status"
SEEN = b"seen"
LIVE = b"live"
ALERT = b"alert"
STIMULUS = b"stimulus"

VERSION = 1
"""Protocol version; a peer that speaks another one is counted and ignored."""

Name = Annotated[str, Meta(max_length=200)]
"""Of a thing; `checks` refuses what cannot be printed."""
QuantityName = Annotated[str, Meta(max_length=300)]
"""CLASS.NAME where it is one of a class."""
Text = Annotated[str, Meta(max_length=1 << 20)]
"""For people: cut to `MOST_TEXT` printable characters when a message is made or read."""
MOST_TEXT = 4000
Count = Annotated[int, Meta(ge=0, lt=1 << 53)]
Lease = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Edges = tuple[Annotated[int, Meta(ge=0, lt=1 << 31)], Annotated[int, Meta(ge=0, lt=1 << 31)]]
Moment = Annotated[float, Meta(ge=EARLIEST_S, le=LATEST_S)]
"""Seconds since 1970 that a calendar has; never NaN."""
_TEXTS = ("reason", "detail", "author")


class Array(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes one raw buffer that follows the header."""

    name: Annotated[str, Meta(max_length=64)]
    dtype: Annotated[str, Meta(max_length=8)]
    shape: Annotated[tuple[int, ...], Meta(max_length=6)]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Root of all messages."""

    arrays: tuple[Array, ...] = ()

    def __post_init__(self) -> None:
        for name in _TEXTS:
            text = getattr(self, name, "")
            if len(text) > MOST_TEXT or not text.isprintable():
                msgspec.structs.force_setattr(self, name, _plain(text))


def _plain(text: str) -> str:
    """Write control characters as escapes, and cut what is too long for people."""
    words = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(words)[:MOST_TEXT]


class Ready(Message, frozen=True, kw_only=True):
    """Worker → watcher, at least once a second: I live, get on (`steps`), can take more frames."""

    worker: Name
    credit: Annotated[int, Meta(ge=0, le=1000)]
    held: Annotated[tuple[Lease, ...], Meta(max_length=1000)] = ()
    steps: Count = 0


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What the watcher knows of a frame whose pixels it sends along.

    Attributes
    ----------
    content_hash
        Of the file's bytes.
    pixel_size, unit, time, exposure_s, pixel_ratio, notes, frame_hash, metadata
        As `domain.frames.Frame` has them.
    """

    content_hash: Name
    pixel_size: float | None = None
    unit: Name | None = None
    time: float | None = None
    exposure_s: float | None = None
    pixel_ratio: float = 1.0
    notes: Annotated[tuple[Text, ...], Meta(max_length=100)] = ()
    frame_hash: Name = ""
    metadata: Annotated[dict[Name, float | Text], Meta(max_length=100)] = {}


class Job(Message, frozen=True, kw_only=True):
    """Watcher → worker: this frame is yours until the lease runs out.

    Array, for workers that do not see the acquisition folder: pixels (H, W), with `image`.
    """

    lease: Lease
    frame: FrameRef
    newest: bool = False
    attempt: Count = 1
    image: Image | None = None


class Release(Message, frozen=True, kw_only=True):
    """Worker → watcher: I give this frame back (it changed, or is not whole after all).

    `lost`: the process that read it hung, crashed or swelled, which counts as an attempt.
    """

    lease: Lease
    reason: Text
    lost: bool = False


class ArchiverBeat(Message, frozen=True, kw_only=True):
    """Archiver → watcher, once a second: this run holds `count` keys."""

    run: Name
    count: Count


class KeysWanted(Message, frozen=True, kw_only=True):
    """Watcher → archiver: tell me the archived keys from number `start` on."""

    start: Count


class ArchivedKey(msgspec.Struct, frozen=True, array_like=True):
    """One archived revision of a frame, in few bytes: a run has a hundred thousand.

    `digest` tells its content (of a failed one nothing); `moved`: it counts no more, since the
    content is archived under another path.
    """

    path: Annotated[str, Meta(max_length=4096)]
    index: int
    size: int
    mtime_ns: int
    failed: bool
    digest: Name = ""
    moved: bool = False

    @property
    def frame(self) -> FrameRef:
        """The frame; its times are not told again."""
        return FrameRef(path=self.path, index=self.index, size=self.size, mtime_ns=self.mtime_ns)


class Archived(Message, frozen=True, kw_only=True):
    """Archiver → watcher: these keys, numbered from `start`, are durably on disk."""

    run: Name
    start: Count
    keys: Annotated[tuple[ArchivedKey, ...], Meta(max_length=10_000)]


class FrameFailed(Message, frozen=True, kw_only=True):
    """Watcher → archiver: this frame cannot be analysed; record it with its reason."""

    frame: FrameRef
    reason: Text


class FrameMoved(Message, frozen=True, kw_only=True):
    """Watcher → archiver: the file of this archived frame is called `to` now, archived too."""

    frame: FrameRef
    to: Annotated[str, Meta(max_length=4096)]


class Result(Message, frozen=True, kw_only=True):
    """Worker → archiver: what became of a frame.

    Arrays (status "ok"): label_map, probabilities, distances, novelty, intervals and, unless
    switched off, embeddings.
    """

    worker: Name
    frame: FrameRef
    status: Literal["ok", "failed"]
    reason: Text = ""
    content_hash: Name = ""
    frame_hash: Name = ""
    shape: Edges = (0, 0)
    pixel_size: float | None = None
    unit: Name | None = None
    chip_size: Edges = (0, 0)
    names: tuple[Name, ...] = ()
    support_version: Name = ""
    encoder_hash: Name = ""
    device: Name = ""
    intensity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    drift: float = float("nan")
    started: float = 0.0
    read: float = 0.0
    classified: float = 0.0
    measured: Annotated[dict[QuantityName, float], Meta(max_length=quantities.MOST)] = {}
    pixel_ratio: float = 1.0
    texts: Annotated[dict[Name, Name], Meta(max_length=100)] = {}


class Seen(Message, frozen=True, kw_only=True):
    """Watcher → hub → everybody: the newest complete frame in the folder."""

    frame: FrameRef


class Live(Message, frozen=True, kw_only=True):
    """Archiver → hub → everybody: a frame was classified (`archived`: and is on disk).

    Arrays: label_map (rows, columns) uint8, confidence and novelty as `FrameResult.levels`,
    intervals (K + 1, 3) float64. `drift` and `intensity` (mean, 1st and 99th percentile in counts)
    are among the quantities of the frame that `measured` holds by name.
    """

    frame: FrameRef
    names: tuple[Name, ...]
    colors: tuple[Name, ...]
    support_version: Name
    chip_size: Edges
    shape: Edges
    status: Name
    reason: Text = ""
    pixel_size: float | None = None
    unit: Name | None = None
    started: float = 0.0
    read: float = 0.0
    classified: float = 0.0
    received: Moment = 0.0
    low: float = 0.0
    high: float = 1.0
    drift: float = float("nan")
    intensity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    measured: Annotated[dict[QuantityName, float], Meta(max_length=quantities.MOST)] = {}
    texts: Annotated[dict[Name, Name], Meta(max_length=100)] = {}


class TroubledFile(msgspec.Struct, frozen=True, array_like=True):
    """A file that is not analysed as it should be.

    Attributes
    ----------
    state
        "incomplete": waited for; "missing": frames of a series; "unreadable": a folder, or a
        file of an impossible name.
    reason
        One line for people.
    """

    path: Annotated[str, Meta(max_length=4096)]
    state: Name
    reason: Text = ""


class Status(Message, frozen=True, kw_only=True):
    """Any service → hub → everybody, once a second: how I am.

    Attributes
    ----------
    state
        "starting", "running", "waiting", "paused", "stopping", "stopped", "stalled" or "failed".
    detail
        What is being waited for or what is wrong, for people.
    counters
        Numbers by name, times in seconds; docs/operate.md lists them.
    files
        The first few that are in trouble.
    device
        Of a worker: where its encoder runs and in which precision, as `Result.device`.
    """

    service: Name
    instance: Name
    state: Name
    time: Moment
    detail: Text = ""
    counters: Annotated[dict[Name, float], Meta(max_length=200)] = {}
    files: Annotated[tuple[TroubledFile, ...], Meta(max_length=100)] = ()
    device: Name = ""


class Alert(Message, frozen=True, kw_only=True):
    """Sentinel → hub → everybody and → archiver, once when a rule fires and once when it clears.

    Attributes
    ----------
    id
        Identifies this firing or clearing; a repeat carries the same.
    rule
        Name of the rule; the newest alert of each rule is its present state.
    level
        "info", "warning" or "critical".
    state
        "on" when the rule fires, "off" when it clears.
    reason
        One line for people: what was seen, the limit, for how long.
    quantity, value, limit
        What was measured, its value and the limit that counts (NaN where there is none).
    time
        Seconds since 1970.
    path
        Newest frame at that moment, relative to the acquisition root.
    dry_run
        The rule is on trial: nothing but this message came of it.
    banner
        The rule asks to be shown on the operator's page.
    """

    id: Name
    rule: Name
    level: Literal["info", "warning", "critical"]
    state: Literal["on", "off"]
    reason: Text
    time: Moment
    quantity: Name = ""
    value: float = math.nan
    limit: float = math.nan
    path: Annotated[str, Meta(max_length=4096)] = ""
    dry_run: bool = False
    banner: bool = True


class Measurement(Message, frozen=True, kw_only=True):
    """Client → archiver, until `reply` acknowledges it: one reading, such as of a furnace.

    Attributes
    ----------
    source
        Who tells it; offsets of clocks are those of sources.
    name, unit
        What was measured, and in which unit; together they name the quantity.
    time
        Seconds since 1970, when it was measured.
    kind
        "state" for what is on or off, or a set point, and stays until the next.
    """

    source: Name
    name: Name
    value: float
    time: Moment
    unit: Name = ""
    kind: Literal["number", "state"] = "number"


class Event(Message, frozen=True, kw_only=True):
    """Client → archiver, until `reply` acknowledges it: something happened at a moment.

    Attributes
    ----------
    id
        Chosen by the sender; the same one again by the same author changes text or removes it.
    author
        Who tells it, and alone can change it afterwards; where there are keys, with the name of
        the key.
    text
        In one line, at most 400 characters.
    time
        Seconds since 1970, on the clock of the frames.
    kind
        "change" for a change point.
    """

    id: Name
    author: Name
    text: Annotated[str, Meta(max_length=400)]
    time: Moment
    kind: Literal["mark", "change"] = "mark"
    removed: bool = False


class Stimulus(Message, frozen=True, kw_only=True):
    """Archiver → hub → everybody: the newest readings of a source, which are archived.

    Arrays: time (n,) float64, seconds since 1970 on the clock of the frames, values
    (n, signals) float64.

    Attributes
    ----------
    quantities, units
        One of each for every signal.
    """

    source: Name
    quantities: Annotated[tuple[QuantityName, ...], Meta(max_length=64)]
    units: Annotated[tuple[Name, ...], Meta(max_length=64)]


class PublishSupport(Message, frozen=True, kw_only=True):
    """Client → hub: make this the current support set. Array: data (bytes of the file)."""

    author: Text = ""


class SetPixelSize(Message, frozen=True, kw_only=True):
    """Client → hub: pixels of every frame are this large from now on, whatever the files say.

    Attributes
    ----------
    size
        Such as "0.5 nm"; empty: as the configuration and the files say.
    """

    size: Name = ""
    author: Text = ""


class PixelSizeChanged(Message, frozen=True, kw_only=True):
    """Hub → everybody, and to each late joiner: the newest `SetPixelSize` of the run."""

    size: Name = ""


class Reply(Message, frozen=True, kw_only=True):
    """Hub, archiver → client: whether the request was carried out.

    Attributes
    ----------
    refused
        Id of what is never taken, however often it is sent; empty where a later try may do.
    """

    ok: bool
    detail: Text = ""
    refused: Name = ""


class SupportChanged(Message, frozen=True, kw_only=True):
    """Hub → everybody, and to each late joiner: the current support set.

    Array: data (bytes of the support set file).
    """

    version: Name
    names: tuple[Name, ...]


AnyMessage: TypeAlias = (
    Ready | Job | Release | ArchiverBeat | KeysWanted | Archived | FrameFailed | FrameMoved |
    Result | Seen | Live | Status | Alert | Measurement | Event | Stimulus | PublishSupport |
    SetPixelSize | PixelSizeChanged | Reply | SupportChanged
)  # fmt: skip
