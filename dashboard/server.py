"""Server: what can be asked of the page's web server, and by whom.

Every request passes the gate before a handler is chosen; what is not in `ROUTES` does not exist.
"""

import ipaddress
import logging
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

import panel as pn
import psutil
from bokeh.embed.bundle import extension_dirs
from bokeh.server.util import check_allowlist
from bokeh.server.views.auth_request_handler import AuthRequestHandler
from bokeh.util.token import get_token_payload
from panel.io.resources import Resources
from panel.io.server import DocHandler, WSHandler
from panel.io.state import state
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import HTTPError, OutputTransform, RequestHandler

from pychip_stream.config import DashboardConfig, is_loopback
from pychip_stream.errors import PychipError

from . import guests, login
from .parts.components import FILES, PATH

logger = logging.getLogger(__name__)

ROUTES = {
    "/": "anybody; who has not logged in, or has no read-only link, is sent to the login",
    "/ws": "whoever has logged in",
    "/static/extensions/(.*)": "whoever has logged in",
    "/static/(.*)": "whoever has logged in",
    f"/{PATH}(.*)": "whoever has logged in",
    "/login": "anybody",
    "/logout": "anybody",
}
"""What can be asked for, and who may; the last two only where there are login."""

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
_OPEN = ("/", "/login", "/logout")
_COMPONENTS = ("bokeh", "bokeh-widgets", "bokeh-tables")
_MOST_BODY = 64 << 10
_MOST_MESSAGE = 8 << 20
_MOST_UNSEEN, _UNUSED_MS = 8, 10_000
_POLICY = (
    "default-src 'self' 'unsafe-inline' blob: data:; connect-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; frame-ancestors 'none'"
)
_BUSY = (
    "<!DOCTYPE html><title>pychip-stream</title><p>Many pages are being opened at this moment; "
    "yours comes by itself."
)


def make(page: Callable[[], Any], config: DashboardConfig) -> Any:
    """Make the server, which does not serve yet.

    Parameters
    ----------
    page
        Builds the page of a new session.

    Raises
    ------
    PychipError
        If it cannot listen, or the file of accounts cannot be used.
    """
    address, port = config.address, config.port
    for chatty in ("tornado.access", "tornado.general", "bokeh"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # It tells the whole of every message that makes no sense.
    logging.getLogger("bokeh.server.views.ws").setLevel(logging.CRITICAL)
    pn.config.respect_explicit_sizing = True
    before = signal.getsignal(signal.SIGINT)
    options = login.server_options(config)
    try:
        server = pn.serve(
            page,
            address=address,
            port=port,
            websocket_origin=["localhost"],  # the gate looks at it
            title="pychip-stream",
            show=False,
            start=False,
            verbose=False,
            unused_session_lifetime_milliseconds=_UNUSED_MS,
            check_unused_sessions_milliseconds=1000,
            # Nobody makes the name of a session himself, or hands another's page his own.
            sign_sessions=True,
            secret_key=secrets.token_bytes(32),
            http_server_kwargs={"max_body_size": _MOST_BODY, "idle_connection_timeout": 60.0},
            websocket_max_message_size=_MOST_MESSAGE,
            extra_patterns=[(f"/{PATH}(.*)", _Parts)],
            **options,
        )
    except OSError as error:
        raise PychipError(
            f"cannot listen on {address}:{port}: {error.strerror}; choose another "
            "dashboard.port (0 takes a free one)"
        ) from error
    signal.signal(signal.SIGINT, before)  # Panel takes it for itself
    app = server._tornado
    app.settings["users"] = config.users
    app.add_transform(_Shield)
    app.resources = _resources_of(app.resources)
    app.wildcard_router.rules = list(_rules(app.wildcard_router.rules))
    app.default_router.rules.insert(0, Rule(_Gate(app, known_hosts(config, server.port)), _Refusal))
    return server


def _remembered(look: Callable[..., None]) -> Callable[..., None]:
    """Look once which files all kinds of components want: that takes 40 ms of each page."""
    known: dict[tuple[object, ...], list[str]] = {}

    def extra_resources(self: Resources, resources: list[str], kind: str) -> None:
        key = kind, self.mode, state.rel_path
        if key not in known:
            look(self, found := list[str](), kind)
            known[key] = found
        resources += [one for one in known[key] if one not in resources]

    return extra_resources


Resources.extra_resources = _remembered(Resources.extra_resources)


def _resources_of(made: Callable[..., Any]) -> Callable[..., Any]:
    """Let pages load the scripts of Bokeh that they use alone: a browser parses all it gets."""

    def resources(*args: Any) -> Any:
        found = made(*args)
        found.components = list(_COMPONENTS)
        return found

    return resources


def known_hosts(config: DashboardConfig, port: int) -> set[str]:
    """HOST:PORT by which browsers may call the page.

    Names that somebody else gives to this machine are none of them: a foreign page could lead its
    name here, and its browser would then take this server for its own.
    """
    names = {"localhost", "127.0.0.1", "[::1]", _bracketed(config.address)}
    if not is_loopback(config.address):
        names.add(socket.gethostname().lower())
    if config.address in _EVERYWHERE:
        names |= {
            _bracketed(found.address.partition("%")[0])
            for card in psutil.net_if_addrs().values()
            for found in card
            if found.family in (socket.AF_INET, socket.AF_INET6)
        }
    others = (o.lower() if ":" in o or o == "*" else f"{o.lower()}:80" for o in config.origins)
    return {f"{name}:{port}" for name in names} | set(others)


def _bracketed(address: str) -> str:
    try:
        six = ipaddress.ip_address(address).version == 6
    except ValueError:
        return address.lower()
    return f"[{address}]" if six else address


def _rules(made: list[Any]) -> Iterator[Rule]:
    """Choose the rules of `ROUTES` among those that Panel and Bokeh have made."""
    by_pattern = {rule.matcher.regex.pattern: rule for rule in reversed(made)}
    for path in ROUTES:
        rule = by_pattern.get("/?$" if path == "/" else f"{path}$")
        if rule is None:
            continue  # no accounts, no login
        target = _HANDLERS.get(path, rule.target)
        options = dict(rule.target_kwargs)
        if "root" in options:  # of this package's parts, whatever else is installed
            options["root"] = {
                name: extension_dirs[name] for name in ("panel", "panel-material-ui")
            }
        yield Rule(rule.matcher, target, options)


class _Gate(Matcher):
    """Matches every request that is refused, before a handler is chosen for it."""

    def __init__(self, app: Any, hosts: set[str]) -> None:
        self._app = app
        self._hosts = hosts

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return what `_Refusal` is told; None lets the request pass."""
        reason = self._reason(request)
        if reason is None:
            return None
        return {"target_kwargs": dict(zip(("status", "reason"), reason, strict=True))}

    def _reason(self, request: HTTPServerRequest) -> tuple[int, str] | None:
        if not check_allowlist(str(request.host).lower(), self._hosts):
            return 421, "not known by this name; see dashboard.origins"
        if _is_foreign(request, self._hosts):
            return 403, "asked for by another site"
        settings = self._app.settings
        if settings["users"] is None or request.path in _OPEN:
            return None
        cookie = request.cookies.get("user")
        known = cookie.value if cookie else None
        user = login.user_of(settings["users"], settings["cookie_secret"], known)
        return (403, "log in first") if user is None else None


def _is_foreign(request: HTTPServerRequest, hosts: set[str]) -> bool:
    """Whether a page of somebody else made the browser ask; following a link to here is no such."""
    headers = request.headers
    origin = headers.get("Origin")
    if origin is not None:
        scheme, _, host = origin.lower().partition("://")
        if scheme not in ("http", "https") or not check_allowlist(host, hosts):
            return True
    if headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return False
    follows = (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest"))
    return request.method != "GET" or follows != ("navigate", "document")


class _Refusal(RequestHandler):
    """Says no in one line."""

    def initialize(self, status: int, reason: str) -> None:
        """Take what is said."""
        self._no = (status, reason)

    def prepare(self) -> None:
        """Answer every method alike."""
        status, reason = self._no
        logger.info("refused %s: %s", self.request.method, reason)
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(reason + "\n")


class _Shield(OutputTransform):
    """Lets the browser load nothing from elsewhere, and nobody frame the page."""

    def __init__(self, request: HTTPServerRequest) -> None:
        del request

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        del finishing
        headers["Content-Security-Policy"] = _POLICY
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"  # without any, forms would come from "null"
        return status_code, headers, chunk


class _Parts(AuthRequestHandler):
    """Scripts and styles of our own browser parts."""

    def get(self, name: str) -> None:
        """Send one of them."""
        if name not in FILES:
            raise HTTPError(404)
        kind = "text/javascript" if name.endswith(".js") else "text/css"
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.finish(FILES[name].read_bytes())


class _Page(login.SafeCookies, DocHandler):
    """The page itself; so many at once of one machine that nobody looks at yet, and no more."""

    unseen: ClassVar[dict[object, str]] = {}

    def get_current_user(self) -> Any:
        """Know who asks; a read-only link that was revoked is nobody any more."""
        users = self.settings["users"]
        if users is None:
            return super().get_current_user()
        return login.user_of(users, self.settings["cookie_secret"], self.get_cookie("user"))

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Build a page, or let the browser ask again in a moment."""
        if self.settings["users"] is not None and "link" in self.request.arguments:
            self._follow_link(self.settings["users"])
            return
        if self.request.arguments.keys() & {"bokeh-session-id", "bokeh-token"}:
            raise HTTPError(403)  # nobody is led into a session that somebody else has named
        if "Bokeh-Session-Id" in self.request.headers:
            raise HTTPError(403)
        address = self.request.remote_ip or ""
        if self.current_user is not None and self._waiting(address) >= _MOST_UNSEEN:
            self.set_status(503)
            self.set_header("Refresh", "2")
            self.set_header("Retry-After", "2")
            self.finish(_BUSY)
            return
        self.unseen[self] = address
        try:
            building = super().get(*args, **kwargs)
            if building is not None:  # else sent to the login
                await building
        finally:
            del self.unseen[self]

    def _follow_link(self, users: Path) -> None:
        """Let in by a read-only link, which then goes from the address and from what it names."""
        said = [(k, v) for k, v in parse_qsl(self.request.query) if k != "link"]
        query = f"?{urlencode(said)}" if said else ""
        value = self.get_query_argument("link")
        trouble = guests.link_trouble(users, value, time.time())
        self.set_header("Cache-Control", "no-store")
        if self.current_user is None and trouble:
            self.set_status(403)
            self.finish(login.ask_for_login(trouble, query))
            return
        if self.current_user is None:
            self.remember(guests.GUEST + value)
        self.redirect(f"./{query}")

    async def get_session(self) -> Any:
        """Remember who asked for it, and let the browser fetch modules along with the scripts."""
        session = await super().get_session()
        self.unseen[session.id] = self.request.remote_ip or ""
        for url in {model.esm: None for model in session.document.models if _is_module(model)}:
            self.add_header("Link", f"<{url}>; rel=modulepreload")
        return session

    def _waiting(self, address: str) -> int:
        """Pages for this machine that are being built, or that no browser has connected to."""
        unseen = {s.id for s in self.application_context.sessions if s.connection_count == 0}
        for known in [k for k in self.unseen if isinstance(k, str) and k not in unseen]:
            del self.unseen[known]
        return list(self.unseen.values()).count(address)


def _is_module(model: Any) -> bool:
    """Whether a model is shown by a module that the browser gets from its `esm`."""
    return getattr(model, "bundle", None) == "url"


class _Socket(WSHandler):
    """The connection of an open page."""

    def check_origin(self, origin: str) -> bool:
        """Leave it to the gate, which has looked at it."""
        del origin
        return True

    def open(self, *args: Any, **kwargs: Any) -> Any:
        """Open it for the user whose page it is."""
        users, secret = self.settings["users"], self.settings["cookie_secret"]
        if users is not None and self._token is not None:
            cookies = get_token_payload(self._token).get("cookies") or {}
            theirs = login.user_of(users, secret, cookies.get("user"))
            if theirs != login.user_of(users, secret, self.get_cookie("user")):
                logger.warning("a page of one user was asked for by another")
                self.close()
                return None
        return super().open(*args, **kwargs)


_HANDLERS = {
    "/": _Page,
    "/ws": _Socket,
    "/login": login.LoginHandler,
    "/logout": login.LogoutHandler,
}
