"""The practice microscope does its worst, processes are killed, and the archive is right."""

import json
import random
import subprocess
import sys
import time

import pytest

from pychip_stream.formats.reading import read_frame
from pychip_stream.sim.faults import FAULTS
from tests.support.stack import COMMAND, call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]

FRAMES = 40


@pytest.fixture
def experiment(tmp_path, stack):
    first = tmp_path / "first"
    call_json(
        "simulate", first, "--frames", 1, "--rate", 100, "--size", "128x128", "--format", "tiff"
    )
    picks = ("--pick", "a=0,0;1,1;2,0", "--pick", "b=3,3;2,2;0,3")
    frame = next(first.rglob("*.tif*"))
    call_json("support", "make", frame, "--chip-size", 32, *picks, "-o", tmp_path / "s.h5")
    return stack(tmp_path / "s.h5", watch={"incomplete_s": 2.0, "quiet_s": 0.5})


def test_all_faults_at_once_and_the_watcher_and_the_worker_killed(experiment):
    run = experiment.start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    words = [
        COMMAND, "simulate", str(run.root), "--frames", str(FRAMES), "--rate", "8", "--size",
        "128x128", "--faults", "all", "--fault-rate", "0.5", "--seed", "7", "--json",
    ]  # fmt: skip
    rng = random.Random(0)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as microscope:
        kills = 0
        while microscope.poll() is None:
            run.monitor.listen(rng.uniform(0.3, 1.0))
            name = ("services.watcher", "services.inference")[kills % 2]
            victim = run.service(name) if sys.platform != "win32" and kills < 4 else None
            if victim is not None and time.time() - victim.create_time() > 2.0:
                victim.kill()
                kills += 1
        document = json.loads(microscope.stdout.read())
    journal = json.loads((run.root / "faults.json").read_text())
    assert {entry["fault"] for entry in journal["faults"]} == set(FAULTS)
    there = {
        path.relative_to(run.root).as_posix()
        for path in run.root.rglob("*")
        if path.suffix in (".dm4", ".tiff")
    }
    absent = {e["path"] for e in journal["faults"] if e["expected"] == "absent"}
    failed = {e["path"] for e in journal["faults"] if e["expected"] == "failed"}
    assert len(there) + len(absent) == document["files"] == FRAMES

    def settled():
        counter = run.monitor.counter
        done = counter("archived") >= len(there) and counter("failed") >= len(failed)
        return done and counter("behind") == counter("settling") == 0

    run.listen_for(settled, "every frame has its row", 120)
    code, _ = run.stop()
    assert code == 0
    with run.run() as archive:
        table = archive.frames
    keys = list(zip(table["path"], table["index"], strict=True))
    assert sorted(keys) == sorted((path, 0) for path in there)
    status = dict(zip(table["path"], table["status"], strict=True))
    assert {path for path, state in status.items() if state == "failed"} == failed
    # What was archived last is what is on the disk.
    for path, size, mtime_ns in zip(table["path"], table["size"], table["mtime_ns"], strict=True):
        stat = (run.root / path).stat()
        assert (size, mtime_ns) == (stat.st_size, stat.st_mtime_ns), path
        if status[path] == "ok":
            assert read_frame(run.root / path).shape == (128, 128)


def test_a_real_folder_is_replayed_with_faults(tmp_path):
    series = ("--frames", 6, "--rate", 1000, "--size", "64x64")
    call_json("simulate", tmp_path / "real", *series)
    document = call_json(
        "simulate", tmp_path / "out", "--replay", tmp_path / "real", "--rate", 1000,
        "--faults", "missing", "--fault-rate", 0.5, "--seed", 1,
    )  # fmt: skip
    names = {path.name for path in (tmp_path / "real/transformation").rglob("*.*")}
    replayed = {path.name for path in (tmp_path / "out/transformation").rglob("*.*")}
    assert document["expected"] == document["files"] == len(names) == 6
    assert len(names - replayed) == document["faults"]["missing"] > 0
    assert replayed < names
