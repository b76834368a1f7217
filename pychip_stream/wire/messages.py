"""The messages of the services: typed, versioned, never pickled.

Each struct is one message; its docstring says who sends it to whom. Arrays travel beside the
header as raw buffers and are described by `Array` entries (see `codec`).
"""

from typing import TypeAlias

import msgspec

VERSION = 1
"""Protocol version; a peer that speaks another one is counted and ignored."""


class Array(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes one raw buffer that follows the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Root of all messages."""

    arrays: tuple[Array, ...] = ()


class FrameRef(msgspec.Struct, frozen=True, kw_only=True):
    """A revision of a frame: where it is and which bytes were meant.

    Attributes
    ----------
    path, index
        Relative to the acquisition root, with forward slashes; position within the file.
    size, mtime_ns
        Of the file when it was judged complete.
    time
        Acquisition time in seconds since 1970.
    seen
        When the watcher first saw it, in seconds since 1970.
    """

    path: str
    index: int = 0
    size: int = 0
    mtime_ns: int = 0
    time: float = 0.0
    seen: float = 0.0


class Ready(Message, frozen=True, kw_only=True):
    """Worker → watcher, at least once a second: I live, and can take more frames."""

    worker: str
    credit: int
    held: tuple[int, ...] = ()


class Job(Message, frozen=True, kw_only=True):
    """Watcher → worker: this frame is yours until the lease runs out."""

    lease: int
    frame: FrameRef
    newest: bool = False
    attempt: int = 1


class Release(Message, frozen=True, kw_only=True):
    """Worker → watcher: I give this frame back (it changed, or is not whole after all)."""

    lease: int
    reason: str


class ArchiverBeat(Message, frozen=True, kw_only=True):
    """Archiver → watcher, once a second: this run holds `count` keys."""

    run: str
    count: int


class KeysWanted(Message, frozen=True, kw_only=True):
    """Watcher → archiver: tell me the archived keys from number `start` on."""

    start: int


class ArchivedKey(msgspec.Struct, frozen=True, array_like=True):
    """One archived revision."""

    path: str
    index: int
    size: int
    mtime_ns: int
    failed: bool


class Archived(Message, frozen=True, kw_only=True):
    """Archiver → watcher: these keys, numbered from `start`, are durably on disk."""

    run: str
    start: int
    keys: tuple[ArchivedKey, ...]


class FrameFailed(Message, frozen=True, kw_only=True):
    """Watcher → archiver: this frame cannot be analysed; record it with its reason."""

    frame: FrameRef
    reason: str


class Result(Message, frozen=True, kw_only=True):
    """Worker → archiver: what became of a frame.

    Arrays (status "ok"): label_map, probabilities, distances, novelty, intervals and, unless
    switched off, embeddings.
    """

    worker: str
    frame: FrameRef
    status: str
    reason: str = ""
    content_hash: str = ""
    shape: tuple[int, int] = (0, 0)
    pixel_size: float | None = None
    unit: str | None = None
    chip_size: tuple[int, int] = (0, 0)
    names: tuple[str, ...] = ()
    support_version: str = ""
    encoder_hash: str = ""
    device: str = ""
    intensity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    drift: float = float("nan")
    started: float = 0.0
    read: float = 0.0
    classified: float = 0.0


class Seen(Message, frozen=True, kw_only=True):
    """Watcher → hub → everybody: the newest complete frame in the folder."""

    frame: FrameRef


class Live(Message, frozen=True, kw_only=True):
    """Archiver → hub → everybody: a frame was classified (`archived`: and is on disk).

    Arrays: label_map (rows, columns) uint8, confidence (rows, columns) uint8 0…255,
    intervals (K + 1, 3) float64. `drift` is that of the frame (`FrameResult.drift`),
    `intensity` its mean, 1st and 99th percentile in counts.
    """

    frame: FrameRef
    names: tuple[str, ...]
    colors: tuple[str, ...]
    support_version: str
    chip_size: tuple[int, int]
    shape: tuple[int, int]
    status: str
    reason: str = ""
    pixel_size: float | None = None
    unit: str | None = None
    read: float = 0.0
    classified: float = 0.0
    received: float = 0.0
    low: float = 0.0
    high: float = 1.0
    drift: float = float("nan")
    intensity: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Status(Message, frozen=True, kw_only=True):
    """Any service → hub → everybody, once a second: how I am.

    Attributes
    ----------
    state
        "starting", "running", "waiting", "paused", "stopping" or "failed".
    detail
        What is being waited for or what is wrong, for people.
    counters
        Numbers by name (frames seen, archived, behind, chips_per_s, …).
    """

    service: str
    instance: str
    state: str
    time: float
    detail: str = ""
    counters: dict[str, float] = {}


class PublishSupport(Message, frozen=True, kw_only=True):
    """Client → hub: make this the current support set. Array: data (bytes of the file)."""

    author: str = ""


class Reply(Message, frozen=True, kw_only=True):
    """Hub → client: whether the request was carried out."""

    ok: bool
    detail: str = ""


class SupportChanged(Message, frozen=True, kw_only=True):
    """Hub → everybody, and to each late joiner: the current support set.

    Array: data (bytes of the support set file).
    """

    version: str
    names: tuple[str, ...]


AnyMessage: TypeAlias = (
    Ready
    | Job
    | Release
    | ArchiverBeat
    | KeysWanted
    | Archived
    | FrameFailed
    | Result
    | Seen
    | Live
    | Status
    | PublishSupport
    | Reply
    | SupportChanged
)
