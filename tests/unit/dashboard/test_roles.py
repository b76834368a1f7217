"""A viewer sees and downloads; every handler that does more asks for the operator on the server."""

import re

import panel as pn
import pytest

from dashboard.accounts import Viewer
from dashboard.pages import PAGES
from dashboard.parts.components import FILES
from pychip_stream.errors import PychipError
from tests.support.page_walk import DOORS, MESSAGES, everything, run_of, speak, walk


def test_every_message_that_a_browser_sends_is_walked():
    sent = {
        kind
        for name, path in FILES.items()
        if name.endswith(".js")
        for kind in re.findall(r'send_msg\(\{\s*type: "(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert sent == set(MESSAGES)


@pytest.mark.parametrize("kind", [*PAGES], ids=lambda kind: kind.name)
def test_a_viewer_causes_nothing_whatever_his_browser_sends(kind, desk, caused, tmp_path):
    """B15: buttons that were only disabled in the browser published a support set."""
    before = run_of(tmp_path)
    walk(kind(desk, Viewer("bob", operator=False)))
    assert caused == []
    assert run_of(tmp_path) == before


def test_an_operator_reaches_all_of_it_by_the_same_walk(desk, caused):
    for kind in PAGES:
        walk(kind(desk, Viewer("ann", operator=True)))
    assert set(caused) == {name for _, name in DOORS} - {"request"}


def test_the_walk_presses_every_button_of_the_pages(desk, caused):
    pressed = set()
    for kind in PAGES:
        page = kind(desk, Viewer("ann", operator=True))
        page.panel()
        speak(page)
        pressed |= {one.label for one in everything(page) if "clicks" in one.param}
        page.close()
    assert pressed >= {
        "Save version", "Publish to the run", "Load", "Compare", "Re-label the past", "Cancel",
        "Take the newest frame", "Use the recommended size", "Back to live", "← all runs",
        "Use this grid size", "Classify", "Leave this frame out", "Keep offset", "Suggest offset",
        "Re-score",
    }  # fmt: skip


def test_a_viewer_is_told_what_his_login_may(desk):
    page = PAGES["upload"](desk, Viewer("bob", operator=False))
    page.panel()
    sent = []
    page._drop._send_msg = sent.append
    page._drop._handle_msg({"type": "ready"})
    assert {"type": "say", "text": "this login may look and download; an operator does the rest",
            "level": "error"} in sent  # fmt: skip
    page.close()


def test_a_version_that_is_not_on_offer_is_not_taken(desk, tmp_path):
    page = PAGES["examples"](desk, Viewer("ann"))
    page.pull(1000.0)
    panel = page._versions
    panel._version.value = "../../acquisition/secret"
    panel._do_load()
    assert "loading" not in panel._state.object
    with pytest.raises(PychipError, match="not the version"):
        desk.bench.sets.support("../support/" + "0" * 32)
    assert isinstance(panel.panel(), pn.viewable.Viewable)
    page.close()
