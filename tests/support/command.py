"""The command line, called in this process."""

import contextlib
import io
import json
import logging
from dataclasses import dataclass

from pychip_stream.cli.main import main


@dataclass(frozen=True)
class Called:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        assert self.code == 0, self.err
        return json.loads(self.out)


def call_here(*words):
    """Run a command line as if it had been typed."""
    out, err = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            return Called(end.code, out.getvalue(), err.getvalue())
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
    raise AssertionError("the command did not exit")
