"""Packages of others: a module with an entry point, seen by a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELPERS = ROOT / "tests" / "unit" / "archive"


def install(folder, group, target, code):
    """Lay a distribution `outside` into a folder: its module, and one entry point to it."""
    folder.mkdir(exist_ok=True)
    (folder / "outside.py").write_text(code)
    info = folder / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nsomething = outside:{target}\n")
    return folder


def tell(folder, script, *words):
    """Run a script that sees the packages in `folder`; returns the JSON of its last line."""
    path = os.pathsep.join(map(str, (folder, ROOT, HELPERS)))
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
