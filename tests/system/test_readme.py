"""The README's commands, taken out of it and run in order in an empty folder."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pychip_stream.analysis import benchmark
from tests.support.command import call_here
from tests.support.stack import COMMAND, call
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(1500)]

README = Path(__file__).resolve().parents[2] / "README.md"
ENDLESS = "Ctrl-C ends it"
"""Said beside a command that does not end by itself."""


def blocks(kind=""):
    """Fenced blocks from the learning part on."""
    text = README.read_text(encoding="utf-8")
    text = text[text.index("## Learn it") : text.index("## How it is built")]
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands():
    """(words, whether it ends by itself) of every line."""
    lines = [line for block in blocks() for line in block.splitlines()]
    assert all(line.startswith("pychip-stream ") for line in lines)
    return [(shlex.split(line, comments=True)[1:], ENDLESS not in line) for line in lines]


class Terminal:
    """A command that runs on while others are typed beside it."""

    def __init__(self, words, cwd):
        self.words = words
        self._log = (cwd / f"{words[0]}.log").open("w+")
        self.process = subprocess.Popen([COMMAND, *words], cwd=cwd, stderr=self._log)

    def last_line(self):
        self._log.seek(0)
        return (self._log.read().splitlines() or [""])[-1]

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        self._log.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty folder after everything but the benchmark was typed in it.

    What goes on beside the others is a process of the installed command.
    """
    cwd = tmp_path_factory.mktemp("reader")
    beside = []
    try:
        for words, ends in commands():
            if words[0] == "bench":
                continue
            if ends:
                code, out, err = call(*words, cwd=cwd)
                assert code == 0, f"{words}\n{err}"
                assert out.strip(), words
            else:
                beside.append(terminal := Terminal(words, cwd))
                wait_for(
                    lambda t=terminal: "http://127.0.0.1:" in t.last_line() or t.process.poll(),
                    f"the page of {words}",
                )
        codes = {one.words[0]: one.end() for one in beside}
        assert codes == {"review": 0, "run": 0}
    finally:
        for one in beside:
            one.close()
    return cwd


def test_every_command_works_and_leaves_what_it_promises(folder):
    names = {path.name for path in folder.iterdir()}
    assert {"grid.png", "set.h5", "run.h5", "fractions.csv", "curves.svg", "run.mp4"} <= names
    frames = [p for p in (folder / "practice").rglob("*") if p.suffix in (".dm4", ".tiff")]
    assert len(frames) == 24
    assert len(list((folder / "maps").glob("*_overlay.png"))) == len(frames)
    assert (folder / "my-experiment" / "runs" / "run.h5").is_file()


def test_the_picks_give_a_sensible_result(folder):
    truth = pd.read_csv(folder / "practice" / "truth.csv").set_index(["path", "index"])
    measured = pd.read_csv(folder / "fractions.csv").set_index(["path", "index"])
    measured.index = measured.index.set_levels(
        [next(p for p in truth.index.levels[0] if p.endswith(m)) for m in measured.index.levels[0]],
        level=0,
    )
    names = ["alpha", "beta", "amorphous", "vacuum"]
    assert (measured[names] - truth[names]).abs().to_numpy().mean() < 0.03
    assert measured["unknown"].mean() < 0.05


def test_the_python_lines_work_beside_them(folder):
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "alpha" in done.stdout
    assert "time_s" in done.stdout


def test_the_benchmark_works(monkeypatch):
    """Everybody has a turn; good figures take many, and seconds."""
    (words,) = (words for words, _ in commands() if words[0] == "bench")
    turns = benchmark.take_turns
    monkeypatch.setattr(
        benchmark, "take_turns", lambda them, _s, **how: turns(them, 0.0, **(how | {"least": 1}))
    )
    done = call_here(*words)
    assert done.code == 0, done.err
    assert "frames" in done.out
