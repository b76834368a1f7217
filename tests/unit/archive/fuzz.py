"""Reads archives, segments, live views, scorings and support sets of which bytes are changed.

    python -m tests.unit.archive.fuzz --count 10000 --seed 7

Each is probed in a guard, as commands and pages do; what passes is read whole here, and the run
that it belongs to is continued. Anything but data and errors of one line ends it: an unexpected
exception, or a crash or hang of what the probe has let pass. Prints a JSON report, which counts
what the guard refused by its reason; `--keep FOLDER` keeps those files, since no two runs of this
program begin with the same bytes (files have times and identities in them).
"""

import argparse
import faulthandler
import json
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from pychip_stream.archive import probe
from pychip_stream.archive.blocks import OF_RESULTS
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import load_support, save_support
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import ArchiveError, PychipError
from pychip_stream.export.tables import export_chips_csv, export_csv
from pychip_stream.guard import Guard, Limits
from tests.support.archive_samples import make_run, support
from tests.support.failing_disks import QuickDisk
from tests.support.run_samples import add_second_scoring

_LONGEST_S = 120.0


def read_everything(path):
    """What commands and pages read of an archive."""
    with open_run(path) as run:
        for name in run.scorings:
            shown = run.with_scoring(name)
            _ = (shown.fractions, shown.intervals, shown.frames, shown.failed, shown.colors)
            _ = (
                shown.covered,
                shown.embedded,
                shown.scoring_provenance,
                shown.config,
                shown.alerts,
            )
            for frame in range(shown.count):
                _ = (shown.label_map(frame), shown.confidence(frame), shown.embeddings(frame))
            list(shown.result_blocks(OF_RESULTS))
            list(shown.embedding_blocks())
            export_csv(shown, path.with_suffix(".csv"))
            export_chips_csv(shown, path.with_suffix(".chips.csv"))
        for version in run.support_versions:
            run.support_set(version)
    merge_scorings(path)


def flipped(rng, data):
    """The same bytes with a few of them changed, zeroed or copied from elsewhere."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 12))):
        at, size = int(rng.integers(0, len(out))), int(rng.integers(1, 64))
        piece = out[at : at + size]
        other = int(rng.integers(0, len(out) - size))
        new = {0: bytes(len(piece)), 1: out[other : other + len(piece)]}
        out[at : at + len(piece)] = new.get(
            int(rng.integers(0, 3)), bytes([piece[0] ^ (1 << int(rng.integers(0, 8)))]) + piece[1:]
        )
    return bytes(out)


def originals(folder):
    """Folders of whole files, and in each the file that is changed."""
    quick = {"disk": QuickDisk()}
    closed = make_run(folder / "archive", 4, **quick)
    add_second_scoring(closed, 4)
    shutil.copytree(folder / "archive", folder / "scoring")
    merge_scorings(closed)
    make_run(folder / "segment", 6, close=False, **quick)
    shutil.copytree(folder / "segment", folder / "live view")
    save_support(support(), folder / "support set" / "run.h5")
    return {
        "archive": "run.h5",
        "scoring": next((folder / "scoring" / "run.scorings").glob("*.h5")).relative_to(
            folder / "scoring"
        ),
        "segment": min((folder / "segment" / "run.segments").glob("seg-*.h5")).relative_to(
            folder / "segment"
        ),
        "live view": "run.live.h5",
        "support set": "run.h5",
    }


def attempt(kind, folder, victim, guard):
    """Look at it, read it, and go on with its run."""
    try:
        probe.check(folder / victim, guard)
    except ArchiveError as error:
        assert "\n" not in str(error)
        return f"refused for {error.__cause__.kind}"
    try:
        if kind == "support set":
            load_support(folder / victim)
            return "read"
        read_everything(folder / "run.h5")
    except PychipError as error:
        assert "\n" not in str(error)
        what = "refused"
    else:
        what = "read"
    if kind != "support set":
        try:
            writer = RunWriter(folder, "run", disk=QuickDisk())
            assert len(writer.keys) <= 6
            writer.close()
        except PychipError as error:
            assert "\n" not in str(error)
    return what


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="to stop after")
    parser.add_argument("--keep", type=Path, help="folder for files that the guard refuses")
    parser.add_argument("--only", type=int, help="do this number alone")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    probe._LIMITS = Limits(15.0, 1 << 30)
    counts, done, start = Counter(), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as place, Guard((probe.__name__,)) as guard:
        whole = Path(place, "whole")
        kinds = originals(whole)
        numbers = range(options.count) if options.only is None else [options.only]
        for number in numbers:
            if time.monotonic() - start > options.seconds:
                break
            kind = list(kinds)[number % len(kinds)]
            rng = np.random.default_rng([options.seed, number])
            folder = Path(place, "changed")
            shutil.copytree(whole / kind, folder)
            victim = folder / kinds[kind]
            victim.write_bytes(flipped(rng, victim.read_bytes()))
            print(f"{number} {kind}", file=sys.stderr, flush=True)
            faulthandler.dump_traceback_later(_LONGEST_S, exit=True)
            outcome = attempt(kind, folder, kinds[kind], guard)
            if options.keep and "for" in outcome:
                options.keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(victim, options.keep / f"{number} {kind} {outcome}.h5")
            counts[outcome] += 1
            faulthandler.cancel_dump_traceback_later()
            shutil.rmtree(folder)
            done += 1
    print(json.dumps({"done": done, **counts, "seconds": round(time.monotonic() - start, 1)}))


if __name__ == "__main__":
    main()
