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
    assert visits.foreign == []
    assert visits.complaints == []


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
