"""The demo measures what the simulation knows to be true."""

import csv
from pathlib import Path

import numpy as np
import pytest

from pychip_stream.archive.run import open_run
from tests.support.stack import call, call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]

FRAMES, RATE = 40, 8


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    here, out = tmp_path_factory.mktemp("demo"), "Übung eins, with spaces"
    words = ("demo", "--frames", FRAMES, "--rate", RATE, "--out", out, "--no-browser")
    return here / out, call_json(*words, timeout_s=280, cwd=here)


def test_every_frame_is_archived_once(demo):
    out, document = demo
    assert document["frames"] == FRAMES
    assert document["failed"] == []
    files = [p for p in (out / "acquisition").rglob("*") if p.suffix in (".dm4", ".tiff", ".tif")]
    assert len(files) == FRAMES
    assert {p.suffix for p in files} >= {".dm4"}
    assert {p.suffix for p in files} & {".tif", ".tiff"}
    assert all(p.parent.name.startswith("Second_") for p in files)


def test_frames_stand_evenly_and_in_the_order_in_which_they_were_taken(demo):
    out, document = demo
    with open_run(document["run"]) as run:
        table = run.fractions
    taken = {row["path"]: float(row["time_s"]) for row in read(out / "acquisition" / "truth.csv")}
    wanted = sorted(taken, key=taken.get)
    assert list(table["path"]) == wanted
    written = [(out / "acquisition" / path).stat().st_mtime - taken[path] for path in wanted]
    found = table["time_s"].to_numpy() - [taken[path] for path in wanted]
    assert found[RATE:] == pytest.approx(0, abs=1e-5)
    # While the first second goes on, its frames are known as well as they were written.
    assert found[:RATE] == pytest.approx(0, abs=max(written[:RATE]) - min(written[:RATE]) + 1e-5)


def test_the_folder_may_be_relative(demo):
    out, document = demo
    assert Path(document["folder"]) == out.resolve()
    assert (out / "demo-support.h5").exists()


def test_the_measured_fractions_follow_the_truth(demo, tmp_path):
    out, document = demo
    target = tmp_path / "fractions.csv"
    code, _, err = call("export", document["run"], "--csv", target)
    assert code == 0, err
    measured, truth = read(target), read(out / "acquisition" / "truth.csv")
    names = [n for n in truth[0] if n not in ("frame", "index", "path", "time_s")]
    header = ["frame", "index", "path", "time_s"]
    for name in [*names, "unknown"]:
        header += [name, f"{name}_low", f"{name}_high"]
    assert list(measured[0]) == header
    by_path = {(row["path"], row["index"]): row for row in truth}
    assert len(measured) == FRAMES
    errors = [
        abs(float(row[name]) - float(by_path[row["path"], row["index"]][name]))
        for row in measured
        for name in names
    ]
    assert np.mean(errors) <= 0.03
    assert document["mean_abs_error"] == pytest.approx(np.mean(errors), abs=1e-3)
    # The truth moves far more than the error allowed, so a constant answer cannot pass.
    first, last = truth[0], truth[-1]
    assert max(abs(float(first[n]) - float(last[n])) for n in names) > 0.2
    for row in measured:
        for name in [*names, "unknown"]:
            low, value, high = (float(row[k]) for k in (f"{name}_low", name, f"{name}_high"))
            assert 0 <= low <= value <= high <= 1


def test_the_run_can_be_exported_whole(demo, tmp_path):
    _, document = demo
    chips, pictures, curves = tmp_path / "chips.csv", tmp_path / "png", tmp_path / "curves.svg"
    words = ("--chips-csv", chips, "--png", pictures, "--svg", curves)
    call_json("export", document["run"], *words)
    rows = read(chips)
    assert list(rows[0])[:5] == ["frame", "row", "column", "label", "confidence"]
    assert len(rows) == FRAMES * 16 * 16
    assert {"0", "15"} <= {row["row"] for row in rows}
    assert len(list(pictures.glob("*.png"))) >= FRAMES
    assert "<svg" in curves.read_text(encoding="utf-8")[:1000]
