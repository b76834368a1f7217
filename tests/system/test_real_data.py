"""Real micrographs through the installed commands and real processes."""

import re
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.support.stack import call, call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]

# Places of the authors' own chips on the grid of LaO.png (their names count from one).
SQUARES = "5,2;8,1;13,17;18,6;22,17;22,18;22,19;22,20"
DIAMONDS = "1,3;1,4;8,17;9,11;12,4;12,10"


def shifted(places):
    pairs = [[int(n) - 1 for n in pair.split(",")] for pair in places.split(";")]
    return ";".join(f"{row},{column}" for row, column in pairs)


@pytest.fixture(scope="module")
def lao(shared_data, tmp_path_factory):
    """A support set picked from LaO.png, and the image as a grey array."""
    out = tmp_path_factory.mktemp("lao") / "lao.h5"
    image = shared_data / "pychip_fig2bc" / "LaO.png"
    picks = ("--pick", f"squares={shifted(SQUARES)}", "--pick", f"diamonds={shifted(DIAMONDS)}")
    document = call_json("support", "make", image, "--chip-size", "34x35", *picks, "-o", out)
    assert {c["name"]: c["chips"] for c in document["classes"]} == {"squares": 8, "diamonds": 6}
    return out, image


@pytest.fixture(scope="module")
def moo3(shared_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("moo3") / "moo3.h5"
    image = shared_data / "pychip_fig2bc" / "MoO3.tiff"
    picks = []
    for folder in sorted((image.parent / "MoO3_support").iterdir()):
        # cropX_COLUMN_Y_ROW, zero-based
        places = [re.findall(r"\d+", chip.stem) for chip in sorted(folder.iterdir())]
        picks += ["--pick", f"{folder.name}=" + ";".join(f"{row},{col}" for col, row in places)]
    call_json("support", "make", image, "--chip-size", 32, *picks, "-o", out)
    return out, image


def test_the_authors_chips_are_imported(shared_data, tmp_path):
    folder = shared_data / "pychip_fig2bc"
    for name, size, counts in (
        ("LaO", "34x35", {"diamonds": 6, "squares": 8}),
        ("MoO3", "32", {"background": 2, "edge": 5, "flat": 17}),
    ):
        out = tmp_path / f"{name}.h5"
        words = ("support", "import", folder / f"{name}_support", "--chip-size", size, "-o", out)
        call_json(*words)
        shown = call_json("support", "show", out)
        assert {c["name"]: c["chips"] for c in shown["classes"]} == counts
        assert shown["chip_size"] == size
        assert shown["encoder"]["name"]


def test_imported_and_picked_chips_agree(shared_data, lao, tmp_path):
    """Chips cut from the image as it is lead to the same labels, however they came in."""
    picked, image = lao
    imported = tmp_path / "imported.h5"
    call_json("support", "import", image.parent / "LaO_support", "-o", imported)
    rows = [
        call_json("classify", image, "--support", s, "--out", tmp_path / f"{n}.h5", "--no-reject")
        for n, s in enumerate((picked, imported))
    ]
    values = [row["fractions"][0]["squares"] for row in rows]
    assert abs(values[0] - values[1]) < 0.1


def test_the_examples_themselves_are_recognised(shared_data, lao, tmp_path):
    support, image = lao
    call_json("classify", image, "--support", support, "--out", tmp_path / "lao.h5")
    chips = tmp_path / "chips.csv"
    call_json("export", tmp_path / "lao.h5", "--chips-csv", chips)
    labels = {}
    for line in chips.read_text(encoding="utf-8").splitlines()[1:]:
        _, row, column, label, *_ = line.split(",")
        labels[int(row), int(column)] = label
    assert len(labels) == 22 * 23
    right = [
        labels[tuple(int(n) for n in pair.split(","))] == name
        for name, places in (("squares", SQUARES), ("diamonds", DIAMONDS))
        for pair in shifted(places).split(";")
    ]
    assert np.mean(right) >= 0.9


def test_a_real_image_copied_in_appears_everywhere(shared_data, moo3, stack):
    """As png, tiff and dm4: in the archive and on the terminal, with the same fractions."""
    support, image = moo3
    run = stack(support).start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    pixels = tifffile.imread(image)
    Image.fromarray(pixels).save(run.folder / "MoO3.png")
    (run.folder / "MoO3.png").rename(run.root / "MoO3.png")  # moved in
    shutil.copy(image, run.root / "MoO3.tiff")  # copied in
    deep = run.root / "Hour_00" / "Minute_00" / "Second_00"
    deep.mkdir(parents=True)
    shutil.copy(shared_data / "dm" / "MoO3_u16.dm4", deep)
    run.wait_archived(3)
    run.listen_for(lambda: any("flat 0." in line for line in run.log), "fractions on the terminal")
    code, document = run.stop()
    assert code == 0
    assert (document["frames"], document["failed"]) == (3, [])
    with run.run() as archive:
        table = archive.fractions
    assert sorted(p.rsplit("/", 1)[-1] for p in table["path"]) == [
        "MoO3.png",
        "MoO3.tiff",
        "MoO3_u16.dm4",
    ]
    for name in ("background", "edge", "flat"):
        assert np.ptp(table[name]) < 1e-6
        assert (table[f"{name}_low"] <= table[name]).all()
    assert table["flat"].iloc[0] > 0.04


def test_the_same_without_services(shared_data, moo3, tmp_path):
    support, image = moo3
    document = call_json(
        "classify", image, shared_data / "dm" / "MoO3_u16.dm4", "--support", support,
        "--out", tmp_path / "run.h5",
    )  # fmt: skip
    assert document["frames"] == 2
    first, second = document["fractions"]
    assert first["flat"] == pytest.approx(second["flat"], abs=1e-6)
    code, out, _ = call("classify", image, "--support", support, "--out", tmp_path / "run.h5")
    assert code == 2, out
