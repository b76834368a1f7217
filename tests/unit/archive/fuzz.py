"""Reads archives, segments, live views, scorings and support sets of which bytes are changed.

And the small files beside them: marks, exclusions, offsets, readings, alerts, rules, and choices.

    python -m tests.unit.archive.fuzz --count 10000 --seed 7

Each is probed in a guard, as commands and pages do; what passes is read whole here, and the run
that it belongs to is continued and closed. Anything but data and errors of one line ends it: an
unexpected exception, or a crash or hang of what the probe has let pass. Prints a JSON report, which
counts what the guard refused by its reason; `--keep FOLDER` keeps those files, since no two runs of
this program begin with the same bytes (files have times and identities in them).
"""

import argparse
import faulthandler
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from pychip_stream import config as configuration
from pychip_stream.acquisition.tasks import Attempts
from pychip_stream.archive import probe
from pychip_stream.archive.alert_journal import AlertJournal, AlertRow
from pychip_stream.archive.blocks import OF_RESULTS
from pychip_stream.archive.clock_offsets import set_offset
from pychip_stream.archive.exclusions import exclude
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.marks import events_of, mark
from pychip_stream.archive.readings import ReadingJournal, add_readings
from pychip_stream.archive.run import open_run
from pychip_stream.archive.scorings import set_default_scoring
from pychip_stream.archive.support_sets import load_support, save_support
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.signals import Readings, Signal
from pychip_stream.errors import ArchiveError, PychipError
from pychip_stream.export.tables import export_chips_csv, export_csv
from pychip_stream.guard import Guard, Limits
from pychip_stream.operation.edited_rules import EditedRules
from tests.support import odd_messages
from tests.support.archive_samples import make_run, support
from tests.support.failing_disks import QuickDisk
from tests.support.run_samples import add_second_scoring

_LONGEST_S = 120.0


def read_everything(path):
    """What commands and pages read of an archive."""
    with open_run(path) as run:
        _ = (run.left_out, events_of(run), run.stimulus.series, run.stimulus.offsets, run.alerts)
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
        other = int(rng.integers(0, max(len(out) - size, 1)))
        new = {0: bytes(len(piece)), 1: out[other : other + len(piece)]}
        out[at : at + len(piece)] = new.get(
            int(rng.integers(0, 3)), bytes([piece[0] ^ (1 << int(rng.integers(0, 8)))]) + piece[1:]
        )
    return bytes(out)


def odd_lines(rng, data):
    """The same text with something odd in one of its lines of JSON."""
    lines = data.decode(errors="replace").splitlines()
    number = int(rng.integers(0, len(lines)))
    try:
        tree = [json.loads(lines[number])]
    except ValueError:
        tree = [lines[number]]
    chance = random.Random(int(rng.integers(0, 2**32)))
    for _ in range(chance.choice((1, 1, 2))):
        odd_messages.change(chance, tree)
    lines[number] = json.dumps(tree[0])
    return "\n".join(lines).encode(errors="replace")


def tell(path):
    """Let everything be said of a run that is kept beside its frames."""
    places, run = RunPlaces.of(path), open_run(path)
    mark(run, run.start, "gas on", who="ann")
    exclude(places, run.run_id, [("Hour_00/frame_000001.dm4", 0)], who="ann")
    set_offset(places, run.run_id, "oven", 1.0, who="ann")
    heat = [Readings("oven", run.start + np.arange(4.0), (Signal("T", "K", "number", np.ones(4)),))]
    add_readings(places, run.run_id, heat)
    if run.live:
        ReadingJournal(places, QuickDisk()).add(heat[0], 0, "log", 10)
        row = AlertRow("1", "r", "info", "on", "", 1.0, 1.0, "why", run.start, "", False)
        AlertJournal(places, QuickDisk()).add(row)
    config = beside(places)
    EditedRules(config).put({"name": "r", "quantity": "backlog", "above": 1}, "ann")
    Attempts(places.folder / "run.attempts.json").note(FrameRef(path="a.tif"), 1)
    return path


def beside(places):
    """A configuration whose run this is."""
    tree = {"watch": {"root": "."}, "archive": {"folder": ".", "name": places.name}}
    return configuration.parse(tree, "test", places.folder)


def originals(folder):
    """Folders of whole files, and in each what is changed: a file, or one of many."""
    closed = make_run(folder / "archive", 4, close=False)
    tell(closed)
    RunWriter(closed.parent, "run", disk=QuickDisk()).close()
    add_second_scoring(closed, 4)
    shutil.copytree(folder / "archive", folder / "scoring")
    merge_scorings(closed)
    make_run(folder / "segment", 6, close=False)
    shutil.copytree(folder / "segment", folder / "live view")
    told = tell(make_run(folder / "small files", 4, close=False))
    set_default_scoring(told, add_second_scoring(told, 4))
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
        "small files": "**/*",
        "support set": "run.h5",
    }


def chosen(rng, folder, pattern):
    """File that is changed; of many one that is no HDF5."""
    found = [p for p in sorted(folder.glob(str(pattern))) if p.is_file()]
    return found[0] if len(found) == 1 else rng.choice([p for p in found if p.suffix != ".h5"])


def attempt(kind, folder, victim, guard):
    """Look at it, read it, and go on with its run."""
    try:
        if kind != "small files":
            probe.check(victim, guard)
    except ArchiveError as error:
        assert "\n" not in str(error)
        return f"refused for {error.__cause__.kind}"
    try:
        if kind == "support set":
            load_support(victim)
            return "read"
        EditedRules(beside(RunPlaces(folder, "run"))).current()
        Attempts(folder / "run.attempts.json").note(FrameRef(path="b.tif"), 1)
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
            victim = chosen(rng, folder, kinds[kind])
            change = odd_lines if kind == "small files" and rng.random() < 0.7 else flipped
            victim.write_bytes(change(rng, victim.read_bytes()))
            print(f"{number} {kind} {victim.name}", file=sys.stderr, flush=True)
            faulthandler.dump_traceback_later(_LONGEST_S, exit=True)
            outcome = attempt(kind, folder, victim, guard)
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
