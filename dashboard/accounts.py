"""Accounts: who may look, who may change, and what the server is told about logging in."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pychip_stream.config import DashboardConfig
from pychip_stream.errors import ConfigError

_LOGIN_PAGE = Path(__file__).resolve().parent / "login.html"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks.

    Attributes
    ----------
    user
        Login name; empty without accounts.
    operator
        Whether this viewer may change anything: support sets, scorings.
    """

    user: str = ""
    operator: bool = True


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
        "basic_login_template": str(_LOGIN_PAGE),
        # Made anew at each start: whoever was logged in logs in again.
        "cookie_secret": secrets.token_hex(32),
    }


def viewer(config: DashboardConfig, user: str | None) -> Viewer:
    """Tell what a logged-in user (None without accounts) may do."""
    if config.users is None:
        return Viewer()
    name = user or ""
    return Viewer(name, operator=not config.operators or name in config.operators)


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
