"""Work off the page's loop: what comes back into the session, and what does not."""

import threading
from concurrent.futures import ThreadPoolExecutor

import panel as pn
import pytest

from dashboard.work.background import Background, Cancellable, Latest
from pychip_stream.errors import PychipError


class Session:
    """A document whose callbacks run when the test says so."""

    def __init__(self):
        self.callbacks = []
        self.came = threading.Semaphore(0)

    def add_next_tick_callback(self, callback):
        self.callbacks.append(callback)
        self.came.release()

    def next(self):
        assert self.came.acquire(timeout=20)
        self.callbacks.pop(0)()


@pytest.fixture
def session(monkeypatch):
    one = Session()
    monkeypatch.setattr(type(pn.state), "curdoc", property(lambda _state: one))
    return one


@pytest.fixture
def said():
    return []


@pytest.fixture
def background(session, said):
    one = Background(said.append)
    yield one
    one.close()


def fail(error):
    raise error


def test_results_and_troubles_come_back_into_the_session(session, background, said, caplog):
    found = []
    background.do(lambda: 7, found.append)
    session.next()
    background.do(lambda: fail(PychipError("no disk")), found.append)
    session.next()
    background.do(lambda: fail(ValueError("a mistake")), found.append, failed=found.append)
    session.next()
    assert found[0] == 7
    assert said == ["no disk"]
    assert "log" in found[1]
    assert "a mistake" in caplog.text


def test_one_piece_of_work_of_a_slot_at_a_time(session, background):
    go, found = threading.Event(), []
    assert background.do(lambda: go.wait(20), found.append, slot="look")
    assert not background.do(lambda: 1, found.append, slot="look")
    assert background.do(lambda: 2, found.append)
    session.next()
    assert background.busy("look")
    go.set()
    session.next()
    assert found == [2, True]
    assert background.do(lambda: 3, found.append, slot="look")
    session.next()
    assert found[-1] == 3


def test_a_closed_session_is_told_nothing(session, background):
    go, done = threading.Event(), threading.Event()

    def work():
        go.wait(20)
        done.set()

    found = []
    background.do(work, found.append)
    background.close()
    go.set()
    assert done.wait(20)
    assert not background.do(lambda: 1, found.append)
    assert found == session.callbacks == []


def test_progress_ends_work_that_is_not_wanted_any_more():
    progress = Cancellable()
    assert progress.share is None
    progress(1, 4)
    assert progress.share == 0.25
    progress.cancel()
    with pytest.raises(PychipError, match="cancelled"):
        progress(2, 4)


def test_of_what_is_asked_meanwhile_only_the_newest_is_done():
    begun, go, last, done = threading.Event(), threading.Event(), threading.Event(), []

    def work(number):
        begun.set()
        go.wait(20)
        if number == 2:
            raise ValueError("the next one is done nevertheless")
        done.append(number)
        if number == 9:
            last.set()

    with ThreadPoolExecutor(1) as pool:
        latest = Latest(pool, work)
        latest.ask(1)
        assert begun.wait(20)
        for number in range(2, 6):
            latest.ask(number)
        assert latest.waiting
        go.set()
        while latest.waiting:
            pass
        latest.ask(2)
        while latest.waiting:
            pass
        latest.ask(9)
        assert last.wait(20)
    assert done == [1, 5, 9]
