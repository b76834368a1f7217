"""A closed tab lets go of everything; nobody else waits for it."""

import gc
import runpy
import weakref

import pytest

from dashboard import page as pages
from dashboard.work import scratch
from dashboard.work.workbench import Workbench
from pychip_stream import process
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


def test_what_viewers_brought_goes_before_anything_is_waited_for(tmp_path, monkeypatch):
    """M19: it stayed where the page was killed in its wait for a share that was away."""
    brought, left = [], []
    close = Workbench.close

    def slow_close(bench):
        left.extend(one for one in brought if one.exists())
        close(bench)

    monkeypatch.setattr(Workbench, "close", slow_close)
    board = serve(tmp_path)
    brought += [scratch.folder("upload")]
    (brought[0] / "frame.tif").write_bytes(b"x")
    board.close()
    assert brought
    assert left == []
    assert not brought[0].exists()
    assert not board._feed._thread.is_alive()


@pytest.mark.parametrize(("module", "runs"), [("app", "main"), ("review", "run")])
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_the_program_waits_for_no_thread(module, runs, monkeypatch):
    left = []
    monkeypatch.setattr("sys.argv", [module, "runs"])
    monkeypatch.setattr(process, runs, lambda *_args: 7)
    monkeypatch.setattr(process, "leave", left.append)
    runpy.run_module(f"dashboard.{module}", run_name="__main__")
    assert left == [7]
