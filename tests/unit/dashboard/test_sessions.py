"""A closed tab lets go of everything; nobody else waits for it."""

import gc
import weakref

import pytest

from dashboard import page as pages
from tests.support.page_client import Visit, serve, while_serving

CYCLES = 4


@pytest.fixture
def dashboard(tmp_path):
    one = serve(tmp_path)
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
            one = Visit(dashboard)
            seen.append(len(alive))
            one.close()

    while_serving(dashboard, visit)
    for _ in range(300):
        dashboard.step()
        gc.collect()
        if not alive:
            break
    assert min(seen) >= 1
    assert len(alive) == 0
