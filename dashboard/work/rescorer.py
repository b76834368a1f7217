"""Rescorer: support sets on offer for an archived run, and the run under one of them."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pychip_stream.analysis.many_runs import Order, rescore_run
from pychip_stream.archive.run import Run, open_run
from pychip_stream.archive.support_sets import load_support
from pychip_stream.domain.progress import Progress
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import PychipError

from . import scratch
from .arrival import Arrival, plain_name, safe_name
from .readers import Readers
from .saved_sets import SavedSets
from .words import relabelled, support_name

NO_SET = "No support set was selected"
SUFFIX = ".h5"
THIS_RUN, SAVED, UPLOADED = "run:", "saved", "file"
_MOST_BYTES = 256 << 20


class Rescorer:
    """Finds support sets in runs, among the saved versions and in a viewer's file.

    All but `expect`, `add` and `close` may take long and belong on a thread.

    Parameters
    ----------
    path
        Of the run that is scored.
    others
        Name and path of other runs whose support sets are on offer.
    readers
        Look at files first; None: here, for what this program has made.
    """

    def __init__(
        self,
        sets: SavedSets,
        path: Path,
        others: Mapping[str, Path],
        readers: Readers | None = None,
    ) -> None:
        self._sets = sets
        self._path = path
        self._runs = {THIS_RUN: path, **{f"{THIS_RUN}{n}": p for n, p in others.items()}}
        self._readers = readers
        self._arrival = Arrival(NO_SET, _MOST_BYTES)
        self._file: Path | None = None
        self._uploaded: SupportSet | None = None

    def sources(self) -> dict[str, str]:
        """Where support sets can be taken from, by what people call it."""
        found = {"this run": THIS_RUN}
        if self._uploaded is not None:
            found["the file"] = UPLOADED
        if self._sets.folder.versions():
            found["saved on Examples"] = SAVED
        return found | {f"run {s[len(THIS_RUN) :]}": s for s in self._runs if s != THIS_RUN}

    def sets(self, source: str) -> dict[str, str]:
        """Versions of the support sets of a source, by what people call them."""
        if source == UPLOADED:
            versions = [self._uploaded.version] if self._uploaded else []
        elif source == SAVED:
            versions = self._sets.folder.versions()[::-1]
        else:
            with self._open(source) as run:
                return {_name(run.support_set, v): v for v in run.support_versions}
        return {_name(lambda v: self._support(source, v), v): v for v in versions}

    def rescore(
        self,
        source: str,
        version: str,
        progress: Progress,
        *,
        default: bool,
        reject: bool = True,
        encoder: str = "",
    ) -> str:
        """Score the run, closed, under a support set; tells how it went.

        Parameters
        ----------
        progress
            Called with frames done and their total; what it raises ends the work, and the run
            stays as it was.
        default
            Whether everybody is shown this scoring from now on.
        reject
            As for `Order`.
        encoder
            Name of that of the run, empty: as the run says; no file of this machine.

        Raises
        ------
        PychipError
            If that is not possible.
        """
        if Path(encoder).name != encoder or Path(encoder).suffix:
            raise PychipError(f"encoder {encoder!r} is no name; for a file use: rescore --encoder")
        progress(0, 0)  # may have been cancelled while others had their turn
        with self._open(THIS_RUN) as run:
            if run.live:
                raise PychipError(live_words(run))
        support = self._support(source, version)
        order = Order(support, encoder or None, reject=reject, default=default)
        one = rescore_run(self._path, order, [], progress)
        if one.rescored is None:
            raise PychipError(one.reason)
        if one.skipped:
            return f"the run has this scoring already: {support_name(support)}"
        return "\n".join(relabelled(one.rescored, support_name(support)))

    def expect(self, name: str, size: int) -> None:
        """Expect the file of a support set."""
        self._forget()
        safe = safe_name(name)
        if Path(safe).suffix.lower() != SUFFIX:
            raise PychipError(f"{NO_SET}: {plain_name(name) or 'it'} is no {SUFFIX} file")
        self._file = scratch.folder("support") / safe
        self._arrival.begin(self._file, size)

    def add(self, data: bytes) -> None:
        """Take the next piece of it."""
        self._arrival.add(data)

    def finish(self) -> str:
        """Read the file that has arrived; returns what it is."""
        path = self._file
        try:
            self._arrival.finish()
            assert path is not None
            if self._readers is not None:
                self._readers.check(path)
            self._uploaded = load_support(path)
        except PychipError as error:
            text = str(error).replace(str(path), path.name if path else "")
            raise PychipError(text if text.startswith(NO_SET) else f"{NO_SET}: {text}") from error
        finally:
            self._forget()
        return support_name(self._uploaded)

    def close(self) -> None:
        """Forget what is on its way."""
        self._forget()

    def _forget(self) -> None:
        self._arrival.drop()
        if self._file is not None:
            shutil.rmtree(self._file.parent, ignore_errors=True)
            self._file = None

    def _open(self, source: str) -> Run:
        if source not in self._runs:
            raise PychipError(f"there is no run {source[len(THIS_RUN) :]!r} here")
        path = self._runs[source]
        if self._readers is not None:
            self._readers.check_run(path)
        return open_run(path)

    def _support(self, source: str, version: str) -> SupportSet:
        if source == SAVED:
            return self._sets.support(version)
        if source != UPLOADED:
            with self._open(source) as run:
                return run.support_set(version)
        if self._uploaded is None or self._uploaded.version != version:
            raise PychipError(NO_SET)
        return self._uploaded


def live_words(run: Run) -> str:
    """Say why a live run is not scored here, and where it is."""
    return (
        f"{run.path.stem} is live: label its past again on Examples, which the frames to come "
        "follow, or wait until it is closed"
    )


def _name(load: Callable[[str], SupportSet], version: str) -> str:
    try:
        return support_name(load(version))
    except PychipError:
        return f"{version[:8]} (damaged)"
