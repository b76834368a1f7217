"""What can be done to a run from outside: hostile peers, a bad network, a bent machine."""

import contextlib
import os
import random
import socket
import threading
import time

import zmq

from pychip_stream.domain.frames import FrameRef
from pychip_stream.wire import codec
from pychip_stream.wire.messages import (
    Archived,
    ArchivedKey,
    FrameFailed,
    Live,
    Ready,
    Release,
    Result,
    Status,
)

CUSTOMISE = '''
"""Loaded by every service of a test: bends the clock, and makes one frame deadly."""
import os, sys, time

_real, _file = time.time, os.environ["BENT_CLOCK"]

def _bent():
    try:
        with open(_file) as file:
            return _real() + float(file.read() or 0)
    except (OSError, ValueError):
        return _real()

time.time = _bent

if any("services.inference" in word for word in sys.orig_argv):
    from pychip_stream.analysis.analyst import Analyst

    _analyse = Analyst.analyse

    def _deadly(self, root, frame, *args, **options):
        if "poison" in frame.path:
            os.abort()
        return _analyse(self, root, frame, *args, **options)

    Analyst.analyse = _deadly
'''


def bend(monkeypatch, folder):
    """Let services load `CUSTOMISE`; returns the file that holds the clock's error in seconds."""
    hooks = folder / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(CUSTOMISE)
    clock = folder / "clock"
    clock.write_text("0")
    monkeypatch.setenv("PYTHONPATH", str(hooks))
    monkeypatch.setenv("BENT_CLOCK", str(clock))
    return clock


def nonsense(rng):
    """One hostile multipart message: random, damaged, oversized or in the wrong place.

    What only a peer that is trusted can do is left out: one that speaks the protocol and is let
    in may ask for frames and send results.
    """
    ref = FrameRef(path="../../etc/passwd", size=1, mtime_ns=1)
    key = ArchivedKey("nothing.tif", 0, 1, 1, False)
    sane = [
        Release(lease=rng.randrange(10**9), reason="\x1b[31m" * 50),
        Archived(run="another", start=0, keys=(key,) * 100),
        FrameFailed(frame=ref, reason="no"),
        Result(worker="w", frame=ref, status="ok", names=("a",)),
        Status(service="x", instance=f"ghost-{rng.randrange(5)}", state="running", time=0.0),
        Live(frame=ref, names=(), colors=(), support_version="", chip_size=(0, 0), shape=(0, 0),
             status="ok"),
    ]  # fmt: skip
    parts = [bytes(p) for p in codec.encode(rng.choice(sane))]
    kind = rng.randrange(7)
    if kind == 6:
        ready = Ready(worker="x" * rng.randrange(200), credit=rng.randrange(-5, 1), held=(1, 2, 3))
        return [bytes(p) for p in codec.encode(ready)]
    if kind == 0:
        return [rng.randbytes(rng.randrange(1, 300)) for _ in range(rng.randrange(1, 30))]
    if kind == 1:
        victim = bytearray(codec.encode(sane[0])[1])
        victim[rng.randrange(len(victim))] ^= 1 << rng.randrange(8)
        return [parts[0], bytes(victim)]
    if kind == 2:
        return [codec.MAGIC, b"\x93" * 100_000]  # very deep
    if kind == 3:
        return [b"pychip-stream/9", *parts[1:]]
    if kind == 4:
        return [*parts, bytes(1 << 20)]
    return parts


class Flood:
    """Hostile peers on every port of a run, from threads, until stopped."""

    def __init__(self, wire, seed=0):
        self.sent = 0
        self._stop = threading.Event()
        self._context = zmq.Context()
        ports = ("tasks", "results", "requests", "events")
        self._threads = [
            threading.Thread(target=target, args=(wire, port, random.Random(f"{seed}{port}")))
            for port in ports
            for target in (self._speak, self._shout)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._context.term()

    def _speak(self, wire, port, rng):
        """Valid ZeroMQ, nonsense in it."""
        kind = zmq.SUB if port == "events" else zmq.DEALER
        with self._context.socket(kind) as peer:
            peer.setsockopt(zmq.LINGER, 0)
            peer.setsockopt(zmq.SNDHWM, 50)
            peer.connect(wire.endpoint(port))
            while not self._stop.wait(0.002):
                if kind == zmq.SUB:
                    peer.setsockopt(zmq.SUBSCRIBE, rng.randbytes(rng.randrange(100)))
                    self.sent += 1
                    continue
                try:
                    peer.send_multipart(nonsense(rng), zmq.NOBLOCK)
                    self.sent += 1
                except zmq.Again:
                    continue

    def _shout(self, wire, port, rng):
        """No ZeroMQ at all, or a peer that says nothing more after the greeting."""
        address = (wire.host_of(port), getattr(wire, port))
        while not self._stop.wait(0.05):
            try:
                with socket.create_connection(address, 1.0) as peer:
                    greeting = b"\xff" + bytes(8) + b"\x7f\x03"
                    peer.sendall(greeting if rng.random() < 0.5 else rng.randbytes(2000))
                    self.sent += 1
            except OSError:
                continue


class Endless:
    """A peer that sends one message without an end to a port, on new connections, until stopped.

    It speaks ZMTP 3.0 itself: libzmq sends no part before the last one is there.
    """

    GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    READY = b"\x04\x1c\x05READY\x0bSocket-Type" + (6).to_bytes(4, "big") + b"DEALER"

    def __init__(self, wire, port, part=bytes(1 << 20)):
        self.sent_mb = 0
        self._address = (wire.host_of(port), getattr(wire, port))
        self._part = b"\x03" + len(part).to_bytes(8, "big") + part  # long, and more to come
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._speak)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _speak(self):
        while not self._stop.wait(0.05):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(self._address, 1.0) as peer,
            ):
                peer.sendall(self.GREETING + self.READY)
                while not self._stop.is_set():
                    peer.sendall(self._part)
                    self.sent_mb += len(self._part) >> 20


class Proxy:
    """A bad network: passes TCP on, with a delay, until it is cut."""

    def __init__(self, target, delay_s=0.0):
        self.target, self.delay_s = target, delay_s
        self.cuts = 0
        self._pairs = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self._closing:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, 5.0)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                if self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self):
        """End every connection in the middle of whatever it carries."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self.cuts += len(pairs)

    def close(self):
        self._closing = True
        self._listener.close()
        self.cut()


def memory_mb(process):
    """Resident memory of a process."""
    return process.memory_info().rss / 2**20


def is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0
