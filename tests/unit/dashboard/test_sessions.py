"""A closed tab lets go of everything; nobody else waits for it."""

import gc
import threading
import weakref

import pytest
from bokeh.client import pull_session

from dashboard import page as pages
from dashboard.app import Dashboard
from pychip_stream import config as configuration

CYCLES = 4


@pytest.fixture
def dashboard(tmp_path):
    (tmp_path / "acquisition").mkdir()
    tree = {"watch": {"root": "acquisition"}, "wire": {"events": 1, "requests": 1}}
    one = Dashboard(configuration.parse(tree, "test", tmp_path))
    yield one
    one.close()


@pytest.mark.slow
def test_closed_sessions_are_released(dashboard, monkeypatch):
    alive = weakref.WeakSet()
    build = pages.Page.__init__

    def counted(self, *args):
        build(self, *args)
        alive.add(self)

    monkeypatch.setattr(pages.Page, "__init__", counted)
    seen = []

    def visit():
        for _ in range(CYCLES):
            session = pull_session(url=f"http://127.0.0.1:{dashboard.port}/")
            seen.append(len(session.document.roots))
            session.close()

    visitor = threading.Thread(target=visit)
    visitor.start()
    while visitor.is_alive():
        dashboard.step()
    for _ in range(300):
        dashboard.step()
        gc.collect()
        if not alive:
            break
    assert len(seen) == CYCLES
    assert len(alive) == 0
