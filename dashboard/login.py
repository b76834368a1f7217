"""Login: passwords asked for, slowed down, and remembered in a cookie."""

import hmac
import json
import secrets
import time
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tornado.template import Template
from tornado.web import RequestHandler, decode_signed_value

from pychip_stream.config import DashboardConfig
from pychip_stream.errors import ConfigError

from .guests import GUEST, link_trouble
from .work.recent import Recent

_LOGIN_PAGE = Template((Path(__file__).resolve().parent / "login.html").read_text("utf-8"))
_LOGIN_DAYS = 1.0


def server_options(config: DashboardConfig) -> dict[str, Any]:
    """Tell Panel's server how to log viewers in; nothing where no accounts are configured.

    Raises
    ------
    ConfigError
        If the file of accounts cannot be used.
    """
    if config.users is None:
        return {}
    _check(config.users)
    return {
        "basic_auth": str(config.users),
        # Made anew at each start: whoever was logged in logs in again.
        "cookie_secret": secrets.token_hex(32),
    }


def user_of(users: Path | None, secret: str | None, cookie: str | None) -> str | None:
    """Login name that a cookie tells; None where it is none of this server's, or too old.

    Whoever came by a read-only link is `GUEST`, for as long as the link is good.
    """
    if users is None or not secret or not cookie:
        return None
    found = decode_signed_value(secret, "user", cookie, max_age_days=_LOGIN_DAYS)
    name = None if found is None else found.decode()
    if name is None or not name.startswith(GUEST):
        return name
    return None if link_trouble(users, name.removeprefix(GUEST), time.time()) else GUEST


def _check(path: Path) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read ({error.strerror or error})"]) from error
    except ValueError as error:
        raise ConfigError(str(path), [f"is not valid JSON: {error}"]) from error
    good = isinstance(found, dict) and all(
        isinstance(name, str) and isinstance(word, str) and word for name, word in found.items()
    )
    if not good or not found:
        raise ConfigError(str(path), ['write {"name": "password", …} with a password for each'])
    if any(name.startswith(GUEST) for name in found):
        raise ConfigError(str(path), [f"no name may begin with {GUEST!r}"])


class Brake:
    """Slows down whoever tries passwords: after a few failures each try waits for the next.

    A name waits wherever the tries come from, but not for a machine that has logged in with it
    before, so that nobody is locked out by others; a machine waits whatever names it tries.
    """

    _FREE, _LONGEST_S, _REMEMBERED = 5, 60.0, 10_000

    def __init__(self) -> None:
        self._failures = Recent[tuple[str, str], tuple[int, float]](self._REMEMBERED)
        self._good = Recent[tuple[str, str], bool](self._REMEMBERED)

    def wait_s(self, name: str, address: str, now: float) -> float:
        """Seconds until the next try is looked at; `now` is `time.monotonic()`."""
        return max(self._rest_s(key, now) for key in self._keys(name, address))

    def failed(self, name: str, address: str, now: float) -> None:
        """Note a wrong password."""
        for key in self._keys(name, address):
            count, _ = self._failures.get(key) or (0, 0.0)
            self._failures.put(key, (count + 1, now))

    def succeeded(self, name: str, address: str) -> None:
        """Note a right one."""
        for key in self._keys(name, address):
            self._failures.put(key, (0, 0.0))
        self._good.put((name, address), True)

    def _keys(self, name: str, address: str) -> list[tuple[str, str]]:
        keys = [("address", address)]
        return keys if self._good.get((name, address)) else [*keys, ("name", name)]

    def _rest_s(self, key: tuple[str, str], now: float) -> float:
        count, at = self._failures.get(key) or (0, 0.0)
        if count < self._FREE:
            return 0.0
        return max(at + min(2.0 ** (count - self._FREE), self._LONGEST_S) - now, 0.0)


class SafeCookies(RequestHandler):
    """Cookies that no script reads, that no other site sends, and that stay within TLS."""

    def remember(self, name: str) -> None:
        """Know this browser's user from now on."""
        self.set_signed_cookie("user", name, expires_days=_LOGIN_DAYS)

    def set_cookie(self, name: str, value: str | bytes, *args: Any, **options: Any) -> None:
        """Set it so."""
        behind_tls = "https" in (
            self.request.protocol, self.request.headers.get("X-Forwarded-Proto")
        )  # fmt: skip
        options |= {"httponly": True, "samesite": "Lax", "secure": behind_tls}
        super().set_cookie(name, value, *args, **options)


def ask_for_login(trouble: str, asked: str) -> bytes:
    """Make the page that asks for name and password, and then goes to what was `asked` for."""
    return _LOGIN_PAGE.generate(trouble=trouble, asked=asked)


class LoginHandler(SafeCookies):
    """The login."""

    brake: ClassVar = Brake()

    def get(self) -> None:
        """Ask for name and password."""
        self._ask("")

    def post(self) -> None:
        """Try a password."""
        name = self.get_argument("username", "")
        address, now = self.request.remote_ip or "", time.monotonic()
        wait_s = self.brake.wait_s(name, address, now)
        if wait_s > 0:
            self.set_status(429)
            self._ask(f"Too many tries: wait {max(wait_s, 1):.0f} s, then try again")
        elif self._is_right(name, self.get_argument("password", "", strip=False)):
            self.brake.succeeded(name, address)
            self.remember(name)
            self.redirect(f"./{self._asked}")
        else:
            self.brake.failed(name, address, now)
            self.set_status(403)
            self._ask("Invalid username or password!")

    @property
    def _asked(self) -> str:
        """Arguments of the address that led here; nothing else of it, or it could lead away."""
        query = urlsplit(self.get_argument("next", "")).query
        return f"?{query}" if query else ""

    def _ask(self, trouble: str) -> None:
        self.set_header("Cache-Control", "no-store")
        self.finish(ask_for_login(trouble, self._asked))

    def _is_right(self, name: str, password: str) -> bool:
        users = json.loads(Path(self.settings["users"]).read_text(encoding="utf-8"))
        right = users.get(name, "")
        same = hmac.compare_digest(password.encode(), str(right).encode())
        return same and bool(right) and not name.startswith(GUEST)


class LogoutHandler(SafeCookies):
    """Forgets the login."""

    def get(self) -> None:
        """Go back to the login."""
        self.clear_cookie("user")
        self.redirect("./login")
