"""Hub: takes support sets and status from anybody, publishes them and remembers the last.

It keeps the current support set on disk and gives it to every late joiner at once. Here support
sets enter the run: they are read in a process of its own, so that bytes over which HDF5 hangs or
crashes cost their message and reach nobody.
"""

import logging
import sys
from pathlib import Path

import msgspec
import zmq

from pychip_stream import process
from pychip_stream.archive import probe
from pychip_stream.archive.disk import Disk, reason
from pychip_stream.archive.support_sets import SupportFolder, read_file
from pychip_stream.config import Config
from pychip_stream.domain.pixel_size import by_hand
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import SupportError, WireError
from pychip_stream.guard import Guard
from pychip_stream.plain_files import read_small
from pychip_stream.wire import checks, messages
from pychip_stream.wire.channel import Arrays
from pychip_stream.wire.codec import Packet, bytes_array
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.heartbeat import Beacon
from pychip_stream.wire.messages import (
    Alert,
    Live,
    PixelSizeChanged,
    PublishSupport,
    Reply,
    Seen,
    SetPixelSize,
    Status,
    Stimulus,
    SupportChanged,
)

logger = logging.getLogger(__name__)

_MOST_RETAINED = 1000
_REQUESTS_PER_STEP = 500


class Hub:
    """Last-value switchboard of a run.

    The queue of a subscriber that does not keep up drops its newest messages; nothing that
    must be kept travels here.
    """

    def __init__(self, config: Config) -> None:
        self._guard = Guard((probe.__name__,))
        self._guard.start()
        self._folder = SupportFolder(config.support.folder)
        self._retained: dict[tuple[bytes, str], Packet] = {}
        self._endpoints = Endpoints(config.wire)
        self._requests = self._endpoints.listen("requests", zmq.ROUTER, 200)
        self._events = self._endpoints.listen("events", zmq.XPUB, 200)
        self._beacon = Beacon(self._endpoints, "hub", "hub")
        self._pixel_size = config.run_path.with_suffix(".pixel_size.json")
        self._load_current(config)
        self._load_pixel_size()

    def step(self) -> None:
        """Serve requests and new subscribers."""
        for received in self._requests.drain(_REQUESTS_PER_STEP, wait_s=0.02):
            self._serve(received.packet, received.sender)
        self._greet_subscribers()
        self._beacon.status("running", {"dropped": float(self._requests.dropped)})

    def close(self) -> None:
        """Close the sockets; the support set is on disk already."""
        self._guard.close()
        self._beacon.close()
        self._endpoints.close()

    def _serve(self, packet: Packet, sender: bytes) -> None:
        message = packet.message
        if isinstance(message, PublishSupport):
            self._requests.send(self._publish_support(message, packet.arrays), to=sender)
        elif isinstance(message, SetPixelSize):
            self._requests.send(self._set_pixel_size(message), to=sender)
        elif isinstance(message, Status):
            self._events.send(message, to=messages.STATUS)
        elif isinstance(message, Seen):
            self._retain(messages.SEEN, packet)
        elif isinstance(message, Live):
            self._retain(messages.LIVE, packet)
        elif isinstance(message, Alert):
            self._retain(messages.ALERT, packet, message.rule)
        elif isinstance(message, Stimulus):
            self._retain(messages.STIMULUS, packet, message.source)
        else:
            self._requests.drop(f"{type(message).__name__} is not for the hub")

    def _publish_support(self, message: PublishSupport, arrays: Arrays) -> Reply:
        try:
            data = arrays["data"].tobytes()
            support = probe.read_support(data, "published support set", self._guard).checked()
            self._folder.add(support.version, data)
        except KeyError:
            return Reply(ok=False, detail="the message carries no support set")
        except (SupportError, OSError) as error:
            return Reply(ok=False, detail=str(error))
        self._announce(support, data)
        who, names = message.author or "somebody", ", ".join(support.names)
        logger.info("support set %s published by %s: %s", support.version[:8], who, names)
        return Reply(ok=True, detail=support.version)

    def _set_pixel_size(self, message: SetPixelSize) -> Reply:
        """Keep a pixel size beside the archive of its run, so that a restart goes on with it."""
        try:
            changed = PixelSizeChanged(size=message.size and str(by_hand(message.size)))
            if changed.size:
                Disk().save(self._pixel_size, msgspec.json.encode(changed))
            else:
                self._pixel_size.unlink(missing_ok=True)
        except ValueError as error:
            return Reply(ok=False, detail=str(error))
        except OSError as error:
            return Reply(
                ok=False, detail=f"{self._pixel_size}: cannot be written ({reason(error)})"
            )
        self._retain(messages.PIXEL_SIZE, Packet(changed, {}))
        who, size = message.author or "somebody", changed.size or "as the files say"
        logger.info("pixel size set by %s: %s", who, size)
        return Reply(ok=True, detail=changed.size)

    def _load_pixel_size(self) -> None:
        try:
            known = msgspec.json.decode(read_small(self._pixel_size), type=PixelSizeChanged)
            packet = Packet(known, {})
            checks.check(packet)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError, UnicodeError, WireError) as error:
            logger.error("%s: cannot be read (%s); set the size again", self._pixel_size, error)
            return
        self._retain(messages.PIXEL_SIZE, packet)

    def _announce(self, support: SupportSet, data: bytes) -> None:
        message = SupportChanged(version=support.version, names=support.names)
        self._retain(messages.SUPPORT, Packet(message, bytes_array(data)))

    def _retain(self, topic: bytes, packet: Packet, which: str = "") -> None:
        """Publish, and keep for late joiners: the last of each topic, of alerts of each rule."""
        key = (topic, which)
        if key not in self._retained and len(self._retained) >= _MOST_RETAINED:
            self._requests.drop(f"more than {_MOST_RETAINED} values to remember")
            return
        self._retained[key] = packet
        self._events.send(packet.message, packet.arrays, to=topic)

    def _greet_subscribers(self) -> None:
        """Send the last values to whoever subscribed since (earlier joiners get repeats)."""
        raw = self._events.raw
        wanted: set[tuple[bytes, str]] = set()
        while raw.poll(0, zmq.POLLIN):
            change = raw.recv(zmq.NOBLOCK)
            if change[:1] == b"\x01":
                wanted.update(key for key in self._retained if key[0].startswith(change[1:]))
        for key in sorted(wanted):
            packet = self._retained[key]
            self._events.send(packet.message, packet.arrays, to=key[0])

    def _load_current(self, config: Config) -> None:
        found, initial = self._stored(), config.support.initial
        if found is None and initial is not None:
            found = self._loaded(initial)
            self._folder.add(found[0].version, found[1])
        elif found is not None and initial is not None:
            self._compare(initial, found[0].version)
        if found is not None:
            self._announce(*found)

    def _compare(self, initial: Path, current: str) -> None:
        """Say so where the run goes on with another support set than the one that is configured."""
        try:
            version = self._loaded(initial)[0].version
        except SupportError as error:
            logger.warning("support.initial: %s; the one in force stays", error)
            return
        if not self._folder.path(version).exists():
            logger.warning(
                "support.initial: %s is another support set (%s) than the one in force (%s), which "
                "stays; to go on with it: pychip-stream support publish",
                initial, version[:8], current[:8],
            )  # fmt: skip

    def _stored(self) -> tuple[SupportSet, bytes] | None:
        try:
            version = self._folder.current_version()
            return None if version is None else self._loaded(self._folder.path(version))
        except SupportError as error:
            logger.warning("%s; publish a support set to go on", error)
            return None

    def _loaded(self, path: Path) -> tuple[SupportSet, bytes]:
        data = read_file(path)
        return probe.read_support(data, str(path), self._guard), data


def main(argv: list[str] | None = None) -> int:
    """Run the hub of a configuration."""
    return process.main("hub", Hub, argv)


if __name__ == "__main__":
    sys.exit(main())
