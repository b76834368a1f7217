"""A link opens for somebody else what was seen."""

from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from dashboard.accounts import Viewer
from dashboard.pages import PAGES
from dashboard.work.links import NOTHING, Link
from tests.support.page_client import stand

LINKS = [
    Link("review", "heating 1", ("deep/frame #1 &.tif", 3), (1e9, 1e9 + 2.5)),
    Link("live", frame=("a.tif", 0)),
    Link("health"),
]


def asked(query):
    return {k: [v.encode() for v in values] for k, values in parse_qs(query.lstrip("?")).items()}


@pytest.mark.parametrize("link", LINKS)
def test_what_it_says_is_read_again(link):
    assert Link.read(asked(link.query)) == link


@pytest.mark.parametrize(
    "query",
    ["", "frame=a.tif", "frame=%230", "frame=a%23-1", "frame=a%23²", "from=1", "from=2&to=1",
     "from=nan&to=inf", "from=x&to=y"],
)  # fmt: skip
def test_nonsense_is_not_said(query):
    assert Link.read(asked(query)) == NOTHING


def test_a_run_without_a_page_is_opened_in_review():
    assert Link.read({"run": [b"x"]}).page == "review"


def test_live_opens_the_frame_and_the_part_of_the_curve(desk):
    link = Link("live", frame=("frame_001.tif", 0), window=(1.0, 2.0))
    page = PAGES["live"](replace(desk, asked=link), Viewer())
    assert page.link() == Link("live", window=(1.0, 2.0))  # before anything is beside the frame
    stand(page)._strip._handle_msg({"type": "ready"})
    for now in (1e9, 2e9):
        page.pull(now)
    assert page.link() == link
    page._go_live()
    assert page.link() == Link("live")
    page.close()


def test_review_opens_the_run_the_frame_and_the_part_of_the_curve(desk):
    link = Link("review", "run", ("frame_004.tif", 0), (1.0, 2.0))
    page = PAGES["review"](replace(desk, asked=link), Viewer())
    page.panel()
    page.pull(1000.0)
    sent = []
    page._list._send_msg = sent.append
    page._list._handle_msg({"type": "ready"})
    assert sent[-1]["open"] == "run"
    page._list._handle_msg({"type": "open", "name": "run"})  # as the list does by itself
    assert page.link() == link
    page._leave()
    page.pull(2000.0)
    assert page.link() == Link("review")
    page.close()


def test_a_run_that_is_not_there_leaves_the_list(desk):
    page = PAGES["review"](replace(desk, asked=Link("review", "../other")), Viewer())
    page.pull(1000.0)
    page._list._handle_msg({"type": "open", "name": "../other"})
    assert page.link() == Link("review")
    page.close()
