"""What can be asked of the page's server, by whom, and under which name."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from dashboard import login, server
from tests.conftest import ROOT
from tests.support.page_client import (
    ask,
    cookie_of,
    log_in,
    serve,
    token_of,
    upgrade,
    while_serving,
)

SAMPLES = {
    "/": "/",
    "/ws": "/ws",
    "/static/extensions/(.*)": "/static/extensions/panel/css/loading.css",
    "/static/(.*)": "/static/js/bokeh.min.js",
    "/parts/(.*)": "/parts/part.js",
    "/login": "/login",
    "/logout": "/logout",
}
"""An address that each route answers."""
GONE = (
    "/components/dashboard.parts.components/ChipCanvas/_bundle_path/chip_canvas.js",
    "/components/panel.template/BasicTemplate/_css/basic.css",
    "/autoload.js?bokeh-autoload-element=1",
    "/metadata",
    "/favicon.ico",
    "/rest/session_info",
    "/liveness",
    "/parts/components.py",
    "/parts/../app.py",
    "/static/extensions/other/x.js",
    "/index.html",
)


@pytest.fixture
def guarded(tmp_path):
    login.LoginHandler.brake = login.Brake()
    board = serve(tmp_path, users="u.json", operators=["ann"])
    yield board
    board.close()


@pytest.fixture
def free(tmp_path):
    board = serve(tmp_path)
    yield board
    board.close()


@pytest.fixture
def cookie(guarded):
    return cookie_of(while_serving(guarded, log_in, guarded, "bob", "banana"))


def patterns(board):
    app = board._server._tornado
    (gate, *rest) = app.default_router.rules
    assert gate.target.__name__ == "_Refusal"
    assert [rule.target for rule in rest] == [app.wildcard_router]
    return [rule.matcher.regex.pattern for rule in app.wildcard_router.rules]


def test_the_server_answers_what_the_table_says_and_nothing_else(guarded, free):
    expected = ["/?$" if path == "/" else f"{path}$" for path in server.ROUTES]
    assert patterns(guarded) == expected
    assert patterns(free) == [p for p in expected if "/log" not in p]
    assert set(SAMPLES) == set(server.ROUTES)
    told = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    for path, who in server.ROUTES.items():
        assert f"| `{path}` | {who} |" in told


@pytest.mark.parametrize("path", GONE)
def test_what_no_page_needs_is_not_there(guarded, cookie, path):
    found = while_serving(guarded, lambda: ask(guarded, path, Cookie=cookie))
    assert found.status in (403, 404)


@pytest.mark.parametrize("module", ["acq.evil", "evil", "unittest.__main__"])
@pytest.mark.parametrize("logged_in", [False, True])
def test_no_address_makes_the_server_import_a_module(
    guarded, cookie, module, logged_in, tmp_path, monkeypatch
):
    """B1, B2: a file in the acquisition folder was executed; one module ended the page."""
    (tmp_path / "acq").mkdir()
    for place in (tmp_path / "evil.py", tmp_path / "acq" / "evil.py"):
        place.write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["app", "--config", "x"])
    monkeypatch.delitem(sys.modules, module, raising=False)
    headers = {"Cookie": cookie} if logged_in else {}
    found = while_serving(
        guarded, lambda: ask(guarded, f"/components/{module}/x/__css__/x", **headers)
    )
    assert found.status in (403, 404)
    assert module not in sys.modules
    assert not (tmp_path / "executed").exists()


def test_every_route_asks_for_the_login_first(guarded, cookie):
    def walk(**headers):
        return {
            path: ask(guarded, SAMPLES[path], **headers | (upgrade() if path == "/ws" else {}))
            for path in server.ROUTES
        }

    found = while_serving(guarded, walk)
    assert found["/"].status == 302
    assert "/login" in found["/"].headers["Location"]
    for path, answer in found.items():
        if "logged in" in server.ROUTES[path] and path != "/":
            assert (path, answer.status) == (path, 403)
    found = while_serving(guarded, lambda: walk(Cookie=cookie))
    assert {path: answer.status for path, answer in found.items()} == {
        path: 302 if path == "/logout" else 101 if path == "/ws" else 200 for path in server.ROUTES
    }


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "", "[::1"])
def test_a_name_that_the_page_is_not_known_by_is_refused_before_anything_else(
    guarded, cookie, host
):
    """B16: DNS rebinding, where the foreign page's name leads to this machine."""
    name = host.format(port=guarded.port)

    def walk():
        for path in [*SAMPLES.values(), *GONE]:
            headers = {"Host": name, "Origin": f"http://{name}", "Cookie": cookie}
            headers |= upgrade() if path == "/ws" else {}
            yield path, ask(guarded, path, **headers).status

    assert {s for _, s in while_serving(guarded, lambda: list(walk()))} <= {400, 421}


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://x"]
)
def test_another_site_opens_no_socket_and_posts_nothing(free, guarded, origin):
    def walk():
        yield ask(free, "/ws", **upgrade(Origin=origin)).status
        yield ask(free, "/", Origin=origin).status

    assert while_serving(free, lambda: list(walk())) == [403, 403]
    form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": origin}
    body = "username=ann&password=apple"
    found = while_serving(guarded, lambda: ask(guarded, "/login", "POST", body, **form))
    assert (found.status, cookie_of(found)) == (403, "")


def test_the_page_itself_opens_its_socket(free):
    def walk():
        token = token_of(ask(free, "/"))
        origin = f"http://127.0.0.1:{free.port}"
        return ask(free, "/ws", **upgrade(token, Origin=origin)).status

    assert while_serving(free, walk) == 101


def test_known_names(tmp_path):
    def known(**section):
        board = serve(tmp_path, users="u.json", **section)
        board.close()
        return server.known_hosts(board._desk.config.dashboard, 5006)

    assert known() == {"localhost:5006", "127.0.0.1:5006", "[::1]:5006"}
    more = known(origins=["Lab.example", "localhost:7000"])
    assert more - known() == {"lab.example:80", "localhost:7000"}
    everywhere = known(address="0.0.0.0")
    assert known() < everywhere
    assert all(name.endswith(":5006") for name in everywhere)


def test_nobody_is_led_into_a_session_that_somebody_else_has_named(guarded, free, cookie):
    def walk():
        ann = cookie_of(log_in(guarded, "ann", "apple"))
        token = token_of(ask(guarded, "/", Cookie=ann))
        yield ask(guarded, "/?bokeh-session-id=known", Cookie=ann).status
        yield ask(guarded, "/", Cookie=ann, Bokeh_Session_Id="known").status
        yield ask(guarded, f"/?bokeh-token={token}", Cookie=cookie).status
        before = {s.id: s.connection_count for s in sessions(guarded)}
        yield ask(guarded, "/ws", **upgrade(token, Cookie=cookie)).status
        yield before == {s.id: s.connection_count for s in sessions(guarded)}

    assert while_serving(guarded, lambda: list(walk())) == [403, 403, 403, 101, True]


def sessions(board):
    return board._server.get_sessions()


def test_other_sites_cannot_keep_the_operator_out_with_page_loads(tmp_path, monkeypatch):
    """W11: each load of the page costs the only loop a part of a second."""
    monkeypatch.setattr(server, "_UNUSED_MS", 600_000)
    free = serve(tmp_path)

    def flood(**headers):
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda _: ask(free, "/", **headers), range(24)))

    foreign = {
        "Sec_Fetch_Site": "cross-site",
        "Sec_Fetch_Mode": "no-cors",
        "Sec_Fetch_Dest": "image",
    }
    assert {a.status for a in while_serving(free, lambda: flood(**foreign))} == {403}
    assert len(sessions(free)) == 0
    link = foreign | {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert while_serving(free, lambda: ask(free, "/", **link)).status == 200
    found = while_serving(free, flood)
    assert [a.status for a in found].count(200) == len(sessions(free)) - 1 <= server._MOST_UNSEEN
    turned_away = next(a for a in found if a.status != 200)
    assert (turned_away.status, turned_away.headers["Refresh"]) == (503, "2")
    free.close()


def test_cookies_are_for_this_page_alone(guarded):
    """W10: no script reads them, no other site sends them, TLS keeps them."""
    answer = while_serving(guarded, log_in, guarded, "ann", "apple")
    (told,) = answer.headers.get_all("Set-Cookie")
    assert {"httponly", "samesite=lax", "path=/"} <= set(told.lower().split("; "))
    assert "secure" not in told.lower()
    form = {"Content_Type": "application/x-www-form-urlencoded", "X_Forwarded_Proto": "https"}
    body = "username=ann&password=apple"
    answer = while_serving(guarded, lambda: ask(guarded, "/login", "POST", body, **form))
    (told,) = answer.headers.get_all("Set-Cookie")
    assert "secure" in told.lower().split("; ")


def test_guesses_are_slowed_down(guarded):
    """W10: 610 guesses a second were answered."""

    def walk():
        return [log_in(guarded, "ann", f"guess{n}").status for n in range(8)] + [
            log_in(guarded, "ann", "apple").status
        ]

    found = while_serving(guarded, walk)
    assert found[:5] == [403] * 5
    assert found[-1] == 429
    assert found.count(403) <= 6


class TestBrake:
    def test_each_failure_waits_longer_up_to_a_minute(self):
        brake = login.Brake()
        for _ in range(4):
            brake.failed("ann", "here", 0.0)
        assert brake.wait_s("ann", "here", 0.0) == 0
        waits = []
        for _ in range(8):
            brake.failed("ann", "here", 0.0)
            waits.append(brake.wait_s("ann", "here", 0.0))
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
        assert brake.wait_s("ann", "here", 61.0) == 0

    def test_a_name_waits_from_everywhere_and_a_machine_for_every_name(self):
        brake = login.Brake()
        for n in range(6):
            brake.failed("ann", f"machine{n}", 0.0)
            brake.failed(f"user{n}", "here", 0.0)
        assert brake.wait_s("ann", "fresh", 0.0) > 0
        assert brake.wait_s("fresh", "here", 0.0) > 0
        assert brake.wait_s("fresh", "fresh", 0.0) == 0

    def test_who_has_been_here_before_is_not_locked_out_by_others(self):
        brake = login.Brake()
        brake.succeeded("ann", "desk")
        for _ in range(9):
            brake.failed("ann", "elsewhere", 0.0)
        assert brake.wait_s("ann", "elsewhere", 0.0) > 0
        assert brake.wait_s("ann", "desk", 0.0) == 0


def test_some_places_are_kept_for_operators(guarded):
    guarded._sessions = 48

    def seen(name, password):
        ask(guarded, "/", Cookie=cookie_of(log_in(guarded, name, password)))
        return str(sessions(guarded)[-1].document.to_json())

    full = "48 viewers are connected already"
    assert full in while_serving(guarded, seen, "bob", "banana")
    assert full not in while_serving(guarded, seen, "ann", "apple")
