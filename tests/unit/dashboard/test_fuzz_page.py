"""Whatever browsers and programs send to the page costs itself: seeded, `--fuzz N` for more."""

import logging
import random
import sys
import time
import traceback
from pathlib import Path

import psutil
import pytest

from dashboard import login, server
from dashboard.accounts import Viewer
from dashboard.pages import PAGES
from dashboard.parts.components import _Part
from dashboard.work import workbench
from dashboard.work.workbench import Workbench
from pychip_stream.errors import PychipError
from tests.conftest import ROOT
from tests.support.page_client import Visit, ask, cookie_of, log_in, serve, upgrade, while_serving
from tests.support.page_walk import MESSAGES, everything, run_of

ODD = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**70), 0.5, 1e308, float("nan"), float("inf"),
    "", "x", "../../etc/passwd", "a\0b", "<img src=x onerror=alert(1)>", "nan", "#zzzzzz", "é" * 99,
    "y" * 100_000, [], [[]], [1, 2], [None] * 4, [-1e9, 0, 1e9, float("nan")], [[2**40, -1]], {},
    {"type": "ready"}, {"a": {"b": []}}, b"", b"\0\xff" * 50, [["a", "b"]], "feature 1", "run",
)  # fmt: skip
HEADERS = (
    "Host", "Origin", "Cookie", "Sec_Fetch_Site", "Sec_Fetch_Mode", "Referer", "Accept",
    "Bokeh_Session_Id", "X_Forwarded_Proto", "X_Forwarded_For", "Range", "If_None_Match", "Upgrade",
    "Connection", "Sec_WebSocket_Protocol", "Content_Type", "Content_Length", "Transfer_Encoding",
)  # fmt: skip
PATHS = (
    "/", "//", "/ws", "/login", "/logout", "/parts/part.js", "/static/js/bokeh.min.js",
    "/static/extensions/panel/panel.min.js", "/components/os/x/__css__/x", "/autoload.js",
    "/?bokeh-session-id=x", "/login?next=//evil.example", "/static/../../etc/passwd",
    "/parts/%2e%2e%2fapp.py", "/static/extensions/panel/../../../../etc/passwd", "/%00", "/*",
)  # fmt: skip


def odd(rng, depth=2):
    value = rng.choice(ODD)
    if depth and rng.random() < 0.2:
        return [odd(rng, depth - 1) for _ in range(rng.randrange(5))]
    return value


def mutated(rng):
    """A message like one of ours, with something wrong in it."""
    kind = rng.choice(sorted(MESSAGES))
    message = {"type": kind, **rng.choice(MESSAGES[kind])}
    for name in [n for n in message if rng.random() < 0.4]:
        if rng.random() < 0.2:
            del message[name]
        elif name != "type" or rng.random() < 0.2:
            message[name] = odd(rng)
    if rng.random() < 0.2:
        message[rng.choice(("seq", "number", "rect", "chip", "click", "extra"))] = odd(rng)
    return message


def set_value(rng, widget):
    """Give a widget a value that its browser part would not; what Panel refuses is refused."""
    try:
        setattr(widget, rng.choice(("value", "active", "options")), odd(rng))
    except Exception as error:
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "/dashboard/" in f.filename]
        assert all("tests" in frame.filename for frame in ours), traceback.format_exc()


@pytest.fixture
def quiet(caplog):
    """Nothing that is an error of ours may be logged."""
    caplog.set_level(logging.WARNING)
    yield
    wrong = [
        r.getMessage() + (r.exc_text or "")
        for r in caplog.records
        if r.levelno >= logging.ERROR and r.name.startswith(("dashboard", "pychip_stream"))
    ]
    assert wrong == []


@pytest.fixture
def shut(monkeypatch):
    """No network is fitted and nothing is published."""

    def refuse(*_args, **_options):
        raise PychipError("not here")

    monkeypatch.setattr(Workbench, "attempt_set", refuse)
    monkeypatch.setattr(workbench, "request", refuse)


def storm(rng, page, steps):
    page.panel()
    for part in everything(page):
        if isinstance(part, _Part):
            part._handle_msg({"type": "ready"})
    for step in range(steps):
        parts = everything(page)
        part = rng.choice([p for p in parts if isinstance(p, _Part)])
        part._handle_msg(odd(rng) if rng.random() < 0.02 else mutated(rng))
        if step % 7 == 0:
            set_value(rng, rng.choice(parts))
        if step % 11 == 0:
            page.pull(float(step))
    page.pull(1e6)


def seeded(request, name):
    return random.Random(f"{request.config.getoption('--fuzz-seed')} {name}")


@pytest.mark.parametrize("kind", [*PAGES], ids=lambda kind: kind.name)
def test_an_operators_browser_that_talks_nonsense(kind, desk, shut, quiet, request):
    rng = seeded(request, f"operator {kind.name}")
    page = kind(desk, Viewer("ann", operator=True))
    storm(rng, page, request.config.getoption("--fuzz") // 20)
    page.close()


@pytest.mark.parametrize("kind", [*PAGES], ids=lambda kind: kind.name)
def test_a_viewers_browser_that_talks_nonsense(kind, desk, caused, quiet, request, tmp_path):
    before = run_of(tmp_path)
    page = kind(desk, Viewer("bob", operator=False))
    storm(seeded(request, f"viewer {kind.name}"), page, request.config.getoption("--fuzz") // 20)
    page.close()
    assert caused == []
    assert run_of(tmp_path) == before


# -- through the server


def requests(rng, board, cookie, count):
    """Statuses of so many odd requests."""
    found = []
    for _ in range(count):
        headers = {"Cookie": cookie} if rng.random() < 0.5 else {}
        if rng.random() < 0.2:
            headers |= upgrade()
        for name in rng.sample(HEADERS, rng.randrange(3)):
            text = str(odd(rng, 0)).encode("latin-1", "replace").decode("latin-1")
            headers[name] = "".join(c for c in text if c.isprintable())[:3000]
        path = rng.choice(PATHS) + rng.choice(("", "", "/", "?a=b&a=c", "#x", "%", "/x" * 50))
        method = rng.choice(("GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "x"))
        body = rng.choice((None, b"", b"username=ann&password=x", b"\xff" * 1000, b"y" * 100_000))
        try:
            found.append(ask(board, path, method, body, **headers).status)
        except (OSError, ValueError, EOFError) as error:
            found.append(type(error).__name__)  # cut off, or this side would not send it
        except Exception as error:
            assert type(error).__module__ == "http.client", error
            found.append(type(error).__name__)
    return found


def events(rng, board, count):
    """Odd changes of the document of the newest page."""
    models = list(board._server.get_sessions()[-1].document.models)
    parts = [model for model in models if "esm" in model.properties()]
    for _ in range(count):
        model = rng.choice(parts if rng.random() < 0.7 else models)
        model = getattr(model, "data", model) if rng.random() < 0.3 else model
        if not hasattr(model, "properties"):
            continue
        reference = {"id": rng.choice((model.id, "p0", "", 7))} if rng.random() < 0.1 else model.ref
        if rng.random() < 0.3:
            names = sorted(model.properties())
            attr = rng.choice(names) if rng.random() < 0.9 else str(odd(rng, 0))
            yield {"kind": "ModelChanged", "model": reference, "attr": attr, "new": plain(odd(rng))}
        elif rng.random() < 0.8:
            kinds = {
                "data_event": ["data"], "esm_event": ["data"], "button_click": [],
                "dom_event": ["node", "data"], "tap": ["sx", "sy", "x", "y"], "x": [],
            }  # fmt: skip
            name = "data_event" if rng.random() < 0.6 else rng.choice(sorted(kinds))
            given = {"data": plain(mutated(rng)), "node": rng.choice(("click", "msg", "value"))}
            values = [[n, given.get(n, plain(odd(rng)))] for n in kinds[name]]
            values = {"type": "map", "entries": [["model", reference], *values]}
            event = {"type": "event", "name": name, "values": values}
            yield {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}
        else:
            kinds = ("RootAdded", "RootRemoved", "TitleChanged", "ColumnsStreamed", "x", None)
            yield {"kind": rng.choice(kinds), "model": reference, "title": plain(odd(rng))}


def plain(value):
    """As JSON can say it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {"type": "map", "entries": [[k, plain(v)] for k, v in value.items()]}
    if isinstance(value, (int, float)) and not abs(value) < 2**53:
        return {"type": "number", "value": "nan"}
    return value


def visits(rng, board, cookie, count):
    """Open pages and talk nonsense on each until it is closed on us."""
    said = 0
    while said < count:
        visit = Visit(board, cookie)
        document = board._server.get_sessions()[-1].document
        (tabs,) = (m for m in document.models if "dynamic" in m.properties())
        number = rng.choice((0, 1, 2, 3, 4, -1, 5, 10**6))
        tab = {"kind": "ModelChanged", "model": tabs.ref, "attr": "active", "new": number}
        visit.patch(tab)
        for event in events(rng, board, 40):
            said += 1
            try:
                visit.patch(event)
                if rng.random() < 0.01:
                    visit.say(str(odd(rng, 0)), str(odd(rng, 0)))
                    break  # what comes after it is not understood any more
            except Exception as error:
                assert "WebSocketClosed" in type(error).__name__, error
                break
        visit.close()
    return said


@pytest.mark.slow
def test_nonsense_over_the_wire_leaves_the_page_as_it_was(
    tmp_path, monkeypatch, shut, caused, quiet, request
):
    count = request.config.getoption("--fuzz") // 20
    rng = seeded(request, "server")
    monkeypatch.setattr(login.LoginHandler, "brake", login.Brake())
    monkeypatch.setattr(server, "_MOST_UNSEEN", 10**6)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    heard, handle = [], _Part._handle_msg
    monkeypatch.setattr(
        _Part, "_handle_msg", lambda part, data: (heard.append(data), handle(part, data))
    )
    board = serve(tmp_path, users="u.json", operators=["ann"])
    cookie = cookie_of(while_serving(board, log_in, board, "bob", "banana"))
    while_serving(board, visits, random.Random(1), board, cookie, 40)  # what is loaded once, is
    files, memory, modules = run_of(tmp_path), rss(), set(sys.modules)
    statuses = while_serving(board, requests, rng, board, cookie, count)
    assert while_serving(board, visits, rng, board, cookie, count) >= count
    assert len(heard) > count / 50  # it reaches our own handlers
    assert 500 not in statuses
    assert len(set(statuses)) > 4
    assert while_serving(board, ask, board, "/", "GET", None).status == 302
    assert while_serving(board, lambda: ask(board, "/", Cookie=cookie)).status == 200
    board.close()
    assert caused == []
    assert run_of(tmp_path) == files
    loaded = {name for name in set(sys.modules) - modules if is_foreign(sys.modules[name])}
    assert loaded == set()
    assert rss() - memory < 500 << 20


def is_foreign(module):
    """Whether a module is none of this package, nor of those that are installed."""
    place = getattr(module, "__file__", None)
    if place is None:
        return False
    known = (str(ROOT), sys.prefix, sys.base_prefix)
    return not str(Path(place)).startswith(known) and "site-packages" not in place


def rss():
    return psutil.Process().memory_info().rss


def test_a_span_of_curves_that_there_is_not_is_not_taken(desk):
    page = PAGES["live"](desk, Viewer("bob", operator=False))
    page.panel()
    page.pull(time.monotonic() + 60.0)
    page._window.value = ["whole run", -(1 << 70), ["10 min"]]
    assert (page._span, page._window.value) == ("whole run", ["whole run"])
    page._window.value = ["whole run", "10 min"]
    assert (page._span, page._window.value) == ("10 min", ["10 min"])
    page.close()
