"""Asks the page's server as any program may, while it is served in steps."""

import asyncio
import http.client
import json
import re
import threading
import time
from typing import NamedTuple

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from dashboard.app import Dashboard
from pychip_stream import config as configuration


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def serve(folder, **section):
    """Make a dashboard on a free port; ann operates and bob looks where `users` is asked for."""
    (folder / "acquisition").mkdir(exist_ok=True)
    (folder / "u.json").write_text('{"ann": "apple", "bob": "banana"}')
    wire = {"events": 1, "requests": 1}
    tree = {"watch": {"root": "acquisition"}, "wire": wire, "dashboard": section}
    return Dashboard(configuration.parse(tree, "test", folder))


def while_serving(board, act, *args):
    """Call a function on another thread while the board serves; its result."""
    found = []

    def run():
        try:
            found.append((True, act(*args)))
        except BaseException as error:
            found.append((False, error))

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        board.step()
    good, result = found[0]
    if not good:
        raise result
    return result


def ask(board, path, method="GET", body=None, **headers):
    """Send one request; dashes of headers are underscores. To be called `while_serving`."""
    connection = http.client.HTTPConnection("127.0.0.1", board.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        upgraded = answer.status == 101
        return Answer(answer.status, answer.headers, b"" if upgraded else answer.read())
    finally:
        connection.close()


def log_in(board, name, password):
    """Try a name and password; the answer."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    return ask(board, "/login", "POST", f"username={name}&password={password}", **form)


def cookie_of(answer):
    """What a browser sends back of the cookies of an answer."""
    return "; ".join(c.partition(";")[0] for c in answer.headers.get_all("Set-Cookie") or ())


def upgrade(token="x", **headers):
    """Headers that open the page's socket."""
    return {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec_WebSocket_Protocol": f"bokeh, {token}", **headers,
    }  # fmt: skip


def token_of(answer):
    """Token of the session that a page is for."""
    return re.search(rb'"token":"([^"]+)"', answer.body)[1].decode()


class Visit:
    """An open page as the server sees it: a socket that says what it is told to.

    To be used on a thread of its own, `while_serving`.
    """

    def __init__(self, board, cookie=""):
        self._loop = asyncio.new_event_loop()
        headers = {"Cookie": cookie} if cookie else {}
        self.page = ask(board, "/", **headers)
        request = HTTPRequest(f"ws://127.0.0.1:{board.port}/ws", headers=headers)
        token = token_of(self.page)
        self._socket = self._wait(websocket_connect, request, subprotocols=["bokeh", token])
        assert json.loads(self._wait(self._socket.read_message))["msgtype"] == "ACK"

    def _wait(self, make, *args, **options):
        async def there():
            return await make(*args, **options)

        return self._loop.run_until_complete(there())

    def say(self, kind, content, number="1"):
        """Send one message of Bokeh's protocol, or texts that are none (as `content`)."""
        header = json.dumps({"msgid": number, "msgtype": kind})
        parts = [header, "{}", content if isinstance(content, str) else json.dumps(content)]
        for part in parts:
            self._wait(self._socket.write_message, part)

    def patch(self, *events):
        """Change the page's document as a browser does."""
        self.say("PATCH-DOC", {"events": list(events)})

    def close(self):
        """Close the page."""

        async def there():
            self._socket.close()
            while await self._socket.read_message() is not None:
                pass

        self._loop.run_until_complete(there())
        self._loop.close()


def stand(page):
    """Build a Live page with all that waits for its first picture, which is forgotten by then."""
    page.panel()
    page.pull(time.monotonic() + 60.0)
    return page
