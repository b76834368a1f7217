"""Real processes, started by the installed command."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import yaml

from pychip_stream import config as configuration
from pychip_stream.archive.run import open_run
from pychip_stream.errors import ConfigError
from pychip_stream.operation.monitor import Monitor
from pychip_stream.operation.running import resolved_path
from tests.support.command import call_here
from tests.support.waiting import wait_for

COMMAND = str(Path(sys.executable).with_name("pychip-stream"))


_OWN_PROCESS = ("run", "demo", "bench", "review")
"""Commands that start services, or whose own process is the point."""


def call(*words, timeout_s=180, cwd=None):
    """Run a command to its end; returns exit code, standard output, standard error.

    Most are called in this process: what a command needs to start is more than what it does. That
    the installed ones work is shown by test_interrupted, test_readme, test_start and
    tests/packaging.
    """
    if words[0] not in _OWN_PROCESS:
        with contextlib.chdir(cwd or "."):
            done = call_here(*words)
        return done.code, done.out, done.err
    return call_installed(*words, timeout_s=timeout_s, cwd=cwd)


def call_installed(*words, timeout_s=180, cwd=None):
    """Run the installed command, in a process of its own."""
    done = subprocess.run(
        [COMMAND, *map(str, words)], capture_output=True, text=True, timeout=timeout_s, cwd=cwd
    )
    return done.returncode, done.stdout, done.stderr


def call_json(*words, **options):
    """Run a command that must succeed; returns the JSON document it printed."""
    code, out, err = call(*words, "--json", **options)
    assert code == 0, err
    return json.loads(out)


def _loaded(path):
    """A configuration, once it is there and whole."""
    try:
        return configuration.load(path)
    except ConfigError:
        return None


class Stack:
    """`pychip-stream run` on a temporary experiment."""

    def __init__(self, folder, support=None, **sections):
        self.folder = folder
        self.root = folder / "acquisition"
        self.root.mkdir(parents=True, exist_ok=True)
        tree = {
            "watch": {"root": "acquisition", "reconcile_s": 1.0},
            "archive": {"segment_s": 0.5},
            "dashboard": {"enabled": False},
        }
        if support is not None:
            tree["support"] = {"initial": str(support)}
        for name, section in sections.items():
            tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
        self.config_path = folder / "config.yaml"
        self.config_path.write_text(yaml.safe_dump(tree))
        self.config = configuration.load(self.config_path)
        self.prefix = []
        self.process = None
        self.log = []
        self.monitor = None

    def start(self, *words):
        resolved = resolved_path(self.config)
        resolved.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [*self.prefix, COMMAND, "run", str(self.config_path), "--json", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        self.resolved = wait_for(lambda: _loaded(resolved), "the run has chosen its ports")
        self.monitor = Monitor(self.resolved)
        return self

    def _read(self, stream):
        with stream:
            for line in stream:
                self.log.append(line.rstrip())

    def listen_for(self, condition, what, timeout_s=90.0):
        def heard():
            self.monitor.listen(0.05)
            assert self.process.poll() is None, "\n".join(self.log[-30:])
            return condition()

        try:
            return wait_for(heard, what, timeout_s=timeout_s, pause_s=0.0)
        except AssertionError:
            sys.stderr.write("\n".join(self.log[-40:]) + "\n")
            raise

    def wait_archived(self, count, timeout_s=90.0):
        self.listen_for(
            lambda: self.monitor.counter("archived") >= count, f"{count} archived", timeout_s
        )

    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def service(self, name):
        """The process of one service."""
        for child in self.children():
            try:
                if f"pychip_stream.{name}" in child.cmdline():
                    return child
            except psutil.Error:
                continue
        return None

    def stop(self, how=signal.SIGINT, timeout_s=60.0):
        """Stop as an operator does; returns the exit code and the printed document."""
        if self.monitor is not None:
            self.monitor.close()
            self.monitor = None
        left = self.children() if self.process.poll() is None else []
        if self.process.poll() is None:
            os.kill(self.process.pid, how)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            for one in [*left, self.process]:
                one.kill()
            raise
        out = self._finish()
        _, alive = psutil.wait_procs(left, timeout=5)
        assert not alive, alive
        return self.process.returncode, json.loads(out) if out else None

    def _finish(self):
        """Read what is left, and close the pipes."""
        with self.process.stdout:
            out = self.process.stdout.read()
        self._reader.join(10)
        return out

    def run(self):
        return open_run(self.config.run_path)

    def kill_all(self):
        if self.process is not None and self.process.poll() is None:
            for child in self.children():
                child.kill()
            self.process.kill()
        if self.process is not None:
            self.process.wait()
        if self.process is not None and not self.process.stdout.closed:
            self._finish()
        if self.monitor is not None:
            self.monitor.close()
