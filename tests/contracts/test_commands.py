"""The command line: help, documents, tables, exit codes."""

import csv
import json
import re
from datetime import datetime

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.support.command import call_here
from tests.support.simple_runs import pixels

FRAMES, CHIP = 3, 32


@pytest.fixture
def plain(monkeypatch):
    """Help pages of one width, without colour."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")


def help_of(*words):
    called = call_here(*words, "--help")
    assert called.code == 0, called.err
    text = re.sub(r"\x1b\[[0-9;]*m", "", called.out)
    return "\n".join(line.rstrip() for line in text.splitlines())


def commands_in(page):
    """Names in the box of commands of a help page."""
    box = re.search(r"─ Commands ─.*?╰", page, re.S)
    return re.findall(r"^│ ([a-z]\S*) ", box[0], re.M) if box else []


def test_help_pages(snapshot, plain):
    pages, waiting = {}, [()]
    while waiting:
        words = waiting.pop()
        page = pages["-".join(("pychip-stream", *words))] = help_of(*words)
        waiting += [(*words, name) for name in commands_in(page)]
    assert len(pages) > 20
    snapshot("help", {f"{name}.txt": page for name, page in pages.items()})


def shape_of(value):
    """Keys and types of a JSON document; a list is what its members are."""
    if isinstance(value, dict):
        return {key: shape_of(one) for key, one in value.items()}
    if isinstance(value, list):
        kinds = {json.dumps(shape_of(one), ensure_ascii=False) for one in value}
        return [json.loads(kind) for kind in sorted(kinds)]
    return {str: "text", bool: "yes or no", type(None): "nothing"}.get(
        type(value), type(value).__name__
    )


class World:
    """A tiny experiment, and the documents of the commands that were run on it."""

    def __init__(self, folder):
        self.folder, self.documents = folder, {}
        self.frames = folder / "frames"
        self.run, self.set = folder / "run.h5", folder / "set.h5"
        self._simulated()
        self._examples()
        self._classified()
        self._others()

    def do(self, name, *words):
        self.documents[name] = call_here(*words, "--json").document
        return self.documents[name]

    def _simulated(self):
        self.truth = self.folder / "simulated" / "truth.csv"
        options = ("--frames", 2, "--rate", 1000, "--size", 64)
        self.do("simulate", "simulate", self.truth.parent, *options)

    def _examples(self):
        self.frames.mkdir()
        self.first = self.frames / "0.tif"
        tifffile.imwrite(self.first, pixels(0))
        self.other = self.folder / "other.h5"
        stripes, speckle = "stripes=0,0;1,0;2,0", "speckle=0,4;1,4;2,4"
        alike = ("up=0,4;0,3;1,3", "down=3,4;3,3;2,3")
        for name, out, *picks in (
            ("support make", self.set, stripes, speckle),
            ("support make, confused", self.other, *alike),
        ):
            options = [word for pick in picks for word in ("--pick", pick)]
            self.do(name, "support", "make", self.first, "--chip-size", CHIP, *options, "-o", out)
        rng = np.random.default_rng(0)
        for name, spread in (("smooth", 5), ("rough", 60)):
            (self.folder / "pictures" / name).mkdir(parents=True)
            for n in range(3):
                picture = rng.normal(128, spread, (CHIP, CHIP)).clip(0, 255).astype(np.uint8)
                Image.fromarray(picture).save(self.folder / "pictures" / name / f"{n}.png")
        self.imported = self.folder / "imported.h5"
        self.do(
            "support import", "support", "import", self.folder / "pictures", "-o", self.imported
        )
        self.do("support show", "support", "show", self.set)
        self.do("grid", "grid", self.first)
        self.do("suggest", "suggest", self.first, "--support", self.set)

    def _classified(self):
        for n in range(1, FRAMES):
            tifffile.imwrite(self.frames / f"{n}.tif", pixels(n))
        (self.frames / "broken.tif").write_bytes(b"no picture")
        self.do("classify", "classify", self.frames, "--support", self.set, "--out", self.run)
        self.do("rescore", "rescore", self.run, "--support", self.other, "--no-default")
        self.do("verify", "verify", self.run)
        audit = self.folder / "audit"
        self.do("audit", "audit", self.run, "--out", audit, "--count", 6)
        self.table = next(audit.glob("*.csv"))
        with self.table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        filled = self.folder / "filled.csv"
        with filled.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(row | {"true_label": "stripes"} for row in rows)
        self.do("audit --labels", "audit", self.run, "--labels", filled)
        self.do("export", "export", self.run)
        kinds = ("csv", "chips-csv", "pychip-csv", "summary")
        self.tables = {kind: self.folder / f"{kind}.csv" for kind in kinds}
        options = [word for kind, file in self.tables.items() for word in (f"--{kind}", file)]
        self.do("export to files", "export", self.run, *options)
        self.do("exclude", "exclude", self.run, "1")
        self.tables["excluded"] = self.folder / "excluded.csv"
        excluded = ("--excluded", "--csv", self.tables["excluded"])
        self.do("export with what is left out", "export", self.run, *excluded)
        self.do("exclude --undo", "exclude", self.run, "1", "--undo")
        self.do("events", "events", self.run, "--mark", "gas on", "--at", "0.5", "--propose")
        self.tables["events"] = self.folder / "events.csv"
        self.tables["against"] = self.folder / "against.csv"
        against = ("--csv", self.tables["against"], "--against", "intensity_mean")
        self.do("export of events", "export", self.run, "--events", self.tables["events"], *against)

    def _others(self):
        experiment = self.folder / "experiment"
        self.do("init", "init", experiment)
        self.do("doctor", "doctor")
        self.do("doctor CONFIG", "doctor", experiment / "config.yaml")
        self.do("keys", "keys", self.folder / "keys")
        self.do("keys --client", "keys", self.folder / "keys", "--client", "gpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def test_documents(snapshot, world):
    found = {}
    for name, document in world.documents.items():
        text = json.dumps(shape_of(document), indent=1, ensure_ascii=False)
        found[f"{re.sub(r'[^a-zA-Z]+', '-', name)}.json"] = text
    snapshot("documents", found)


def kind_of(text):
    for kind, read in (("number", float), ("moment", datetime.fromisoformat)):
        try:
            read(text)
        except ValueError:
            continue
        return kind
    return "text" if text else "empty"


def columns_of(path):
    """Column names of a table, with what the first row holds."""
    with path.open(newline="", encoding="utf-8") as file:
        head, first = next(reader := csv.reader(file)), next(reader)
    return "\n".join(f"{name}: {kind_of(text)}" for name, text in zip(head, first, strict=True))


def test_tables(snapshot, world):
    tables = world.tables | {"audit": world.table, "truth": world.truth}
    snapshot("tables", {f"{name}.txt": columns_of(path) for name, path in tables.items()})


MISTAKES = """
pychip-stream
frobnicate
init
init DIR/experiment
run DIR/nothing.yaml
run DIR/broken.yaml
run DIR/misspelt.yaml
simulate DIR/set.h5
simulate DIR/out --faults earthquake
simulate DIR/out --size huge
grid DIR/nothing.dm4
grid DIR/broken.yaml
support
support show DIR/nothing.h5
support show DIR/run.h5
support make FRAME --chip-size 32 --pick a -o DIR/new.h5
support make FRAME --chip-size 32 --pick a=0,0 -o DIR/new.h5
support make FRAME --chip-size 32 --pick a=0,0 --pick b=9,9 -o DIR/new.h5
support make FRAME --chip-size zero --pick a=0,0 --pick b=1,1 -o DIR/new.h5
support import DIR/nothing -o DIR/new.h5
support import DIR/pictures --range 5 -o DIR/new.h5
support publish DIR/set.h5 --config DIR/experiment/config.yaml
classify FRAME --support DIR/nothing.h5 --out DIR/new.h5
classify FRAME --support DIR/set.h5 --out DIR/new.h5 --method magic
classify DIR/nothing --support DIR/set.h5 --out DIR/new.h5
classify FRAME --support DIR/set.h5
classify DIR/frames/broken.tif --support DIR/set.h5 --out DIR/failed.h5
rescore DIR/nothing.h5 --support DIR/set.h5
rescore DIR/set.h5 --support DIR/set.h5
verify DIR/run.h5 --frames DIR/nothing
verify DIR/run.h5 --scoring nothing
audit DIR/run.h5 --labels DIR/nothing.csv
audit DIR/run.h5 --frames DIR/nothing
export DIR/run.h5
export DIR/nothing.h5 --json
export DIR/run.h5 --scoring nothing --json
export DIR/run.h5 --csv DIR/nothing/a.csv
exclude DIR/nothing.h5
exclude DIR/run.h5 99
exclude DIR/run.h5 0-99
exclude DIR/run.h5 nothing.tif
exclude DIR/run.h5 --undo
events DIR/nothing.h5
events DIR/run.h5 --mark x --at soon
events DIR/run.h5 --remove nothing
export DIR/run.h5 --csv DIR/a.csv --against magnification
status DIR/experiment/config.yaml
keys DIR/keys --services
keys DIR/keys --client ../x
doctor DIR/misspelt.yaml
"""


def test_exit_codes_of_mistakes(snapshot, world):
    (world.folder / "broken.yaml").write_text("watch: [")
    (world.folder / "misspelt.yaml").write_text("watch: {root: frames, rot: x}")
    rows = []
    for line in MISTAKES.strip().splitlines():
        words = [
            word.replace("DIR", str(world.folder)).replace("FRAME", str(world.first))
            for word in line.split()
            if word != "pychip-stream"
        ]
        called = call_here(*words)
        assert "Traceback" not in called.err
        rows.append(f"{called.code}  {line}")
    snapshot("exit-codes", {"mistakes.txt": "\n".join(rows)})
