"""A read-only link lets somebody without an account look, until it ends, and no more."""

import logging
import time
from dataclasses import replace

import pytest

from dashboard import guests, login, page
from dashboard.accounts import Viewer, viewer
from dashboard.guests import GUEST, LINK_DAYS, link_trouble, make_link
from dashboard.pages import PAGES
from pychip_stream import config as configuration
from pychip_stream.errors import ConfigError, PychipError
from tests.support.page_client import ask, cookie_of, log_in, serve, upgrade, while_serving

ASKED = "?page=live&frame=a+b.tif%230&from=1.000&to=2.000"


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "u.json"
    path.write_text('{"ann": "apple", "bob": "banana"}')
    return path


@pytest.fixture
def board(tmp_path):
    login.LoginHandler.brake = login.Brake()
    one = serve(tmp_path, users="u.json")
    yield one
    one.close()


class TestLink:
    def test_it_is_good_for_a_week(self, users):
        value = make_link(users, 1e9)
        assert link_trouble(users, value, 1e9) == ""
        assert link_trouble(users, value, 1e9 + LINK_DAYS * 86400 - 2) == ""
        assert "expired" in link_trouble(users, value, 1e9 + LINK_DAYS * 86400 + 2)

    def test_an_altered_one_is_not_good(self, users):
        value = make_link(users, 1e9)
        for place in range(0, len(value), 7):
            other = value[:place] + ("0" if value[place] != "0" else "1") + value[place + 1 :]
            assert "altered" in link_trouble(users, other, 1e9)
        for nonsense in ("", "x", "2|1:0|", "ä" * 500):
            assert "altered" in link_trouble(users, nonsense, 1e9)

    def test_one_of_another_purpose_is_not_good(self, users, monkeypatch):
        monkeypatch.setattr(guests, "_PURPOSE", "something else")
        value = make_link(users, 1e9)
        monkeypatch.undo()
        assert "altered" in link_trouble(users, value, 1e9)

    def test_all_are_revoked_with_their_secret(self, users):
        value = make_link(users, 1e9)
        secret = users.with_name("u.json.links")
        assert secret.stat().st_mode & 0o77 == 0 or secret.drive
        secret.unlink()
        assert "revoked" in link_trouble(users, value, 1e9)
        fresh = make_link(users, 1e9)
        assert "revoked" in link_trouble(users, value, 1e9)
        assert link_trouble(users, fresh, 1e9) == ""

    def test_a_secret_that_cannot_be_kept_is_told(self, users):
        users.with_name("u.json.links").mkdir()
        with pytest.raises(PychipError, match=r"u\.json\.links: .* no read-only link"):
            make_link(users, 1e9)


def opened(board, value, query=ASKED, **headers):
    return ask(board, f"/{query}&link={value.replace('|', '%7C')}", **headers)


def test_a_link_opens_what_it_names_and_shuts_with_its_secret(board, users, caplog):
    caplog.set_level(logging.DEBUG)
    value = make_link(users, time.time())

    def walk():
        first = opened(board, value)
        cookie = cookie_of(first)
        yield first.status, first.headers["Location"]
        yield first.headers["Set-Cookie"].lower().count("httponly")
        there = ask(board, f"/{ASKED}", Cookie=cookie)
        yield there.status, value.encode() in there.body
        yield ask(board, "/static/js/bokeh.min.js", Cookie=cookie).status
        users.with_name("u.json.links").unlink()
        yield ask(board, f"/{ASKED}", Cookie=cookie).status
        yield ask(board, "/static/js/bokeh.min.js", Cookie=cookie).status
        yield ask(board, "/ws", Cookie=cookie, **upgrade()).status

    found = while_serving(board, lambda: list(walk()))
    assert found == [(302, f"./{ASKED}"), 1, (200, False), 200, 302, 403, 403]
    assert value not in caplog.text
    for file in users.parent.rglob("*"):
        assert file.is_dir() or value.encode() not in file.read_bytes()


def test_a_bad_link_says_why_and_goes_on_to_the_same_after_a_login(board, users):
    old = make_link(users, time.time() - (LINK_DAYS + 1) * 86400)

    def walk():
        for value in (old, old[:-1] + "x", ""):
            answer = opened(board, value)
            yield answer.status, cookie_of(answer), answer.body.decode()

    found = while_serving(board, lambda: list(walk()))
    assert [(status, cookie) for status, cookie, _ in found] == [(403, "")] * 3
    assert "expired" in found[0][2]
    for _, _, body in found[1:]:
        assert "altered, or revoked" in body
    for _, _, body in found:
        assert f'value="{ASKED.replace("&", "&amp;")}"' in body


def test_an_operator_who_follows_a_link_stays_one(board, users):
    def walk():
        cookie = cookie_of(log_in(board, "ann", "apple"))
        answer = opened(board, make_link(users, time.time()), Cookie=cookie)
        return answer.status, answer.headers["Location"], cookie_of(answer)

    assert while_serving(board, walk) == (302, f"./{ASKED}", "")


def test_a_login_keeps_what_the_address_asked_for(board):
    """Whoever followed a link and had to log in saw the first page instead."""

    def walk():
        sent = ask(board, f"/{ASKED}").headers["Location"]
        form = ask(board, sent.removeprefix(".")).body.decode()
        yield f'value="{ASKED.replace("&", "&amp;")}"' in form
        for there in (ASKED, f"/{ASKED}", "//evil.example/x?a=1", "http://evil.example", ""):
            headers = {"Content_Type": "application/x-www-form-urlencoded"}
            body = "username=ann&password=apple&next=" + there.replace("&", "%26").replace(
                "%23", "%2523"
            ).replace("+", "%2B")
            yield ask(board, "/login", "POST", body, **headers).headers["Location"]

    found = while_serving(board, lambda: list(walk()))
    assert found == [True, f"./{ASKED}", f"./{ASKED}", "./?a=1", "./", "./"]


def test_a_guest_looks_whatever_the_accounts_say(tmp_path, users):
    tree = {"watch": {"root": "."}, "dashboard": {"users": "u.json"}}
    config = configuration.parse(tree, "test", tmp_path).dashboard
    assert viewer(config, "ann").operator
    assert not viewer(config, GUEST).operator
    users.write_text(f'{{"{GUEST}": "apple"}}')
    with pytest.raises(ConfigError, match="no name may begin with"):
        login.server_options(config)


def test_nobody_logs_in_under_a_guests_name(board, users):
    users.write_text(f'{{"{GUEST}": "apple"}}')
    assert while_serving(board, log_in, board, GUEST.replace(" ", "+"), "apple").status == 403


class TestBar:
    """The button in the title bar."""

    def bar(self, desk, users, who):
        section = desk.config.dashboard.model_copy(update={"users": users})
        desk = replace(desk, config=desk.config.model_copy(update={"dashboard": section}))
        one = page.Page(desk, who, [PAGES["live"], PAGES["health"]])
        one._open(0)
        sent = []
        one._bar._send_msg = sent.append
        one._bar._handle_msg({"type": "share"})
        return one, sent

    def test_an_operator_gets_a_link_to_what_is_shown(self, desk, users):
        one, sent = self.bar(desk, users, Viewer("ann"))
        (told,) = sent
        assert told["type"] == "shared"
        assert told["link"].startswith("?page=live&link=2%7C")
        assert one._status()["shares"]
        one._tabs.active = 1
        assert not one._status()["shares"]
        one._close()

    @pytest.mark.parametrize("who", [Viewer("bob", operator=False), Viewer(GUEST, operator=False)])
    def test_nobody_else_does(self, desk, users, who):
        one, sent = self.bar(desk, users, who)
        assert sent == []
        assert not one._status()["shares"]
        assert not users.with_name("u.json.links").exists()
        one._close()

    def test_without_accounts_nobody_needs_one(self, desk):
        one, sent = self.bar(desk, None, Viewer())
        assert (sent, one._status()["shares"]) == ([], False)
        one._close()

    def test_why_there_is_none_is_told(self, desk, users):
        users.with_name("u.json.links").mkdir()
        one, (told,) = self.bar(desk, users, Viewer("ann"))
        assert told["link"] == ""
        assert "no read-only link can be made" in told["trouble"]
        one._close()
