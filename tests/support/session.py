"""Commands that serve pages, as they are typed; ended in order."""

import contextlib
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil

from tests.support.stack import COMMAND
from tests.support.waiting import wait_for


@contextlib.contextmanager
def demo_at(folder, *, frames=None):
    """Run the demo in a folder; gives its address. With `frames` it ends by itself."""
    words = ["demo", "--no-browser", "--out", str(folder)]
    with served(*words, *(["--frames", str(frames)] if frames else [])) as (address, process):
        yield address
        if frames:
            process.wait(300)


@contextlib.contextmanager
def review_at(*paths):
    """Serve archives; gives the address."""
    with served("review", *map(str, paths), "--port", "0") as (address, _process):
        yield address


@contextlib.contextmanager
def served(*words):
    """Start a command that serves a page; gives the address and the process."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("w") as stderr:
            process = subprocess.Popen([COMMAND, *words], stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            found = wait_for(
                lambda: re.search(r"http://127\S+", log.read_text()), log.read_text, timeout_s=120.0
            )
            yield found[0], process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                for one in (*psutil.Process(process.pid).children(recursive=True), process):
                    one.kill()
                process.wait()
