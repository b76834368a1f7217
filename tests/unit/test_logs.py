import json
import logging

import pytest

from pychip_stream import logs


@pytest.fixture
def root():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_each_json_record_carries_run_and_frame(root, capsys):
    logs.configure("archiver", style="json")
    logs.set_run("night 3")
    with logs.about("a/b.dm4"):
        root.warning("cannot %s", "read")
    root.error("names it itself", extra={"frame": "c.dm4"})
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        root.exception("broken")
    first, second, third = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["time"] > 0
    del first["time"]
    assert first == {
        "level": "warning",
        "service": "archiver",
        "run": "night 3",
        "frame": "a/b.dm4",
        "message": "cannot read",
    }
    assert second["frame"] == "c.dm4"
    assert third["frame"] is None
    assert "ZeroDivisionError" in third["trace"]


def test_text_names_the_frame_once(root, capsys):
    logs.configure("archiver")
    with logs.about("a.dm4"):
        root.warning("cannot read")
        root.warning("a.dm4: cannot read")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("cannot read [a.dm4]")
    assert lines[1].count("a.dm4") == 1
