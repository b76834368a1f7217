"""Frames on a cluster: each worker process holds an encoder and a support set, once."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import threadpoolctl
import torch
from distributed import Future, Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from pychip_stream import __version__
from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.classification import Batch, analysed, settle_sums
from pychip_stream.archive.support_sets import support_from_bytes, support_to_bytes
from pychip_stream.batch.cluster import (
    GPU,
    Cluster,
    Killed,
    check_version,
    in_order,
    keep_quiet,
    name_for,
    stationed,
    told,
)
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.domain.frames import Frame, FrameRef
from pychip_stream.domain.records import FrameRecord
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import ClusterError
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.model.encoders import open_encoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What every worker must know.

    Attributes
    ----------
    name
        Tells this batch from others on the same cluster.
    root
        The folder of the frames, which every worker must see.
    support
        Support set, as the bytes of its file.
    encoder
        With device and precision.
    weights_hash
        Of the encoder.
    here
        Workers that share this machine among them; 0: as many threads as Dask gives them.
    gpu
        Whether only workers with a GPU work on this.
    """

    name: str
    root: Path
    support: bytes
    encoder: EncoderConfig
    weights_hash: str
    settings: ClassifyConfig
    detector: str
    pixel_size: str
    here: int
    gpu: bool
    version: str = __version__


class Station(WorkerPlugin):
    """What a worker process keeps for a batch."""

    def __init__(self, task: Task) -> None:
        self.name = task.name
        self._task = task

    async def setup(self, worker: Worker) -> None:
        """Load encoder and support set; what is wrong here comes back to who asked."""
        if self._task.gpu and not worker.state.total_resources.get(GPU):
            return
        threads = worker.state.nthreads
        if self._task.here:
            threads = torch.get_num_threads() // self._task.here
            keep_quiet()
        await asyncio.to_thread(self._prepare, threads)

    def _prepare(self, threads: int) -> None:
        task = self._task
        check_version(task.version)
        if not task.root.is_dir():
            raise ClusterError(
                f"{task.root}: a worker does not see this folder; workers need the frames under "
                "the same path"
            )
        settle_sums(threads)
        threadpoolctl.threadpool_limits(1, "blas")  # as `threads.settle` does
        encoder = open_encoder(task.encoder)
        if encoder.weights_hash != task.weights_hash:
            raise ClusterError(
                f"encoder {encoder.name}: is {encoder.weights_hash[:8]} on one worker and "
                f"{task.weights_hash[:8]} on another; give all the same weights"
            )
        support = support_from_bytes(task.support)
        self._analyst = Analyst.of(support, encoder, task.settings)
        self._reader = GuardedReader(detector=task.detector, pixel_size=task.pixel_size)
        self._reader.start()
        self._lock = threading.Lock()  # none before: the plugin travels

    def analyse(self, ref: FrameRef) -> "Done":
        """Read and classify a frame; others are read meanwhile."""
        with contextlib.ExitStack() as stack:

            def read(path: Path, index: int, size: int, mtime_ns: int) -> tuple[Frame, str]:
                found = self._reader.read_checked(path, index, size, mtime_ns)
                stack.enter_context(self._lock)
                return found

            record = analysed(self._analyst, self._task.root, ref, read)
            return Done(record, self._analyst.notices)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Let the reader's process go."""
        if hasattr(self, "_reader"):
            self._reader.close()


class Done(NamedTuple):
    """A frame that a worker has classified, and what makes its numbers less certain."""

    record: FrameRecord
    notices: tuple[str, ...]


def _place(encoder: EncoderConfig, precision: str | None) -> tuple[str, str]:
    """Choose device and precision on a worker; also says which weights these are."""
    opened = open_encoder(encoder, precision)
    return opened.device, opened.weights_hash


def _analyse(name: str, ref: FrameRef) -> Done:
    station = get_worker().plugins[name]
    assert isinstance(station, Station)
    return station.analyse(ref)


@dataclass(frozen=True)
class Crew:
    """The workers of a cluster with what they need for a batch.

    Attributes
    ----------
    device
        Where the encoder runs and in which precision, on all of them.
    """

    cluster: Cluster
    name: str
    device: str
    resources: dict[str, float] | None

    def analyse(self, refs: Iterator[FrameRef], _reader: GuardedReader) -> Iterator[FrameRecord]:
        """Classify frames, in their order."""
        said: set[str] = set()
        for ref, done in in_order(self.cluster, refs, self._submit):
            if isinstance(done, Killed):
                yield FrameRecord.failed(ref, str(done), read=ref.seen)
                continue
            for line in done.notices:
                if line not in said:
                    logger.warning("%s: %s", ref.path, line)
            said.update(done.notices)
            yield done.record

    def _submit(self, ref: FrameRef) -> Future[Done]:
        return self.cluster.submit(_analyse, self.name, ref, resources=self.resources)


@contextlib.contextmanager
def crew(
    cluster: Cluster,
    batch: Batch,
    support: SupportSet,
    encoder: EncoderConfig,
    settings: ClassifyConfig,
    target: Path,
    precision: str | None = None,
) -> Iterator[Crew]:
    """Equip the workers of a cluster for a batch.

    Parameters
    ----------
    target
        Archive that is written, which nobody else writes.
    precision
        Where `encoder` names none; None: measured on one of the workers.

    Raises
    ------
    ClusterError, EncoderError, SupportError
        If a worker cannot do it.
    """
    resources = cluster.resources
    if Path(encoder.name).is_file():
        encoder = encoder.model_copy(update={"name": str(Path(encoder.name).resolve())})
    if resources and encoder.device is None:
        encoder = encoder.model_copy(update={"device": "cuda"})
    asked = cluster.submit(_place, encoder, precision, resources=resources)
    device, weights_hash = told(lambda: cluster.result(asked))
    name = name_for(target)
    task = Task(
        name, batch.root, support_to_bytes(support),
        encoder.model_copy(update={"device": device}), weights_hash, settings, batch.detector,
        batch.pixel_size, cluster.here, gpu=bool(resources),
    )  # fmt: skip
    with stationed(cluster, name, Station(task)):
        yield Crew(cluster, name, device, resources)
