"""The command line as a whole: how fast it answers, how it completes, how Ctrl-C ends it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pychip_stream import __version__
from pychip_stream.cli import main as command_line
from pychip_stream.operation.running import module

HEAVY = {
    "torch",
    "sklearn",
    "panel",
    "matplotlib",
    "pandas",
    "h5py",
    "bokeh",
    "av",
    "scipy.ndimage",
}
LINES = [
    *([name, "--help"] for name in command_line._COMMANDS),
    *(["support", name, "--help"] for name in ("make", "import", "show", "publish")),
    ["--help"],
    ["--version"],
    ["clasify"],
    [],
]

ANSWERS = """
import json, sys
from pychip_stream.cli.main import main
lines, heavy = map(json.loads, sys.argv[1:])
found = []
for words in lines:
    try:
        main(words)
    except SystemExit as end:
        found.append((words, end.code, [name for name in heavy if name in sys.modules]))
print()
print(json.dumps(found))
"""


def loaded(*words, **environment):
    """Run `python -m pychip_stream`; returns what it printed and the modules that it loaded."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pychip_stream", *words],
        capture_output=True, text=True, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip
    modules = set(re.findall(r"^import time:.*\|\s+([\w.]+)$", done.stderr, re.MULTILINE))
    assert "pychip_stream.cli.main" in modules or "pychip_stream.cli" in modules
    return done, modules


def test_help_and_slips_wait_for_no_heavy_library():
    """One process answers them all: what any of them loads is there at its end."""
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS, json.dumps(LINES), json.dumps(sorted(HEAVY))],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for words, code, heavy in json.loads(done.stdout.splitlines()[-1]):
        assert code == (0 if words[-1:] in (["--help"], ["--version"]) else 2), words
        assert heavy == [], words


def test_the_version_is_told_without_any_too():
    done, modules = loaded("--version")
    assert done.stdout == f"pychip-stream {__version__}\n"
    assert HEAVY & modules == set()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pychip-stream cla", ["classify"]),
        ("pychip-stream re", ["review", "rescore"]),
        ("pychip-stream support pu", ["publish"]),
        ("pychip-stream classify --supp", ["--support"]),
    ],
)
def test_words_are_completed(typed, completed):
    done = subprocess.run(
        [Path(sys.executable).with_name("pychip-stream")],
        capture_output=True, text=True, timeout=120,
        env={**os.environ, "_PYCHIP_STREAM_COMPLETE": "complete_bash", "COMP_WORDS": typed,
             "COMP_CWORD": str(len(typed.split()) - 1)},
    )  # fmt: skip
    assert done.stdout.split() == completed


def interrupted(monkeypatch, capsys, *words):
    with pytest.raises(SystemExit) as end:
        command_line.main(words)
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (130, "")
    assert err.count("\n") == 1
    return err


def interrupt(*_args, **_options):
    raise KeyboardInterrupt


def test_ctrl_c_while_loading_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(command_line, "import_module", interrupt)
    assert "the same command" in interrupted(monkeypatch, capsys, "grid", "x.tif")


def test_ctrl_c_in_a_command_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("pychip_stream.formats.guarded.GuardedReader.read_frame", interrupt)
    assert "the same command" in interrupted(monkeypatch, capsys, "grid", "x.tif")


SHADOWS = (
    "yaml", "typing", "functools", "contextlib", "pkgutil", "importlib", "warnings", "re", "enum",
    "typer", "rich", "click", "pydantic", "msgspec", "zmq", "numpy", "h5py", "psutil", "services",
)  # fmt: skip
COMMANDS = [
    (sys.executable, "-m", "pychip_stream", "status"),
    (sys.executable, "-m", "pychip_stream.services.hub"),
    (sys.executable, "-m", "pychip_stream.cli.main", "status"),
    (str(Path(sys.executable).with_name("pychip-stream")), "status"),
    (*module("services.hub"),),
    (*module("services.archiver"),),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[-2:]))
def test_nothing_is_imported_from_where_it_is_typed(tmp_path, command):
    for name in SHADOWS:
        text = f"import sys; sys.stderr.write('shadow {name}'); raise SystemExit(9)"
        (tmp_path / f"{name}.py").write_text(text)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [*command, "none.yaml"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert "shadow" not in done.stderr
    assert (done.returncode, "none.yaml: cannot be read" in done.stderr) == (2, True)
