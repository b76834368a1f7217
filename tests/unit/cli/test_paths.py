"""Every path that any command takes may be written in any way."""

import csv
import inspect
import json
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from pychip_stream.archive.run import open_run
from pychip_stream.cli import main
from pychip_stream.domain.chips import ChipSize
from pychip_stream.model.encoders import device
from pychip_stream.sim.frame_files import Exposure, encode
from pychip_stream.sim.specimen import Experiment

FRAME = "frames/Hour_00/Minute 01/f 0.tiff"
EXPERIMENT = Experiment("transformation", 4, 6, (128, 128))
HUB = """
watch: {root: ../frames}
dashboard: {enabled: false}
archive: {name: live}
machine: {services: [hub]}
wire: {tasks: %d, results: %d, requests: %d, events: %d}
"""

CALLS = [
    ("init", {"folder": "a new one"}, ()),
    ("keys", {"folder": "clés"}, ()),
    ("doctor", {"config": "a new one/config.yaml"}, ()),
    ("simulate", {"out": "practice", "control": "furnace.json", "holder_log": "hält.csv"},
     ("--frames", 2, "--rate", 1000, "--size", 128, "--format", "tiff")),
    ("simulate", {"out": "again", "replay": "practice"}, ("--rate", 1000)),
    ("grid", {"frame": FRAME, "png": "gitter.png"}, ()),
    ("support make", {"frame": FRAME, "out": "ein Satz.h5"}, ("--chip-size", 32, "PICKS")),
    ("support import", {"folder": "classes", "out": "imported.h5"}, ()),
    ("support show", {"path": "ein Satz.h5"}, ()),
    ("suggest", {"frame": FRAME, "support": "ein Satz.h5"}, ()),
    ("classify", {"paths": "frames", "support": "ein Satz.h5", "out": "läuft.h5",
                  "stimulus": "hält.csv"}, ()),
    ("stimulus", {"path": "läuft.h5", "files": "hält.csv"}, ()),
    ("events", {"path": "läuft.h5"}, ()),
    ("verify", {"path": "läuft.h5", "frames": "frames"}, ()),
    ("verify", {"path": "läuft.h5"}, ()),
    ("audit", {"path": "läuft.h5", "frames": "frames", "out": "prüfen"}, ("--count", 4)),
    ("audit", {"path": "läuft.h5", "labels": "prüfen/audit.csv"}, ()),
    ("exclude", {"path": "läuft.h5"}, ()),
    ("rescore", {"runs": "läuft.h5", "support": "ein Satz.h5"}, ()),
    ("export", {"path": "läuft.h5", "frames": "frames", "csv": "t.csv", "chips_csv": "c h.csv",
                "pychip_csv": "p.csv", "png": "maps", "svg": "s.svg", "mp4": "f.mp4",
                "gif": "f.gif", "summary": "ü.csv", "quantities": "q.csv",
                "chart": "c.png", "events": "e.csv"}, ()),
    ("run", {"path": "services/hub.yaml"}, ()),
    ("status", {"config": "services/hub.yaml"}, ()),
    ("support publish", {"path": "ein Satz.h5", "config_path": "services/hub.yaml"}, ()),
]  # fmt: skip
"""Command, its paths below one folder, other words; each uses what those before have made."""
ELSEWHERE = {
    ("demo", "out"), ("review", "paths"),
    ("classify", "tls_ca"), ("classify", "tls_cert"), ("classify", "tls_key"),
    ("rescore", "tls_ca"), ("rescore", "tls_cert"), ("rescore", "tls_key"),
}  # fmt: skip
"""Tried by test_demo.py, test_review.py and test_cluster.py, since they start servers."""


def commands(group, words=()):
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*words, name))
        else:
            yield " ".join((*words, name)), one


COMMANDS = dict(commands(typer.main.get_command(main._program([]))))


def words_of(command, values):
    """Write arguments and options as they are typed."""
    words = []
    for param in COMMANDS[command].params:
        if param.name in values:
            option = [] if param.param_type_name == "argument" else [param.opts[-1]]
            words += [*option, str(values[param.name])]
    return [*command.split(), *words]


def test_every_path_of_every_command_is_tried():
    taken = {
        (command, param.name)
        for command, one in COMMANDS.items()
        for param in one.params
        if "Path" in repr(inspect.signature(one.callback).parameters[param.name].annotation)
    }
    assert taken == {(c, name) for c, values, _ in CALLS for name in values} | ELSEWHERE


def free_ports(count):
    with ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
                for _ in range(count)]  # fmt: skip


@contextmanager
def running(config, world):
    """`run` of a hub, until it is told to stop."""
    command = [sys.executable, "-m", "pychip_stream.cli.main", "run", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if "seen 0" in line:
                    break
            yield
        finally:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert list((world / "services" / "runs").glob("live*"))


@pytest.fixture(autouse=True)
def handlers():
    """`simulate` takes over what signals do."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def fill_in(table):
    """Answer every question of an audit with a class, as somebody does who looks at pictures."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "true_label": EXPERIMENT.names[0]} for row in rows)


@pytest.fixture
def world(tmp_path):
    """A folder of frames, one below the other, and of classes."""
    home = tmp_path / "Messung α β"
    for i in range(2):
        path = home / FRAME.replace("f 0", f"f {i}")
        path.parent.mkdir(parents=True, exist_ok=True)
        exposure = Exposure(pixel_size_nm=0.04, time=1e9 + i, exposure_s=1.0, interval_s=1.0)
        path.write_bytes(encode("tiff", EXPERIMENT.frame(i).pixels, exposure, f"f {i}"))
    rng = np.random.default_rng(0)
    for name, bright in (("matt", 60), ("hell", 160)):
        folder = home / "classes" / name
        folder.mkdir(parents=True)
        for i in range(2):
            pixels = rng.normal(bright, 12, (32, 32)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    (home / "furnace.json").write_text('{"temperature_c": 300}')
    (home / "services").mkdir()
    (home / "services" / "hub.yaml").write_text(HUB % tuple(free_ports(4)))
    (tmp_path / "somewhere else").mkdir()
    return home


def odd_path(home):
    """Write a folder as one of its neighbours may: relative, and through a link, if it can be."""
    if sys.platform == "win32":  # links need rights there
        return Path("..", home.name)
    link = home.parent / "a link"
    link.symlink_to(home, target_is_directory=True)
    return Path("..", link.name)


@pytest.mark.slow
def test_paths_may_be_written_in_any_way(world, monkeypatch, capsys):
    monkeypatch.setattr(device, "_measure", lambda _, place: device.Placement(place))
    monkeypatch.chdir(world.parent / "somewhere else")
    base = odd_path(world)
    picks = EXPERIMENT.picks(0, ChipSize(32, 32), 2, np.random.default_rng(0))
    texts = [f"{n}=" + ";".join(f"{r},{c}" for r, c in at) for n, at in picks.items()]
    with running(base / "services" / "hub.yaml", world):
        for command, values, others in CALLS:
            if command == "run":
                continue  # it is going on
            words = words_of(command, {name: base / place for name, place in values.items()})
            for other in others:
                pairs = [w for t in texts for w in ("--pick", t)] if other == "PICKS" else [other]
                words += map(str, pairs)
            code = main._run([*words, "--json"], debug=False)
            out, err = capsys.readouterr()
            assert code == 0, f"{command}: {err}"
            document = json.loads(out)
            if command == "classify":
                assert document["frames"] == 2
                assert not document["failed"]
            if command == "verify":
                assert document["compared"] == 2
            if command == "audit" and "pictures" in document:
                assert document["pictures"] == document["chips"]
                fill_in(world / "prüfen" / "audit.csv")
    for name in CALLS[-4][1].values():
        assert (world / name).exists()
    with open_run(world / "läuft.h5") as run:
        assert run.root == world.resolve() / "frames"
    assert not list((world.parent / "somewhere else").iterdir())
