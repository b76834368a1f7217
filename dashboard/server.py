"""Server: what can be asked of the page's web server, and by whom."""

import logging
import signal
from collections.abc import Callable
from typing import Any

import panel as pn
from bokeh.server.views.auth_request_handler import AuthRequestHandler
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import HTTPError, OutputTransform

from pychip_stream.config import DashboardConfig
from pychip_stream.errors import PychipError

from . import accounts
from .parts.components import FILES, PATH

_POLICY = (
    "default-src 'self' 'unsafe-inline' blob: data:; connect-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; frame-ancestors 'none'"
)


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
        headers["Referrer-Policy"] = "no-referrer"
        return status_code, headers, chunk


class _Parts(AuthRequestHandler):
    """Scripts and styles of our own browser parts."""

    def get(self, name: str) -> None:
        if name not in FILES:
            raise HTTPError(404)
        kind = "text/javascript" if name.endswith(".js") else "text/css"
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.finish(FILES[name].read_bytes())


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
    for chatty in ("tornado.access", "bokeh"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    pn.config.respect_explicit_sizing = True
    before = signal.getsignal(signal.SIGINT)
    options = accounts.server_options(config)
    try:
        server = pn.serve(
            page,
            address=address,
            port=port,
            websocket_origin=[f"{address}:{port}", f"localhost:{port}", *config.origins],
            title="pychip-stream",
            show=False,
            start=False,
            verbose=False,
            unused_session_lifetime_milliseconds=10_000,
            check_unused_sessions_milliseconds=1000,
            extra_patterns=[(f"/{PATH}(.*)", _Parts)],
            **options,
        )
    except OSError as error:
        raise PychipError(
            f"cannot listen on {address}:{port}: {error.strerror}; choose another "
            "dashboard.port (0 takes a free one)"
        ) from error
    signal.signal(signal.SIGINT, before)  # Panel takes it for itself
    server._tornado.add_transform(_Shield)
    return server
