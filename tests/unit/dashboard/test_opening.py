"""Opening the page: what the browser must load, and what its first picture waits for."""

import re
import time

import panel as pn
import pytest

from dashboard.accounts import Viewer
from dashboard.pages import PAGES
from dashboard.parts.components import _Part
from tests.support.page_client import ask, serve, stand, while_serving


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The page as it is sent, and its document."""
    board = serve(tmp_path_factory.mktemp("board"))
    answer = while_serving(board, ask, board, "/")
    (context,) = board._server._tornado.applications.values()
    (session,) = context.sessions
    yield answer, session.document
    board.close()


def test_a_page_asks_for_the_scripts_that_it_uses_alone(opened):
    answer, _ = opened
    scripts = re.findall(rb'src="([^"?]+)', answer.body)
    names = [script.rpartition(b"/")[2].decode() for script in scripts]
    assert sorted(names) == [
        "bokeh-tables.min.js", "bokeh-widgets.min.js", "bokeh.min.js", "modules.js", "panel.min.js",
    ]  # fmt: skip


def test_modules_are_announced_with_the_page(opened):
    answer, document = opened
    announced = answer.headers.get_all("Link")
    assert len(announced) == len(set(announced))
    needed = {model.esm for model in document.models if getattr(model, "esm", None)}
    assert {f"<{url}>; rel=modulepreload" for url in needed} == set(announced)
    assert any("chip_canvas.js" in url for url in needed)
    assert any("panel-material-ui.bundle.js" in url for url in needed)


def test_what_stands_beside_the_first_picture_waits_for_it(desk):
    page = PAGES["live"](desk, Viewer("ann"))
    shown, canvas = page.panel(), page._frame.canvas
    now = time.monotonic()
    page.pull(now)
    assert list(shown.select(_Part)) == [canvas]
    canvas._handle_msg({"type": "painted", "seq": page._frame._seq})
    page.pull(now)
    assert shown.select(pn.pane.Bokeh)
    assert page._strip in shown.select(_Part)
    page.close()


def test_no_curve_overtakes_the_plot_that_it_is_for(desk):
    page = PAGES["live"](desk, Viewer("ann"))
    page.panel()
    for _ in range(2):
        page.pull(time.monotonic() + 60.0)
    assert not page._plot._measured.data["t"]
    page._strip._handle_msg({"type": "ready"})
    page.pull(time.monotonic() + 60.0)
    assert len(page._plot._measured.data["t"]) == 3
    page.close()


def test_a_first_picture_that_is_lost_holds_nothing_up(desk):
    page = PAGES["live"](desk, Viewer("ann"))
    shown = page.panel()
    page.pull(time.monotonic() + 60.0)
    assert shown.select(pn.pane.Bokeh)
    page.close()


@pytest.mark.parametrize("operator", [True, False])
def test_the_encoder_is_loaded_when_the_page_stands(operator, desk):
    """It was when Examples was opened first, in the middle of the first clicks."""
    page = stand(PAGES["live"](desk, Viewer("ann", operator=operator)))
    assert desk.bench.fitting.precision is None
    page._strip._handle_msg({"type": "ready"})
    desk.bench.fits.submit(lambda: None).result()
    assert (desk.bench.fitting.precision is not None) == operator
    page.close()


def test_the_first_picture_waits_for_its_canvas_alone(desk, monkeypatch):
    page = PAGES["live"](desk, Viewer("ann"))
    page.panel()
    sent = []
    monkeypatch.setattr(page._frame.canvas, "_send_msg", sent.append)
    page._frame.canvas._handle_msg({"type": "ready"})
    frames = [message for message in sent if message["type"] == "frame"]
    assert [desk.run.shot.picture.key[0] in message["caption"] for message in frames] == [True]
    page.close()
