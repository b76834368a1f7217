"""Logging, configured once by a program's main function and by nothing else."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

LogFormat = Literal["text", "json"]

_frame: ContextVar[str] = ContextVar("frame", default="")


@contextmanager
def about(frame: str) -> Iterator[None]:
    """Name the frame that the records within are about."""
    token = _frame.set(frame)
    try:
        yield
    finally:
        _frame.reset(token)


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines; each carries the run and the frame it is about."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service
        self.run = ""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "service": self._service,
            "run": self.run or None,
            "frame": getattr(record, "frame", "") or _frame.get() or None,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class _TextFormatter(logging.Formatter):
    """Lines for people; the frame is named where the message does not name it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        line, frame = super().format(record), _frame.get()
        return line if not frame or frame in line else f"{line} [{frame}]"


def speak_utf8() -> None:
    """Write UTF-8 wherever the output goes: in a pipe Windows would write a code page.

    What is no text (a file name in another encoding) is escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def configure(service: str, *, style: LogFormat = "text", level: str = "INFO") -> None:
    """Send this process's log to standard error.

    Parameters
    ----------
    service
        Name that the records carry.
    style
        "text" for people, "json" for machines.
    """
    speak_utf8()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(service) if style == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def set_run(name: str) -> None:
    """Name the run that all records of this process are about from now on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _JsonFormatter):
            handler.formatter.run = name
