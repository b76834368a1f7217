"""Faults on purpose: which file suffers which, and that it is done to real files."""

import json
import threading
import time

import pytest

from pychip_stream.errors import FrameError, FrameIncompleteError, UsageError
from pychip_stream.formats.reading import read_frame
from pychip_stream.sim.faults import (
    EXPECTED,
    FAULTS,
    JOURNAL_NAME,
    FaultPlan,
    FaultyStorage,
    parse_faults,
)
from pychip_stream.sim.microscope import Microscope
from pychip_stream.sim.specimen import Experiment
from pychip_stream.sim.storage import Delivery
from pychip_stream.sim.truth import TruthLog
from tests.support.material import FRAME, state_of

QUICK = {"slow_s": 0.3, "rewrite_s": 0.05, "away_s": 0.1, "burst": 3}


def take(out, kinds, count=4, rate=1.0, formats=("dm4", "tiff"), seed=0, **times):
    """A microscope all of whose files suffer one of the faults; returns its storage."""
    plan = FaultPlan(tuple(kinds), rate, seed, **(QUICK | times))
    made = []

    def storage(root, truth):
        made.append(FaultyStorage(root, truth, plan))
        return made[0]

    experiment = Experiment("transformation", 0, count, (64, 64), interval_s=0.01, dose=100.0)
    Microscope(out, experiment, 10_000, formats, storage=storage).run()
    return made[0]


def frames(out):
    return sorted(
        path for path in out.rglob("*") if path.suffix in (".dm4", ".tiff") and path.is_file()
    )


def test_the_plan_is_a_function_of_seed_and_number():
    plan = FaultPlan(tuple(FAULTS), 0.3, 5)
    kinds = [plan.fault(n) for n in range(2000)]
    assert kinds == [FaultPlan(tuple(FAULTS), 0.3, 5).fault(n) for n in range(2000)]
    assert kinds != [FaultPlan(tuple(FAULTS), 0.3, 6).fault(n) for n in range(2000)]
    assert {kind for kind in kinds if kind} == set(FAULTS)
    share = sum(kind is not None for kind in kinds) / len(kinds)
    assert 0.25 < share < 0.35
    assert all(FaultPlan(("slow",), 0.0).fault(n) is None for n in range(100))


def test_faults_are_named_on_the_command_line():
    assert parse_faults(["all"]) == tuple(FAULTS)
    assert parse_faults(["slow", " missing ", "slow"]) == ("slow", "missing")
    assert parse_faults([""]) == ()
    with pytest.raises(UsageError, match="'fire' is unknown"):
        parse_faults(["fire"])
    for options in ({"rate": 1.5}, {"seed": -1}, {"slow_s": -1.0}, {"burst": 0}):
        with pytest.raises(UsageError):
            FaultPlan(("slow",), **options)


def test_the_journal_tells_what_was_done_and_what_is_expected(tmp_path):
    storage = take(tmp_path, FAULTS, 40, rate=0.5)
    journal = json.loads((tmp_path / JOURNAL_NAME).read_text())
    assert journal["faults"] == storage.entries
    assert sum(storage.counts.values()) == len(journal["faults"]) > 5
    for entry in journal["faults"]:
        assert entry["expected"] == EXPECTED.get(entry["fault"], "ok")
    absent = {e["path"] for e in journal["faults"] if e["expected"] == "absent"}
    failed = {e["path"] for e in journal["faults"] if e["expected"] == "failed"}
    there = {path.relative_to(tmp_path).as_posix() for path in frames(tmp_path)}
    assert len(there) + len(absent) == 40
    assert not absent & there
    for path in there:
        assert (state_of(tmp_path / path)[0] == "whole") == (path not in failed), path
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".tmp")]


def test_cut_and_damaged_files(tmp_path):
    take(tmp_path / "cut", ["truncated"], 8)
    for path in frames(tmp_path / "cut"):
        with pytest.raises(FrameIncompleteError):
            read_frame(path)
    take(tmp_path / "damaged", ["damaged"], 8)
    assert len(frames(tmp_path / "damaged")) == 8
    for path in frames(tmp_path / "damaged"):
        with pytest.raises(FrameError):
            read_frame(path)


def test_a_missing_frame_uses_up_its_number_and_is_no_truth(tmp_path):
    take(tmp_path, ["missing"], 3)
    assert frames(tmp_path) == []
    assert len((tmp_path / "truth.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize("kind", ["slow", "rewritten", "renamed", "burst", "vanishing"])
def test_in_the_end_the_files_are_what_they_would_have_been(tmp_path, kind):
    take(tmp_path / "with", [kind], 4)
    take(tmp_path / "without", [], 4)
    for path in frames(tmp_path / "without"):
        other = tmp_path / "with" / path.relative_to(tmp_path / "without")
        assert (read_frame(other).pixels == read_frame(path).pixels).all(), other


def during(out, kinds, look, **times):
    """What `look` sees while files are written."""
    seen, thread = [], threading.Thread(target=take, args=(out, kinds, 3), kwargs=times)
    thread.start()
    while thread.is_alive():
        seen.append(look())
        time.sleep(0.005)
    thread.join()
    return seen


def test_the_root_really_vanishes_and_comes_back(tmp_path):
    out = tmp_path / "acquisition"
    out.mkdir()
    seen = during(out, ["vanishing"], out.exists, away_s=0.3)
    assert False in seen
    assert len(frames(out)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["acquisition"]


def test_what_somebody_made_in_its_place_gives_way(tmp_path):
    out = tmp_path / "acquisition"

    def squat():
        if (tmp_path / ".acquisition.away").exists() and not out.exists():
            out.mkdir(exist_ok=True)  # it may have come back just now

    during(out, ["vanishing"], squat, away_s=0.2)
    assert len(frames(out)) == 3


def test_a_slow_file_grows_and_a_rewritten_one_is_whole_before(tmp_path):
    plan = FaultPlan(("slow", "rewritten"), 1.0, 0, slow_s=0.5, rewrite_s=0.3)
    storage = FaultyStorage(tmp_path, None, plan)
    data = FRAME + bytes(200_000)
    draft = bytes(len(FRAME)) + bytes(200_000)
    storage._slow(Delivery(0, "slow.dm4", data))
    storage._rewritten(Delivery(1, "again.dm4", data, draft=lambda: draft))
    assert 0 < (tmp_path / "slow.dm4").stat().st_size < len(data)
    assert (tmp_path / "again.dm4").read_bytes() == draft
    storage.finish()
    assert (tmp_path / "slow.dm4").read_bytes() == data
    assert (tmp_path / "again.dm4").read_bytes() == data


def test_stopping_leaves_nothing_half_done(tmp_path):
    stop = threading.Event()
    plan = FaultPlan(("slow", "burst"), 1.0, 3, slow_s=600.0, burst=50)
    experiment = Experiment("transformation", 0, 20, (64, 64), interval_s=0.01, dose=100.0)
    microscope = Microscope(
        tmp_path,
        experiment,
        10_000,
        storage=lambda root, truth: FaultyStorage(root, truth, plan),
    )
    start = time.monotonic()
    taken = microscope.run(stop, lambda delivery: delivery.number == 5 and stop.set())
    assert time.monotonic() - start < 300
    assert taken == 6
    assert all(state_of(path)[0] == "whole" for path in frames(tmp_path))
    assert len(frames(tmp_path)) == 6


def test_the_truth_is_there_before_the_file(tmp_path):
    order = []

    class Spy(TruthLog):
        def add(self, row):
            order.append((tmp_path / row.path).exists())

    plan = FaultPlan(("truncated", "slow", "rewritten", "renamed", "damaged"), 1.0, 0, **QUICK)
    experiment = Experiment("transformation", 0, 10, (64, 64), interval_s=0.01, dose=100.0)
    names = experiment.names
    Microscope(
        tmp_path,
        experiment,
        10_000,
        storage=lambda root, _truth: FaultyStorage(root, Spy(tmp_path / "t.csv", names), plan),
    ).run()
    assert order == [False] * 10
