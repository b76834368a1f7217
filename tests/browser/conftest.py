"""A real browser that may talk to this machine only, and the services it looks at."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.support.chaos import EXACT
from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.stack import Stack
from tests.support.visits import Visits

expect.set_options(timeout=30_000)


def pytest_collection_modifyitems(items):
    """Everything here needs the browser; without one it is skipped, but never in CI."""
    missing = not Path(CHROMIUM).exists()
    for item in items:
        if "tests/browser/" not in item.path.as_posix():
            continue
        item.add_marker(pytest.mark.browser)
        item.add_marker(pytest.mark.slow)
        if missing and os.environ.get("CI") != "true":
            item.add_marker(pytest.mark.skip(reason="no chromium; install it to test the pages"))


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Open pages; at the end none may have asked anybody else or complained on its console."""
    visits = Visits(browser)
    yield visits
    visits.close()
    visits.check()


@pytest.fixture(scope="module")
def lent(browser):
    """Visits whose pages are had by test after test."""
    visits = Visits(browser)
    yield visits
    visits.close()


@pytest.fixture
def borrow(lent, request):
    """Open a page, or take that of the test before: to load one costs more than most tests.

    A test leaves it as it was opened; what one that failed has left, no other gets.
    """
    failed = request.session.testsfailed
    yield lent.borrow
    try:
        lent.check()
    except AssertionError:
        lent.close()
        raise
    if request.session.testsfailed > failed:
        lent.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Make stacks with the dashboard; whatever is left of them is killed at the end."""
    made = []

    def make(support=None, **sections):
        folder = tmp_path_factory.mktemp("experiment")
        sections = {"dashboard": {"enabled": True}, "encoder": EXACT} | sections
        made.append(Stack(folder, support, **sections))
        return made[-1]

    yield make
    for one in made:
        one.kill_all()
        if one.process is not None:
            one.process.stdout.close()
            one.process.stderr.close()
