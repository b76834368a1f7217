"""Guidance and audit on the command line, from a frame to corrected fractions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pychip_stream.cli.main import main
from pychip_stream.domain.chips import ChipSize
from pychip_stream.sim.frame_files import Exposure, encode
from pychip_stream.sim.specimen import Experiment

pytestmark = pytest.mark.slow


@pytest.fixture
def run(capsys):
    """Runs the command in this process; returns its JSON document."""

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words), "--json"])
        out, err = capsys.readouterr()
        assert not ended.value.code, err
        return json.loads(out)

    return call


def test_from_a_frame_to_audited_fractions(tmp_path, run):
    experiment = Experiment("transformation", 4, 6, (256, 256))
    frames = tmp_path / "frames"
    frames.mkdir()
    exposure = Exposure(pixel_size_nm=0.04, time=1e9, exposure_s=1.0, interval_s=1.0)
    for i in range(3):
        data = encode("tiff", experiment.frame(2 * i).pixels, exposure, f"f{i}")
        (frames / f"f{i}.tiff").write_bytes(data)
    first = frames / "f0.tiff"

    advice = run("grid", first)
    assert advice["kind"] == "lattice"
    assert advice["smallest"] <= advice["chip_size"] <= advice["largest"]
    drawn = run("grid", frames, "--png", tmp_path / "grid.png", "--chip-size", 32)
    assert drawn["frame"] == str(first)  # a folder stands for its first frame
    with Image.open(drawn["png"]) as picture:
        assert min(picture.size) > 256  # numbers around the frame

    size = ChipSize(32, 32)
    picks = experiment.picks(0, size, 3, np.random.default_rng(0))
    words = [f"{n}=" + ";".join(f"{r},{c}" for r, c in places) for n, places in picks.items()]
    support = tmp_path / "set.h5"
    options = [word for pick in words for word in ("--pick", pick)]
    made = run("support", "make", first, "--chip-size", 32, *options, "-o", support)
    assert len(made["quality"]) == sum(map(len, picks.values()))
    assert all(0 <= chip["influence"] <= 1 for chip in made["quality"])

    found = run("suggest", first, "--support", support, "--count", 4)["chips"]
    taken = {place for places in picks.values() for place in places}
    assert 1 <= len(found) <= 4
    assert not taken & {(chip["row"], chip["column"]) for chip in found}

    archive = tmp_path / "run.h5"
    done = run("classify", frames, "--support", support, "--out", archive)
    assert done["device"].startswith(("cpu/", "cuda", "mps"))
    drawn = run("audit", archive, "--frames", frames, "--count", 30)
    assert drawn["pictures"] == drawn["chips"] >= 30

    with Path(drawn["table"]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        truth = experiment.true_labels(2 * int(row["path"][1]), size)
        row["true_label"] = experiment.names[truth[int(row["row"]), int(row["column"])]]
    with Path(drawn["table"]).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    audited = run("audit", archive, "--labels", drawn["table"])
    assert audited["chips"] == len(rows)
    for number, name in enumerate(experiment.names):
        true = np.mean([experiment.true_labels(2 * i, size) == number for i in range(3)])
        low, high = audited["fractions"].get(name, [0, 0, 0])[1:]
        assert low - 0.1 <= true <= high + 0.1

    summary = tmp_path / "summary.csv"
    run("export", archive, "--summary", summary)
    assert summary.read_text().startswith("class,frames,mean")
