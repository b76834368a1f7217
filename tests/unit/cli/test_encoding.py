"""Class names may have any letters, whatever code page the output goes to."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pychip_stream.cli.main import main

NAMES = ["α", "β phase"]


@pytest.fixture
def piped(monkeypatch):
    """Runs a command whose output goes into a pipe on Windows; returns its JSON document."""

    def call(*words):
        stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            with pytest.raises(SystemExit) as ended:
                main([*map(str, words), "--json"])
        assert not ended.value.code
        return json.loads(stream.buffer.getvalue().decode("utf-8"))

    return call


def test_letters_that_no_code_page_has_are_printed(tmp_path, piped):
    rng = np.random.default_rng(0)
    frame = tmp_path / "frame.tif"
    Image.fromarray(rng.integers(0, 255, (64, 64)).astype(np.uint8)).save(frame)
    target = tmp_path / "set.h5"
    picks = [w for i, n in enumerate(NAMES) for w in ("--pick", f"{n}={i},0;{i},1")]
    piped("support", "make", frame, "--chip-size", 16, *picks, "-o", target)
    done = piped("classify", frame, "--support", target, "--out", tmp_path / "run.h5")
    assert set(NAMES) < set(done["fractions"][0])

    command = [sys.executable, "-m", "pychip_stream.cli.main", "support", "show", str(target)]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    shown = subprocess.run([*command, "--json"], capture_output=True, env=environment)
    assert shown.returncode == 0, shown.stderr
    assert all(name in shown.stdout.decode("utf-8") for name in NAMES)
