"""Preflight: what the configuration of an experiment needs, tried out one by one."""

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pychip_stream.config import PORTS, Config
from pychip_stream.errors import PychipError
from pychip_stream.sections import is_loopback
from pychip_stream.wire.ports import listened, why_taken
from pychip_stream.workflows.findings import Finding

_EVENT_S = 3.0
_SKEW_S = 1.0
_NOTE_HOURS = 24.0


def checks(config: Config, rate_hz: float) -> list[Callable[[], Iterator[Finding]]]:
    """Give the checks of an experiment at a number of frames per second."""
    parts: list[Callable[[], Iterator[Finding]]] = [
        lambda: _ports(config),
        lambda: _keys(config),
        lambda: _support(config),
    ]
    here = config.machine.services
    if here is None or "archiver" in here or "hub" in here:
        folder = config.archive.folder
        parts = [
            lambda: _writable(folder, "archive.folder"),
            lambda: _writable(config.support.folder, "support.folder"),
            lambda: _space(config, rate_hz),
            lambda: _clock(folder, "archive.folder"),
            *parts,
        ]
    if config.sees_frames:
        root = config.watch.root
        parts = [lambda: _acquisition(config), lambda: _clock(root, "watch.root"), *parts]
    return parts


def _acquisition(config: Config) -> Iterator[Finding]:
    root = config.watch.root
    try:
        entries = os.scandir(root)
    except OSError as error:
        yield Finding(
            "watch.root", "bad", f"{root}: {error.strerror or error}",
            "create the folder, mount the share, or grant access to it",
        )  # fmt: skip
        return
    with entries:
        first = next(entries, None)
    state = "is empty" if first is None else "can be read"
    yield Finding("watch.root", "good", f"{root} {state}")
    if config.watch.mode == "auto":
        yield from _events(root)


def _events(root: Path) -> Iterator[Finding]:
    """Try whether the folder delivers file events (shares do not)."""
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    heard = threading.Event()

    class Listener(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if ".pychip-doctor" in str(event.src_path):
                heard.set()

    observer = Observer()
    try:
        observer.schedule(Listener(), str(root))
        observer.start()
    except OSError as error:
        yield Finding(
            "events", "hint", f"{root}: cannot be watched ({error})",
            "set watch.mode: poll; on Linux raise fs.inotify.max_user_watches",
        )  # fmt: skip
        return
    try:
        probe = root / f".pychip-doctor-{os.getpid()}"
        probe.write_bytes(b"")
        delivered = heard.wait(_EVENT_S)
        probe.unlink()
    except OSError as error:
        yield Finding(
            "events", "hint", f"{root}: not tried, it cannot be written ({error.strerror})",
            "frames are found by listing the folders anyway",
        )  # fmt: skip
        return
    finally:
        observer.stop()
        observer.join()
    if delivered:
        yield Finding("events", "good", f"{root} delivers file events")
    else:
        yield Finding(
            "events", "hint", f"{root} delivers no file events (a network share?)",
            "set watch.mode: poll and watch.quiet_s: 4",
        )  # fmt: skip


def _writable(folder: Path, key: str) -> Iterator[Finding]:
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".pychip-doctor-") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield Finding(
            key, "bad", f"{existing} cannot be written ({error.strerror or error})",
            f"grant access, free space, or choose another {key}",
        )  # fmt: skip
        return
    yield Finding(key, "good", f"{folder} can be written")


def _space(config: Config, rate_hz: float) -> Iterator[Finding]:
    """Compare the free space with what an hour of frames of usual size will need."""
    folder = config.archive.folder
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    frame, chips = _frame_bytes(config)
    hour = frame * rate_hz * 3600
    # While a run is merged, its segments and the merged file exist side by side.
    hours = free / (2 * hour)
    text = (
        f"{free / 1e9:.1f} GB free; about {hour / 1e9:.2f} GB per hour at {rate_hz:g} frames/s "
        f"of {chips} chips: {hours:.1f} h with room to merge"
    )
    if hours < 1:
        do = "free space, choose another archive.folder, or set archive.embeddings: false"
        yield Finding("space", "bad", text, do)
    elif hours < _NOTE_HOURS:
        yield Finding("space", "hint", text, "enough for that long; plan for more if you need it")
    else:
        yield Finding("space", "good", text)


def _frame_bytes(config: Config) -> tuple[int, int]:
    """Bytes that a frame leaves in the archive, and its chips; of the newest frame at hand."""
    from pychip_stream.archive.supports import SupportFolder, load_support
    from pychip_stream.model.encoder import load_encoder

    edge = (32, 32)
    try:
        support = SupportFolder(config.support.folder).current()
        if support is None and config.support.initial is not None:
            support = load_support(config.support.initial)
        if support is not None:
            edge = (support.chip_size.height, support.chip_size.width)
    except PychipError:
        pass
    shape = _frame_shape(config.watch.root) or (1024, 1024)
    chips = max(shape[0] // edge[0], 1) * max(shape[1] // edge[1], 1)
    dimension = load_encoder("bundled").dim if config.archive.embeddings else 0
    classes = 4
    return chips * (2 * dimension + 4 * classes + 4) + 2000, chips


def _frame_shape(root: Path) -> tuple[int, int] | None:
    """(H, W) of a frame in the folder, if one is quickly found."""
    from pychip_stream.ingest.readers import read_frame

    suffixes = (".dm4", ".dm3", ".tif", ".tiff", ".png", ".jpg")
    end = time.monotonic() + 2.0
    for folder, _, names in os.walk(root):
        for name in names:
            if name.lower().endswith(suffixes):
                try:
                    return read_frame(Path(folder, name)).pixels.shape
                except PychipError:
                    continue
        if time.monotonic() > end:
            break
    return None


def _clock(folder: Path, key: str) -> Iterator[Finding]:
    """Compare this machine's clock with that of the machine that keeps a folder."""
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".pychip-doctor-") as file:
            before = time.time()
            file.write(b"x")
            file.flush()
            skew = Path(file.name).stat().st_mtime - before
    except OSError:
        return  # said elsewhere
    if abs(skew) > _SKEW_S:
        yield Finding(
            f"clock of {key}", "hint", f"is {skew:+.1f} s off this machine's",
            "let both follow the same time server; latencies are wrong until then, frames are not",
        )  # fmt: skip
    else:
        yield Finding(f"clock of {key}", "good", "agrees with this machine's")


def _ports(config: Config) -> Iterator[Finding]:
    for key, host, number in listened(config):
        if not number:
            continue  # a free one is taken
        if why := why_taken(host, number):
            yield Finding(
                key, "bad", why,
                "stop the program that uses it (a run of this config?), or choose another port",
            )  # fmt: skip
        else:
            yield Finding(key, "good", f"{host}:{number} is free")


def _keys(config: Config) -> Iterator[Finding]:
    from pychip_stream.wire.keys import Keys

    if config.wire.keys is None:
        yield Finding("keys", "good", "none, and none needed: everything stays on this machine")
        return
    try:
        keys = Keys.load(config.wire.keys)
    except PychipError as error:
        yield Finding("keys", "bad", str(error), "see docs/operate.md, two machines")
        return
    allowed = len(list(keys.allowed.glob("*.key")))
    listens = not all(is_loopback(config.wire.host_of(port)) for port in PORTS)
    yield Finding("keys", "good", f"{config.wire.keys}: {allowed} clients are allowed")
    if keys.server.secret is not None and not allowed:
        yield Finding(
            "keys", "bad", "no client is allowed to connect",
            "make one with `pychip-stream keys DIR --client NAME`",
        )  # fmt: skip
    if sys.platform == "win32" and listens:
        yield Finding(
            "keys", "hint", "Windows does not show here who can read the secret keys",
            "keep the folder where only this user has access",
        )  # fmt: skip


def _support(config: Config) -> Iterator[Finding]:
    from pychip_stream.archive.supports import SupportFolder, load_support

    try:
        support = SupportFolder(config.support.folder).current()
        if support is None and config.support.initial is not None:
            support = load_support(config.support.initial)
    except PychipError as error:
        yield Finding(
            "support set", "bad", str(error), "publish another one, or correct support.initial"
        )
        return
    if support is None:
        yield Finding(
            "support set", "hint", "there is none yet",
            "frames wait until one is built in the dashboard or published",
        )  # fmt: skip
    else:
        yield Finding("support set", "good", f"{support.version[:8]}: {', '.join(support.names)}")
