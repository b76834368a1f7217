"""Guard: a process of its own, kept warm, for code that may hang, crash or swell.

Files of others are opened by native code (HDF5, codecs of images). A call that goes through a
guard costs itself at the worst: its process is ended and replaced. Large arrays of a result lie
in memory that both processes share.

What comes back is unpickled here: this shields from accidents of native code, not from code that
a file smuggles in, which would run as the same user in either process.
"""

import contextlib
import faulthandler
import importlib
import itertools
import mmap
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pipe, connection, reduction
from typing import Any, ClassVar, NamedTuple, ParamSpec, Self, TypeVar

import numpy as np
import numpy.typing as npt
import psutil

from pychip_stream.errors import GuardError, PychipError

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Bytes = npt.NDArray[np.uint8]

_START_S = 60.0
_LOOK_S = 0.02
_LET_GO_S = 5.0
# Smaller arrays travel in the message; larger ones begin at multiples of so many bytes.
_SHARED, _ALIGNED = 1 << 15, 64
# Pieces of shared memory that are kept for the next results, and their size at the most.
_KEPT, _LARGEST_KEPT = 3, 128 << 20


class Limits(NamedTuple):
    """What one call may take: seconds on the clock, and bytes of memory beyond those at rest."""

    seconds: float
    memory: int


class _KilledError(GuardError):
    """The process was killed from outside."""


class Guard:
    """Runs functions in a process of its own, under limits; dies with the process that made it.

    Threads may share a guard; their calls wait for each other.

    Parameters
    ----------
    modules
        The process imports them when it starts, so that the first call finds it warm.
    """

    def __init__(self, modules: Sequence[str] = ()) -> None:
        self._modules = tuple(modules)
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def start(self) -> None:
        """Let the process start, which the first call does otherwise and waits for."""
        with self._lock:
            self._child = self._child or _Child(self._modules)

    def call(
        self, limits: Limits, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run a function of a module and return its result.

        Parameters
        ----------
        function
            Found again by its module and name; what it takes and returns is pickled, arrays of
            the result are read-only.

        Raises
        ------
        GuardError
            If it took more than the limits or its process crashed; the next call finds another.
        Exception
            Whatever the function raises.
        """
        request = pickle.dumps((function, args, kwargs))
        with self._lock:
            for spare in (True, False):
                child = self._child = self._child or _Child(self._modules)
                try:
                    succeeded, result = child.ask(request, limits)
                    break
                except GuardError as error:
                    child.end()
                    if self._child is not child:  # closed meanwhile
                        raise
                    self._child = _Child(self._modules)
                    # Killed from outside, perhaps while it was at rest: that is not the call's.
                    if not (spare and isinstance(error, _KilledError)):
                        raise
                except BaseException:  # Ctrl-C: the answer must not come to another call
                    child.end()
                    self._child = None
                    raise
        if succeeded:
            return result  # type: ignore[no-any-return]
        raise result

    def close(self) -> None:
        """End the process, with what it does; another call starts one again."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            with self._lock:
                child.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Child:
    """The process, as the one that made it sees it."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._connection, theirs = Pipe()
        handle = theirs.fileno()
        options: dict[str, Any] = {"pass_fds": (handle,)}
        if sys.platform == "win32":
            os.set_handle_inheritable(handle, True)
            startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
            options = {"startupinfo": startup, "creationflags": flags}
        # -P: the folder in which the user stands is not searched for modules.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(handle), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            **options,
        )
        theirs.close()
        self._looked = psutil.Process(self._process.pid)
        self._rest = -1
        self._pieces: dict[int, mmap.mmap] = {}
        self._free: deque[int] = deque()

    def ask(self, request: bytes, limits: Limits) -> tuple[bool, Any]:
        """Let it make a call: whether that succeeded, and its result or error."""
        try:
            if self._rest < 0:
                if not self._connection.poll(_START_S):
                    raise GuardError(f"found no reader: it did not start within {_START_S:.0f} s")
                self._rest = int.from_bytes(self._connection.recv_bytes(), "big")
            # Arrays may be let go by any thread at any moment.
            free = bytes(self._free.popleft() for _ in range(len(self._free)))
            alarm = int(limits.seconds + _LET_GO_S).to_bytes(4, "big")
            self._connection.send_bytes(bytes([len(free)]) + free + alarm + request)
            self._wait(limits)
            number, cuts, fresh = pickle.loads(self._connection.recv_bytes())
            shared = self._open(number, fresh) if cuts else None
            buffers = [shared[a:b] for a, b in cuts] if shared is not None else []
            answer: tuple[bool, Any] = pickle.loads(self._connection.recv_bytes(), buffers=buffers)
        except (OSError, EOFError):
            raise self._death() from None
        return answer

    def _wait(self, limits: Limits) -> None:
        """Wait for the answer, as long as the limits are kept."""
        end = time.monotonic() + limits.seconds
        while not self._connection.poll(_LOOK_S):
            if time.monotonic() > end:
                raise GuardError(f"took more than {limits.seconds:.0f} s", "time")
            if self._used() > limits.memory:
                size = limits.memory / 2**20
                raise GuardError(f"took more than {size:,.0f} MiB of memory", "memory")

    def kill(self) -> None:
        """Let it die; a call that it makes fails."""
        self._process.kill()

    def end(self) -> None:
        """End it, whatever it does; one that waits for a share that is away ends when it can."""
        self.kill()
        self._connection.close()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LET_GO_S)

    def _used(self) -> int:
        """Bytes of memory beyond those at rest."""
        try:
            return int(self._looked.memory_info().rss) - self._rest
        except psutil.Error:
            return 0  # it is dead, which the connection tells

    def _death(self) -> GuardError:
        try:
            code = self._process.wait(_LET_GO_S)
        except subprocess.TimeoutExpired:
            return GuardError("lost its reader")
        if code == -getattr(signal, "SIGKILL", 9):
            return _KilledError("had its reader killed; is the memory short?", "killed")
        with contextlib.suppress(ValueError):
            return GuardError(f"crashed its reader ({signal.Signals(-code).name})")
        return GuardError(f"crashed its reader (exit code {code})")

    def _open(self, number: int, fresh: tuple[str, int] | None) -> _Bytes:
        """Memory of a piece; given back for another result when the last array of it is gone."""
        piece = _mapped(self._connection, *fresh) if fresh else self._pieces[number]
        block = np.frombuffer(piece, np.uint8)
        if number < _KEPT:
            self._pieces[number] = piece
            weakref.finalize(block, self._free.append, number)
        return block


class _Shelf:
    """The shared memory, as the process that fills it sees it."""

    def __init__(self) -> None:
        self._free = set(range(_KEPT))
        self._pieces: dict[int, mmap.mmap] = {}
        self._names = itertools.count()

    def give_back(self, numbers: bytes) -> None:
        """Note the pieces that may be filled again."""
        self._free.update(numbers)

    def take(self, size: int) -> tuple[int, mmap.mmap, "_Fresh | None"]:
        """Find a piece of memory: its number, itself, and how the other side opens a new one."""
        for number in self._free & self._pieces.keys():
            if len(self._pieces[number]) >= size:
                self._free.discard(number)
                return number, self._pieces[number], None
        number = next(iter(self._free), _KEPT) if size <= _LARGEST_KEPT else _KEPT
        self._free.discard(number)
        fresh = _Fresh(f"pychip-stream-{os.getpid()}-{next(self._names)}", size)
        if number < _KEPT:
            self._pieces[number] = fresh.map()
        return number, self._pieces.get(number) or fresh.map(), fresh


def _main() -> None:
    """Serve calls until nobody is there to make them."""
    link = _link(int(sys.argv[1]))
    # What a terminal or a service manager sends to all is the parent's to follow.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _leave_no_image()
    _end_with_parent()
    for module in sys.argv[2:]:
        importlib.import_module(module)
    link.send_bytes(psutil.Process().memory_info().rss.to_bytes(8, "big"))
    shelf = _Shelf()
    while True:
        try:
            request = link.recv_bytes()
        except (OSError, EOFError):
            return
        count = request[0]
        shelf.give_back(request[1 : 1 + count])
        with _alarm(int.from_bytes(request[1 + count : 5 + count], "big")):
            body, arrays = _answer(request[5 + count :])
        _reply(link, shelf, body, arrays)


def _answer(request: bytes) -> tuple[bytes, list[memoryview]]:
    """Make a call: whether it succeeded and its result or error, and arrays to be shared."""
    arrays: list[memoryview] = []

    def in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _SHARED:
            return True
        arrays.append(raw)
        return False

    try:
        function, args, kwargs = pickle.loads(request)
        body = pickle.dumps((True, function(*args, **kwargs)), 5, buffer_callback=in_band)
    except BaseException as error:
        arrays.clear()
        body = _told(error)
    return body, arrays


def _told(error: BaseException) -> bytes:
    """Pickle an error; one that cannot be told as it is becomes words."""
    try:
        body = pickle.dumps((False, error))
        pickle.loads(body)
    except Exception:
        body = pickle.dumps((False, PychipError(f"{type(error).__name__}: {error}")))
    return body


def _reply(
    link: "connection.Connection", shelf: _Shelf, body: bytes, arrays: list[memoryview]
) -> None:
    cuts, size = [], 0
    for array in arrays:
        start = -(-size // _ALIGNED) * _ALIGNED
        size = start + array.nbytes
        cuts.append((start, size))
    number, fresh = _KEPT, None
    if arrays:
        number, piece, fresh = shelf.take(size)
        with memoryview(piece) as target:
            for (start, end), array in zip(cuts, arrays, strict=True):
                target[start:end] = array
    link.send_bytes(pickle.dumps((number, cuts, fresh and (fresh.name, fresh.size))))
    if fresh is not None:
        fresh.offer(link)
    link.send_bytes(body)


if sys.platform == "win32":

    def _link(handle: int) -> "connection.PipeConnection":
        return connection.PipeConnection(handle)

    class _Fresh:
        """A new piece of shared memory, known by its name while somebody has it."""

        offered: ClassVar[mmap.mmap]

        def __init__(self, name: str, size: int) -> None:
            self.name, self.size = name, size
            self._map = mmap.mmap(-1, size, tagname=name)

        def map(self) -> mmap.mmap:
            """Map it for writing."""
            return self._map

        def offer(self, _link: object) -> None:
            """Keep it until the other side has opened it, which is before it asks again."""
            _Fresh.offered = self._map

    def _mapped(_link: object, name: str, size: int) -> mmap.mmap:
        return mmap.mmap(-1, size, tagname=name, access=mmap.ACCESS_READ)

    def _leave_no_image() -> None: ...
else:
    import resource
    import tempfile

    def _link(handle: int) -> "connection.Connection":
        return connection.Connection(handle)

    class _Fresh:
        """A new piece of shared memory, an open file without a name."""

        def __init__(self, name: str, size: int) -> None:
            self.name, self.size = name, size
            made = getattr(os, "memfd_create", None)
            self._file = os.fdopen(made(name), "w+b") if made else tempfile.TemporaryFile()  # noqa: SIM115
            self._file.truncate(size)

        def map(self) -> mmap.mmap:
            """Map it for writing."""
            return mmap.mmap(self._file.fileno(), self.size)

        def offer(self, link: "connection.Connection") -> None:
            """Hand it over."""
            reduction.send_handle(link, self._file.fileno(), os.getppid())
            self._file.close()

    def _mapped(link: "connection.Connection", _name: str, size: int) -> mmap.mmap:
        handle = reduction.recv_handle(link)
        try:
            return mmap.mmap(handle, size, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(handle)

    def _leave_no_image() -> None:
        """Let a crash write no image of the memory to the disk."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if sys.platform == "linux":
    import fcntl

    def _end_with_parent() -> None:
        """End with the parent, also in the middle of native code.

        The other end of standard input is held by the parent alone. When it closes, the kernel
        sends SIGIO, whose default is the end; no interpreter has to be awake for that.
        """
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)

    def _alarm(_seconds: int) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()
else:

    def _end_with_parent() -> None:
        """Between two calls the connection tells."""

    @contextlib.contextmanager
    def _alarm(seconds: int) -> Iterator[None]:
        """Let a call whose parent is gone end itself; no interpreter has to be awake for that."""
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    _main()
