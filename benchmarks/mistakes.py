"""Mistakes on purpose: what the command says to what people get wrong.

    python benchmarks/mistakes.py [WORD…]      only the mistakes that contain a word

Each must end with one line that says what, where and what to do, with the right exit code (2: typed
or configured wrongly, 1: the work failed), no traceback, and nothing on standard output with
--json. Prints a table; the exit code is the number of bad rows, at most 100.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("pychip-stream"))
PICKS = ("--pick", "alpha=4,15;5,9;14,8", "--pick", "beta=9,14;11,13;13,15")
USAGE, FAILED = frozenset({2}), frozenset({1})
_LIMIT_S = 180
_LONGEST = 90


@dataclass(frozen=True)
class Mistake:
    """One slip: what is typed, and the exit codes that are right."""

    name: str
    words: tuple[str, ...]
    codes: frozenset[int] = USAGE
    says: str = ""
    json: bool = field(default=True, kw_only=True)


class Bench:
    """A folder with everything that mistakes are made on, built by the command itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.call("simulate", "practice", "--frames", "4", "--rate", "50")
        self.frame = str(min((folder / "practice").rglob("*.dm4")))
        self.call("support", "make", self.frame, "--chip-size", "32", *PICKS, "-o", "set.h5")
        self.call("classify", "practice", "--support", "set.h5", "--out", "run.h5")
        self.call("init", "made")
        (folder / "text.txt").write_text("no image at all")
        (folder / "fake.dm4").write_text("no image at all")
        (folder / "empty.tif").touch()
        (folder / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
        (folder / "cut.dm4").write_bytes(Path(self.frame).read_bytes()[:5000])
        (folder / "nothing").mkdir()
        (folder / "afile").write_text("in the way")
        (folder / "chips" / "only").mkdir(parents=True)
        (folder / "labels.csv").write_text("a,b\n1,2\n")

    def call(self, *words: str) -> None:
        """Run a command that must succeed."""
        done = self.type(words)
        if done.returncode:
            raise SystemExit(f"the bench cannot be built: {words}: {done.stderr}")

    def type(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """Run a command as somebody would who types it in the folder."""
        environment = os.environ | {"TERM": "dumb", "COLUMNS": "200"}
        return subprocess.run(
            [COMMAND, *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            stdin=subprocess.DEVNULL,
        )

    def config(self, name: str, text: str) -> str:
        """Write a configuration; returns the name of its file."""
        (self.folder / f"{name}.yaml").write_text(text)
        return f"{name}.yaml"


def typed(b: Bench) -> Iterator[Mistake]:
    """Type words that are no command, options that are none, values of the wrong kind."""
    yield Mistake("misspelt command", ("gird", b.frame), json=False, says="grid")
    yield Mistake("misspelt option", ("grid", b.frame, "--idnex", "0"), says="--idnex")
    yield Mistake("no argument", ("grid",))
    yield Mistake("one argument too many", ("grid", b.frame, b.frame))
    yield Mistake("--json with a value", ("grid", b.frame, "true"))
    yield Mistake("misspelt command of a group", ("support", "mkae"), json=False)
    yield Mistake("index below 0", ("grid", b.frame, "--index", "-1"))
    yield Mistake("index is a word", ("grid", b.frame, "--index", "two"))
    yield Mistake("index beyond the stack", ("grid", b.frame, "--index", "9"), USAGE | FAILED)
    yield Mistake("rate of 0", ("demo", "--rate", "0"))
    yield Mistake("no frames", ("demo", "--frames", "0"))
    yield Mistake("unknown method of a log", ("run", "made/config.yaml", "--log-format", "xml"))
    yield Mistake("unknown preprocessing", _make(b, "--preprocess", "sharpen"))
    yield Mistake("count of 0", ("suggest", b.frame, "--support", "set.h5", "--count", "0"))
    yield Mistake("port beyond 65535", ("review", "run.h5", "--port", "70000"), json=False)


def frames(b: Bench) -> Iterator[Mistake]:
    """Name frames that are not there or are none."""
    yield Mistake("frame is not there", ("grid", "x.dm4"), says="x.dm4")
    yield Mistake("folder without frames", ("grid", "nothing"), says="nothing")
    yield Mistake("text file as frame", ("grid", "text.txt"), USAGE | FAILED, "text.txt")
    yield Mistake("text called dm4", ("grid", "fake.dm4"), USAGE | FAILED, "fake.dm4")
    yield Mistake("empty file as frame", ("grid", "empty.tif"), FAILED, "empty.tif")
    yield Mistake("frame cut short", ("grid", "cut.dm4"), FAILED, "cut.dm4")
    yield Mistake("set as frame", ("grid", "set.h5"), USAGE | FAILED, "set.h5")
    yield Mistake("picture is called jpg", ("grid", b.frame, "--png", "g.jpg"), says=".png")
    yield Mistake("picture into no folder", ("grid", b.frame, "--png", "no/g.png"), FAILED)
    yield Mistake("grid of huge chips", ("grid", b.frame, "--png", "g.png", "--chip-size", "9999"))
    yield Mistake("suggest on no frame", ("suggest", "x.dm4", "--support", "set.h5"))


def _make(b: Bench, *words: str, chip_size: str = "32") -> tuple[str, ...]:
    return ("support", "make", b.frame, "--chip-size", chip_size, *PICKS, "-o", "new.h5", *words)


def supports(b: Bench) -> Iterator[Mistake]:
    """Ask for support sets that cannot be made, shown or published."""
    start = ("support", "make", b.frame, "--chip-size", "32", "-o", "new.h5")
    yield Mistake("pick without places", (*start, "--pick", "alpha"), says="--pick")
    yield Mistake("pick without a name", (*start, "--pick", "=1,2"), says="--pick")
    yield Mistake("pick with letters", (*start, "--pick", "a=x,y"), says="--pick")
    yield Mistake("pick with one number", (*start, "--pick", "a=3"), says="--pick")
    yield Mistake("pick outside the frame", (*start, "--pick", "a=99,0", "--pick", "b=0,0"))
    yield Mistake("pick below 0", (*start, "--pick", "a=-1,0", "--pick", "b=0,0"))
    yield Mistake("a single class", (*start, "--pick", "a=0,0;1,1"))
    yield Mistake("class called unknown", (*start, "--pick", "unknown=0,0", "--pick", "b=1,1"))
    yield Mistake("class called Unknown", (*start, "--pick", "Unknown=0,0", "--pick", "b=1,1"))
    yield Mistake("same chip in two classes", (*start, "--pick", "a=0,0", "--pick", "b=0,0;1,1"))
    yield Mistake("no pick at all", start)
    yield Mistake("chip size of a word", _make(b, chip_size="big"), says="chip size")
    yield Mistake("chip size 2", _make(b, chip_size="2"), says="chip size")
    yield Mistake("chip size above the frame", _make(b, chip_size="9999"))
    yield Mistake("unknown encoder", _make(b, "--encoder", "resnet19"), says="resnet19")
    yield Mistake("set below a file", (*start[:-1], "afile/s.h5", *PICKS), USAGE | FAILED)
    yield Mistake("set over an existing one", (*start[:-1], "set.h5", *PICKS), says="set.h5")
    yield Mistake("show: not there", ("support", "show", "x.h5"), says="x.h5")
    yield Mistake("show: a run", ("support", "show", "run.h5"), USAGE | FAILED, "run.h5")
    yield Mistake("show: damaged", ("support", "show", "broken.h5"), FAILED, "broken.h5")
    yield Mistake("show: a text", ("support", "show", "text.txt"), USAGE | FAILED, "text.txt")
    imports = ("support", "import")
    yield Mistake("import: no folder", (*imports, "x", "-o", "new.h5"), says="x")
    yield Mistake("import: folder without classes", (*imports, "nothing", "-o", "new.h5"))
    yield Mistake("import: class without chips", (*imports, "chips", "-o", "new.h5"))
    yield Mistake("import: range of words", (*imports, "chips", "--range", "a,b", "-o", "new.h5"))
    publish = ("support", "publish", "set.h5", "--config")
    yield Mistake("publish: no run goes on", (*publish, "made/config.yaml"), USAGE | FAILED)
    yield Mistake("publish: no config", (*publish, "x.yaml"), says="x.yaml")


def runs(_b: Bench) -> Iterator[Mistake]:
    """Classify and use archives where it cannot be done."""
    classify = ("classify", "practice", "--support", "set.h5", "--out")
    yield Mistake("classify nothing", ("classify", "x", "--support", "set.h5", "--out", "n.h5"))
    empty = ("classify", "nothing", "--support", "set.h5", "--out", "n.h5")
    yield Mistake("classify an empty folder", empty, says="nothing")
    yield Mistake("classify without a set", ("classify", "practice", "--out", "n.h5"))
    not_there = ("classify", "practice", "--support", "x.h5", "--out", "n.h5")
    yield Mistake("classify: set is not there", not_there, says="x.h5")
    a_run = ("classify", "practice", "--support", "run.h5", "--out", "n.h5")
    yield Mistake("classify: a run as set", a_run, USAGE | FAILED, "run.h5")
    yield Mistake("classify over a run", (*classify, "run.h5"), says="run.h5")
    yield Mistake("classify into a file", (*classify, "afile/n.h5"), USAGE | FAILED)
    yield Mistake("classify on a cluster", (*classify, "n.h5", "--cluster", "a:1"), says="a:1")
    yield Mistake("rescore: not there", ("rescore", "x.h5", "--support", "set.h5"), says="x.h5")
    yield Mistake(
        "rescore: a set as run", ("rescore", "set.h5", "--support", "set.h5"), USAGE | FAILED
    )
    yield Mistake("rescore: no set", ("rescore", "run.h5", "--support", "x.h5"), says="x.h5")
    yield Mistake("verify: not there", ("verify", "x.h5"), says="x.h5")
    yield Mistake("verify: no such folder", ("verify", "run.h5", "--frames", "x"), USAGE | FAILED)
    yield Mistake("audit: not there", ("audit", "x.h5"), says="x.h5")
    yield Mistake("audit: labels not there", ("audit", "run.h5", "--labels", "x.csv"))
    foreign = ("audit", "run.h5", "--labels", "labels.csv")
    yield Mistake("audit: foreign table", foreign, USAGE | FAILED)
    yield Mistake("export: not there", ("export", "x.h5", "--csv", "a.csv"), says="x.h5")
    below = ("export", "run.h5", "--csv", "afile/a.csv")
    yield Mistake("export below a file", below, USAGE | FAILED)
    yield Mistake("export onto a folder", ("export", "run.h5", "--csv", "nothing"), USAGE | FAILED)
    yield Mistake("export film as avi", ("export", "run.h5", "--mp4", "film.avi"))
    yield Mistake("export of a text", ("export", "text.txt", "--csv", "a.csv"), USAGE | FAILED)
    yield Mistake("review: not there", ("review", "x.h5"), json=False)
    yield Mistake("review: a set", ("review", "set.h5"), USAGE | FAILED, json=False)


def configs(b: Bench, port: int) -> Iterator[Mistake]:
    """Write configurations that cannot be used, and stand in the way of a run."""
    root = "watch: {root: made/acquisition}\n"
    texts = {
        "misspelt key": "watch: {root: made/acquisition, mod: poll}\n",
        "misspelt section": root + "archiv: {name: x}\n",
        "no root": "support: {folder: s}\n",
        "value of the wrong kind": root + "inference: {workers: many}\n",
        "value out of range": root + "inference: {workers: 0}\n",
        "bad name of the run": root + "archive: {name: 'a/b'}\n",
        "open address without keys": root + "wire: {host: 0.0.0.0}\n",
        "page for all without login": root + "dashboard: {address: 0.0.0.0}\n",
        "no YAML": "watch: {root: [\n",
        "backslashes in double quotes": 'watch: {root: "D:\\data"}\n',
        "empty configuration": "",
        "a list": "- watch\n",
        "rule without a limit": root + "alerts: {rules: [{name: a, quantity: unknown}]}\n",
        "command not allowed": root
        + "alerts: {rules: [{name: a, quantity: unknown, above: 0.1, command: [/bin/x]}]}\n",
    }
    for number, (name, text) in enumerate(texts.items()):
        where = b.config(f"config-{number}", text)
        yield Mistake(name, ("run", where), says=where)
    yield Mistake("configuration is not there", ("run", "x.yaml"), says="x.yaml")
    yield Mistake("image as configuration", ("run", b.frame))
    busy = b.config("busy", root + f"wire: {{events: {port}}}\n")
    yield Mistake("port in use", ("run", busy), USAGE | FAILED, str(port))
    yield Mistake("doctor: port in use", ("doctor", busy), FAILED, json=False)
    lost = b.config("lost", root + "support: {initial: x.h5}\ndashboard: {enabled: false}\n")
    yield Mistake("doctor: set is not there", ("doctor", lost), USAGE | FAILED, json=False)
    yield Mistake("init twice", ("init", "made"), says="made")
    yield Mistake("init below a file", ("init", "afile/x"), USAGE | FAILED)
    yield Mistake("status: no run goes on", ("status", "made/config.yaml"), USAGE | FAILED)
    yield Mistake("keys over keys", ("keys", "afile"), USAGE | FAILED)


def practice(_b: Bench) -> Iterator[Mistake]:
    """Ask the impossible of the practice microscope and the demo."""
    yield Mistake("simulate onto a file", ("simulate", "afile"), says="afile")
    yield Mistake("unknown scenario", ("simulate", "n", "--scenario", "magic"), says="magic")
    yield Mistake("unknown format", ("simulate", "n", "--format", "bmp"), says="bmp")
    yield Mistake("unknown fault", ("simulate", "n", "--faults", "fire"), says="fire")
    yield Mistake("size of a word", ("simulate", "n", "--size", "large"), says="size")
    yield Mistake("rate below 0", ("simulate", "n", "--rate", "-1"))
    yield Mistake("replay of nothing", ("simulate", "n", "--replay", "x"), says="x")
    yield Mistake("demo into a full folder", ("demo", "--out", "made"), says="made")
    yield Mistake("demo onto a file", ("demo", "--out", "afile"), says="afile")


def judge(bench: Bench, mistake: Mistake) -> tuple[str, str, list[str]]:
    """Make a mistake; returns exit code, last line, and what is wrong with the answer."""
    words = (*mistake.words, "--json") if mistake.json else mistake.words
    try:
        done = bench.type(words)
    except subprocess.TimeoutExpired:
        return "-", "", [f"did not end within {_LIMIT_S} s"]
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    last, wrong = (lines or [""])[-1].strip(), []
    if "Traceback" in done.stderr + done.stdout or last.startswith("error: unexpected "):
        wrong.append("traceback")
    if done.returncode not in mistake.codes:
        wrong.append(f"exit code not {' or '.join(map(str, sorted(mistake.codes)))}")
    if sum(line.startswith("error: ") for line in lines) != 1:
        wrong.append("not one line of error")
    if mistake.says not in done.stderr:
        wrong.append(f"does not say {mistake.says}")
    if mistake.json and done.stdout:
        wrong.append("something on standard output")
    return str(done.returncode), last, wrong


def main() -> int:
    """Make every mistake and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("words", nargs="*", help="only mistakes whose name contains one of these")
    parser.add_argument("--jobs", type=int, default=2, help="commands at once")
    parser.add_argument("--json", action="store_true", help="rows as one JSON document")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mistakes-"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        try:
            bench = Bench(folder)
            port = int(taken.getsockname()[1])
            parts = (typed, frames, supports, runs, practice)
            every = [m for part in parts for m in part(bench)] + list(configs(bench, port))
            chosen = [
                m for m in every if not options.words or any(w in m.name for w in options.words)
            ]
            with ThreadPoolExecutor(options.jobs) as pool:
                answers = list(pool.map(lambda m: judge(bench, m), chosen))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    rows = [(m.name, *answer) for m, answer in zip(chosen, answers, strict=True)]
    bad = sum(bool(wrong) for *_, wrong in rows)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        print("| mistake | exit | last line | verdict |\n|---|---|---|---|")
        for name, code, last, wrong in rows:
            short = last.replace(str(folder), "…").replace("|", "\\|")
            short = short if len(short) <= _LONGEST else short[: _LONGEST - 1] + "…"
            print(f"| {name} | {code} | {short} | {'; '.join(wrong) or 'good'} |")
        print(f"\n{len(rows)} mistakes, {bad} answered badly")
    return min(bad, 100)


if __name__ == "__main__":
    sys.exit(main())
