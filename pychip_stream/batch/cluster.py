"""Cluster: a scheduler of Dask with its workers, the user's own or started here.

Dask is an extra of the package (`batch`); this package alone imports it.
"""

import contextlib
import logging
import os
import re
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import dask
import xxhash
from distributed import CancelledError, Client, Future, LocalCluster, Security, wait
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker

from pychip_stream import __version__
from pychip_stream.errors import ClusterError, PychipError, UsageError

logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")
_Told = TypeVar("_Told")

_WAITING = 4
"""Pieces that are on the way or wait for one before them, for each that can be done at once."""

_ANSWER_S = 10.0
_LOOK_S = 5.0
_PATIENCE_LOOKS = 24
"""Dask starts a worker again within seconds; after two minutes without one nobody will come."""
_LOCAL = re.compile(r"local:(\d{1,3})")
GPU = "GPU"
"""Resource that workers with a GPU announce (`dask worker --resources GPU=1`)."""


class Certificates(NamedTuple):
    """PEM files for a `tls://` address; without any, the configuration of Dask says which."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Cluster:
    """A client of a cluster.

    Attributes
    ----------
    client
        Of Dask.
    here
        Workers that were started for this, on this machine; 0 where the cluster is the user's.
    attempts
        A piece of work over which so many workers died has failed.
    """

    def __init__(self, client: Client, here: int, attempts: int) -> None:
        self.client = client
        self.here = here
        self.attempts = attempts

    def workers(self) -> dict[str, dict[str, Any]]:
        """Workers by address, as the scheduler describes them.

        Raises
        ------
        ClusterError
            If the scheduler is gone.
        """
        try:
            return dict(self.client.scheduler_info()["workers"])
        except Exception as error:
            raise ClusterError(f"the scheduler of the cluster is gone ({_line(error)})") from error

    @property
    def resources(self) -> dict[str, float] | None:
        """What a piece of work needs: a GPU where there is one."""
        gpu = any(worker["resources"].get(GPU, 0) for worker in self.workers().values())
        return {GPU: 1.0} if gpu else None

    @property
    def slots(self) -> int:
        """Pieces of work that can be done at once."""
        gpus, key = self.resources, "resources"
        counts = (
            int(worker[key].get(GPU, 0)) if gpus else int(worker["nthreads"])
            for worker in self.workers().values()
        )
        return max(1, sum(counts))

    def submit(self, work: Callable[..., Any], *words: Any, resources: Any = None) -> Future[Any]:
        """Let a worker do something; what is asked first is done first."""
        return self.client.submit(work, *words, pure=False, resources=resources)

    def settle(self, futures: Sequence[Future[Any]]) -> None:
        """Wait until these are done, well or not."""
        for future in futures:
            with contextlib.suppress(KilledWorker):
                self.result(future)

    def result(self, future: Future[Any]) -> Any:
        """Wait for what a worker does.

        Raises
        ------
        ClusterError
            If no worker is left, or the scheduler is gone.
        KilledWorker
            If workers died over it.
        Exception
            What the work itself raised.
        """
        looks = 0
        while looks <= _PATIENCE_LOOKS:
            try:
                wait(future, timeout=_LOOK_S)
            except TimeoutError:
                looks = 0 if self.workers() else looks + 1
            except CancelledError as error:
                raise ClusterError("the scheduler of the cluster was lost") from error
            else:
                return self._taken(future)
        raise ClusterError("no worker of the cluster is left")

    def _taken(self, future: Future[Any]) -> Any:
        """Fetch what is done."""
        try:
            return future.result()
        except PychipError:
            raise
        except Exception as error:
            if future.cancelled():
                raise ClusterError("the scheduler of the cluster was lost") from error
            raise


class Killed(NamedTuple):
    """A piece of work over which so many workers died."""

    deaths: int

    def __str__(self) -> str:
        return f"{self.deaths} workers died over it; it is damaged, or needs too much memory"


def in_order(
    cluster: Cluster, items: Iterator[_Item], submit: Callable[[_Item], "Future[Any]"]
) -> Iterator[tuple[_Item, Any]]:
    """Let workers do pieces of work; no more than some for each worker are on the way.

    A piece over which a worker died is done alone, so that it is known whose fault it is.

    Returns
    -------
    Each piece with what came of it, in their order; `Killed` where it had to be given up.
    """
    most = _WAITING * cluster.slots
    waiting: deque[tuple[_Item, Future[Any]]] = deque()
    more = True
    while more or waiting:
        while more and len(waiting) < most:
            item = next(items, None)
            if more := item is not None:
                waiting.append((item, submit(item)))
        if waiting:
            item, future = waiting.popleft()
            yield item, _outcome(cluster, item, future, [other for _, other in waiting], submit)


def _outcome(
    cluster: Cluster,
    item: _Item,
    future: "Future[Any]",
    others: Sequence["Future[Any]"],
    submit: Callable[[_Item], "Future[Any]"],
) -> Any:
    deaths, alone = 0, False
    while True:
        try:
            return cluster.result(future)
        except KilledWorker as error:
            deaths += error.allowed_failures + 1
            if alone and deaths >= cluster.attempts:
                return Killed(deaths)
        logger.warning("%s: a worker died; it is tried again, alone", item)
        cluster.settle(others)
        alone = True
        future = submit(item)


@contextlib.contextmanager
def open_cluster(
    address: str, certificates: Certificates | None = None, attempts: int = 3
) -> Iterator[Cluster]:
    """Reach the cluster of an address, or start one.

    Parameters
    ----------
    address
        "local:N" for N workers of this machine, else of a scheduler: "tcp://HOST:PORT",
        "tls://HOST:PORT".

    Raises
    ------
    UsageError
        If it is no address.
    ClusterError
        If nobody answers, or there are no workers.
    """
    local = _LOCAL.fullmatch(address)
    if local and int(local[1]):
        with _started(int(local[1])) as scheduler, Client(scheduler) as client:
            yield Cluster(client, int(local[1]), attempts)
        return
    if "://" not in address:
        raise UsageError(
            f"--cluster {address}: write local:N, or where a Dask scheduler listens, such as "
            "tcp://HOST:8786"
        )
    with _reached(address, certificates or Certificates()) as client:
        cluster = Cluster(client, 0, attempts)
        if not cluster.workers():
            raise ClusterError(f"{address}: has no workers; start some with `dask worker`")
        yield cluster


@contextlib.contextmanager
def _started(count: int) -> Iterator[LocalCluster]:
    """Start workers on this machine; a piece of work that one dies over comes back to us at once.

    Each has two threads: one reads while the other classifies.
    """
    mine = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.worker.daemon": True,
        # Dask's own without its numbers of threads, which are those of `threads.settle`.
        "distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": "65536"},
    }
    with (
        dask.config.set(mine),
        LocalCluster(
            n_workers=count, threads_per_worker=2, host="127.0.0.1", dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else its port is always 8787
            worker_dashboard_address=None, memory_limit=0, silence_logs=logging.CRITICAL,
        ) as cluster,
    ):  # fmt: skip
        yield cluster


@contextlib.contextmanager
def _reached(address: str, certificates: Certificates) -> Iterator[Client]:
    security = None
    if any(certificates):
        missing = [str(path) for path in certificates if path is not None and not path.is_file()]
        if missing:
            raise UsageError(f"{missing[0]}: no such file")
        security = Security(
            tls_ca_file=_text(certificates.ca),
            tls_client_cert=_text(certificates.certificate),
            tls_client_key=_text(certificates.key),
            require_encryption=True,
        )
    try:
        client = Client(address, timeout=_ANSWER_S, security=security)
    except Exception as error:
        raise ClusterError(
            f"{address}: no Dask scheduler answers ({_line(error)}); check the address, and the "
            "certificates where it begins with tls://"
        ) from error
    with client:
        yield client


@contextlib.contextmanager
def stationed(cluster: Cluster, name: str, station: WorkerPlugin) -> Iterator[None]:
    """Let every worker, also one that comes later, keep what a batch needs.

    Raises
    ------
    ClusterError
        If the workers cannot.
    PychipError
        What the station raised where it was set up.
    """
    try:
        told(lambda: cluster.client.register_plugin(station))
        yield
    finally:
        with contextlib.suppress(Exception):  # the cluster may be gone
            cluster.client.unregister_worker_plugin(name)


def told(work: Callable[[], _Told]) -> _Told:
    """Do something on a worker; one that lacks this package says so in one line."""
    try:
        return work()
    except PychipError:
        raise
    except KilledWorker as error:
        raise ClusterError("the workers die while they load what they need") from error
    except Exception as error:
        raise ClusterError(
            f"the workers cannot begin ({_line(error)}); they need the same pychip-stream as this "
            "machine"
        ) from error


def name_for(target: Path) -> str:
    """Name the batch that writes a file: others on the same cluster have other names."""
    place = f"{socket.gethostname()} {target.resolve()}".encode()
    return f"pychip-stream-{xxhash.xxh3_64_hexdigest(place)}"


def check_version(version: str) -> None:
    """Refuse, on a worker, what another version of this package asks for."""
    if version != __version__:
        raise ClusterError(
            f"a worker has pychip-stream {__version__}, this machine {version}; install the same"
        )


def keep_quiet() -> None:
    """Leave, in a worker that was started for this, words and Ctrl-C to the process that asked."""
    logging.getLogger("pychip_stream").setLevel(logging.ERROR)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _text(path: Path | None) -> str | None:
    return None if path is None else os.fspath(path)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
