"""Guests: read-only links, by which a colleague without an account may look and no more.

A link carries a signed value with its purpose and its end. The secret it is signed with lies
beside the file of accounts, so that links outlive this program; who removes it revokes them all.
"""

import secrets
import threading
from pathlib import Path

from tornado.web import create_signed_value, decode_signed_value

from pychip_stream.archive.disk import Disk, reason
from pychip_stream.errors import PychipError

GUEST = "read-only link"
"""Who comes by one is called so, and no account is."""
LINK_DAYS = 7.0
"""How long a link is good for."""
_DAY_S = 86400.0
_PURPOSE = "pychip-stream-read-only"
_MAKING = threading.Lock()
_OLD = "this read-only link is no longer good (it has expired); ask an operator for a new one"
_BAD = "this read-only link is not good (altered, or revoked); ask an operator for a new one"


def make_link(users: Path, now: float) -> str:
    """Make the value of a link that is good for `LINK_DAYS` from `now`, seconds since 1970.

    Raises
    ------
    PychipError
        If its secret cannot be read or kept.
    """
    path = _path(users)
    try:
        with _MAKING:
            if not path.exists():
                Disk().save(path, secrets.token_hex(32).encode(), private=True)
        secret = _secret(users)
    except OSError as error:
        raise PychipError(
            f"{path}: {reason(error)}; without it no read-only link can be made"
        ) from error
    if not secret:
        raise PychipError(f"{path} is empty; remove it, then make the link again")
    return create_signed_value(secret, _PURPOSE, f"{now + LINK_DAYS * _DAY_S:.0f}").decode()


def link_trouble(users: Path, value: str, now: float) -> str:
    """Say why the value of a link is not good; empty where it is."""
    try:
        secret = _secret(users)
    except OSError:
        return _BAD
    end = decode_signed_value(secret, _PURPOSE, value, max_age_days=1e6) if secret else None
    if end is None:
        return _BAD
    return "" if now < float(end) else _OLD


def _path(users: Path) -> Path:
    return users.with_name(users.name + ".links")


def _secret(users: Path) -> str:
    return _path(users).read_text(encoding="utf-8").strip()
