"""A supervisor of children that the test gives it."""

import pytest

from pychip_stream import config as configuration
from pychip_stream.operation import supervisor as module
from pychip_stream.operation.supervisor import Supervisor


@pytest.fixture
def lines():
    return []


@pytest.fixture
def supervisor(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    config = configuration.parse({"watch": {"root": "."}}, "test", tmp_path)
    made = Supervisor(config, lambda name, line: lines.append((name, line)))
    made.children.clear()
    yield made
    made.stop()
