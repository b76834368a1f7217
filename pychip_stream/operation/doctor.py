"""Checkup: what is wrong with this installation, and with the configuration of an experiment."""

import contextlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pychip_stream import config as configuration
from pychip_stream.config import PORTS, Config, is_loopback
from pychip_stream.domain.chips import ChipSize
from pychip_stream.errors import PychipError
from pychip_stream.wire.ports import listened, why_taken

if TYPE_CHECKING:
    from pychip_stream.domain.support import SupportSet

_EVENT_S = 3.0
_LOOK_S = 2.0
_SKEW_S = 1.0
_NOTE_HOURS = 24.0
_SMALLEST_TORCH_THREADS = 2
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox", "microsoft-edge")


class Finding(NamedTuple):
    """What a check found.

    Attributes
    ----------
    check
        What was looked at.
    level
        "good", "hint" (works, may surprise), "bad" (will not work).
    what, do
        What was found; what to do about it, empty where nothing is to be done.
    """

    check: str
    level: Literal["good", "hint", "bad"]
    what: str
    do: str = ""


def check(config_path: Path | None, rate_hz: float = 1.0) -> list[Finding]:
    """Check the installation and what a configuration needs at so many frames per second."""
    parts = [*map(_safely, (_python, _torch, _torchvision, _browser))]
    if config_path is not None:
        try:
            config = configuration.load(config_path)
        except PychipError as error:
            parts.append([Finding("config", "bad", str(error), "correct the keys it names")])
        else:
            parts.append([Finding("config", "good", f"{config_path} can be used")])
            parts += [_safely(part) for part in _of_experiment(config, rate_hz)]
    return [finding for part in parts for finding in part]


def _safely(part: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check; one that fails in an unforeseen way is a finding, not the end."""
    try:
        return list(part())
    except ImportError as error:
        return [Finding("packages", "bad", str(error), "install pychip-stream again")]
    except Exception as error:
        name = getattr(part, "__name__", "check").strip("_<>")
        return [Finding(name, "bad", f"{type(error).__name__}: {error}", "report this")]


def _of_experiment(config: Config, rate_hz: float) -> Iterator[Callable[[], Iterator[Finding]]]:
    here, folder, root = config.machine.services, config.archive.folder, config.watch.root
    if config.sees_frames:
        yield lambda: _acquisition(config)
        yield lambda: _clock(root, "watch.root")
    if here is None or "archiver" in here or "hub" in here:
        yield lambda: _writable(folder, "archive.folder")
        yield lambda: _writable(config.support.folder, "support.folder")
        yield lambda: _space(config, rate_hz)
        yield lambda: _clock(folder, "archive.folder")
    yield lambda: _ports(config)
    yield lambda: _keys(config)
    yield lambda: _support(config)


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
    yield from _doubles(config)
    if config.watch.mode == "auto":
        yield from _events(root)


def _doubles(config: Config) -> Iterator[Finding]:
    """Look for files that only differ in their ending: previews beside the frames."""
    seen: dict[Path, Path] = {}
    doubles: list[tuple[Path, Path]] = []
    for path in _frames(config):
        other = seen.setdefault(path.with_suffix(""), path)
        if other.suffix.lower() != path.suffix.lower():
            doubles.append((other, path))
    if doubles:
        names = " and ".join(sorted(path.name for path in doubles[0]))
        yield Finding(
            "frames", "hint", f"{len(doubles)} files have the name of another one: {names}",
            'each counts as a frame; if one is a preview, say so: watch.exclude: ["*.jpg"]',
        )  # fmt: skip


def _frames(config: Config) -> Iterator[Path]:
    """Frames of the acquisition folder, as many as are found quickly."""
    from pychip_stream.formats.name_patterns import NamePatterns
    from pychip_stream.formats.reading import frames_below

    root, selection = config.watch.root, NamePatterns(config.watch.include, config.watch.exclude)
    end = time.monotonic() + _LOOK_S
    for path in frames_below(root):
        if time.monotonic() > end:
            return
        folder = path.parent.relative_to(root).as_posix()
        if selection.takes("" if folder == "." else folder, path.name):
            yield path


def _events(root: Path) -> Iterator[Finding]:
    """Try whether the folder delivers file events (shares do not)."""
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    heard = threading.Event()

    class Listener(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if ".pychip-doctor" in str(event.src_path):
                heard.set()

    observer, hint = Observer(), partial(Finding, "events", "hint")
    try:
        observer.schedule(Listener(), str(root))
        observer.start()
    except OSError as error:
        do = "set watch.mode: poll; on Linux raise fs.inotify.max_user_watches"
        yield hint(f"{root}: cannot be watched ({error})", do)
        return
    try:
        probe = root / f".pychip-doctor-{os.getpid()}"
        probe.write_bytes(b"")
        delivered = heard.wait(_EVENT_S)
        probe.unlink()
    except OSError as error:
        do = "frames are found by listing the folders anyway"
        yield hint(f"{root}: not tried, it cannot be written ({error.strerror})", do)
    else:
        if delivered:
            yield Finding("events", "good", f"{root} delivers file events")
        else:
            do = "set watch.mode: poll and watch.quiet_s: 4"
            yield hint(f"{root} delivers no file events (a network share?)", do)
    finally:
        observer.stop()
        observer.join()


def _existing(folder: Path) -> Path:
    return next(p for p in (folder, *folder.parents) if p.exists())


def _try_writing(folder: Path) -> float:
    """Write a file into a folder or where it will be made; by how much its time is ahead."""
    with tempfile.NamedTemporaryFile(dir=_existing(folder), prefix=".pychip-doctor-") as file:
        before = time.time()
        file.write(b"x" * 4096)
        file.flush()
        skew = Path(file.name).stat().st_mtime - before
        os.fsync(file.fileno())
    return skew


def _writable(folder: Path, key: str) -> Iterator[Finding]:
    try:
        _try_writing(folder)
    except OSError as error:
        yield Finding(
            key, "bad", f"{_existing(folder)} cannot be written ({error.strerror or error})",
            f"grant access, free space, or choose another {key}",
        )  # fmt: skip
    else:
        yield Finding(key, "good", f"{folder} can be written")


def _space(config: Config, rate_hz: float) -> Iterator[Finding]:
    """Compare the free space with what an hour of frames of usual size will need."""
    free = shutil.disk_usage(_existing(config.archive.folder)).free
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
    from pychip_stream.model.encoders import load_encoder

    edge = ChipSize(32, 32)
    with contextlib.suppress(PychipError):  # said elsewhere
        support = _chosen_support(config)
        edge = support.chip_size if support is not None else edge
    rows, columns = _frame_shape(config) or (1024, 1024)
    chips = max(rows // edge.height, 1) * max(columns // edge.width, 1)
    dimension = load_encoder("bundled").dim if config.archive.embeddings else 0
    classes = 4
    return chips * (2 * dimension + 4 * classes + 4) + 2000, chips


def _chosen_support(config: Config) -> "SupportSet | None":
    from pychip_stream.archive import probe
    from pychip_stream.archive.support_sets import SupportFolder, load_support
    from pychip_stream.guard import Guard

    support = SupportFolder(config.support.folder).current()
    if support is None and config.support.initial is not None:
        with Guard((probe.__name__,)) as guard:
            probe.check(config.support.initial, guard)
        support = load_support(config.support.initial)
    return support


def _frame_shape(config: Config) -> tuple[int, int] | None:
    """(H, W) of a frame in the folder, if one is quickly found."""
    from pychip_stream.formats.guarded import GuardedReader

    with GuardedReader(patience_s=_LOOK_S) as reader:
        for path in _frames(config):
            with contextlib.suppress(PychipError):
                return reader.read_frame(path).shape
    return None


def _clock(folder: Path, key: str) -> Iterator[Finding]:
    """Compare this machine's clock with that of the machine that keeps a folder."""
    try:
        skew = _try_writing(folder)
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
    try:
        support = _chosen_support(config)
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


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "good", f"{version} on {sys.platform}")
    package = importlib.metadata.version("pychip-stream")
    yield Finding("pychip-stream", "good", package)


def _torch() -> Iterator[Finding]:
    import torch

    from pychip_stream.model.encoders import load_encoder

    encoder = load_encoder("bundled")
    yield Finding("torch", "good", f"{torch.__version__}, encoder {encoder.name}: {encoder.device}")
    if _nvidia() and torch.version.cuda is None:
        yield Finding(
            "device", "hint",
            f"an NVIDIA GPU is here, but torch {torch.__version__} is a CPU build",
            "install torch and torchvision with CUDA from PyTorch's own index: docs/install.md",
        )  # fmt: skip
    elif not torch.cuda.is_available() and not torch.backends.mps.is_available():
        yield Finding(
            "device", "hint", f"no GPU; {torch.get_num_threads()} CPU threads are used",
            "fast cameras need a GPU machine: see docs/operate.md, two machines",
        )  # fmt: skip
    if torch.get_num_threads() < _SMALLEST_TORCH_THREADS:
        yield Finding(
            "threads", "hint", "torch uses a single thread", "unset OMP_NUM_THREADS, or raise it"
        )


def _nvidia() -> bool:
    """Whether the driver of an NVIDIA GPU is installed; that of Windows brings nvcuda.dll."""
    system = Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32", "nvcuda.dll")
    places = [system] if sys.platform == "win32" else [Path("/proc/driver/nvidia/version")]
    return shutil.which("nvidia-smi") is not None or any(place.exists() for place in places)


def _torchvision() -> Iterator[Finding]:
    from pychip_stream.model.encoders import resnet

    try:
        resnet.torchvision_models()
    except PychipError as error:
        yield Finding(
            "torchvision", "hint", str(error),
            "the bundled encoder does not need it; torchvision encoders do",
        )  # fmt: skip
    else:
        yield Finding("torchvision", "good", importlib.metadata.version("torchvision"))


def _browser() -> Iterator[Finding]:
    import webbrowser

    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    try:
        known = webbrowser.get().name
    except webbrowser.Error:
        known = ""
    if found or known or sys.platform in ("win32", "darwin"):
        yield Finding("browser", "good", found or known or "that of the system")
    else:
        yield Finding(
            "browser", "hint", "none found on this machine",
            "open the dashboard's address from another one, or install a browser",
        )  # fmt: skip
