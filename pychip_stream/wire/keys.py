"""Keys: who may connect from other machines (CURVE), and what each may do there.

They are files that only their owner reads; the public ones of the folder `allowed` say the role.
"""

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import zmq
from zmq.auth import load_certificate

from pychip_stream.config import PORTS
from pychip_stream.errors import PychipError, UsageError
from pychip_stream.wire.messages import (
    AnyMessage,
    Event,
    Measurement,
    Message,
    PublishSupport,
    Ready,
    Release,
    Result,
    SetPixelSize,
    Status,
)

logger = logging.getLogger(__name__)

SERVER = "server"
CLIENT = "client"
ALLOWED = "allowed"
PUBLIC, SECRET = ".key", ".key_secret"
_LOOK_AGAIN_S = 2.0


class Rights(NamedTuple):
    """What a key may do.

    Attributes
    ----------
    ports
        Where it may connect.
    sends
        Messages that are taken from it.
    speaks_as
        Of which service it may say how it is.
    """

    ports: frozenset[str]
    sends: frozenset[type[Message]]
    speaks_as: str = ""


ANY = "any"
ROLES: dict[str, Rights | None] = {
    ANY: None,
    "worker": Rights(frozenset(PORTS), frozenset({Ready, Release, Result, Status}), "inference"),
    "operator": Rights(
        frozenset({"requests", "events"}),
        frozenset({PublishSupport, SetPixelSize, Status}),
        "dashboard",
    ),
    "instrument": Rights(frozenset({"results"}), frozenset({Measurement, Event})),
    "viewer": Rights(frozenset({"events"}), frozenset()),
}
"""What the keys of clients may be made for; None: everything, as the services themselves."""


def may_connect(role: str, port: str) -> bool:
    """Whether keys of a role are let in on a port."""
    rights = ROLES.get(role, _NOTHING)
    return rights is None or port in rights.ports


def may_send(role: str, message: Message) -> bool:
    """Whether a message is taken from keys of a role."""
    rights = ROLES.get(role, _NOTHING)
    if rights is None:
        return True
    if isinstance(message, Status) and message.service != rights.speaks_as:
        return False
    return type(message) in rights.sends


def signed(message: AnyMessage, key: str) -> AnyMessage:
    """Give a message with its author bound to the name of the key that it came under.

    Whoever sends it may name himself, but not as somebody else: ada becomes "ada (oven)".
    """
    if not isinstance(message, (Event, PublishSupport, SetPixelSize)) or message.author == key:
        return message
    told = f"{message.author} ({key})" if message.author else key
    return msgspec.structs.replace(message, author=told)


_NOTHING = Rights(frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key and, where this machine holds it, the secret one (both Z85)."""

    public: bytes
    secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a process needs to connect and to be connected to.

    Attributes
    ----------
    server
        Of the services that listen; the secret is only on machines that run one of them.
    client
        Of this machine.
    allowed
        Folder of the public keys that may connect.
    """

    server: KeyPair
    client: KeyPair
    allowed: Path

    @classmethod
    def load(cls, folder: Path) -> "Keys":
        """Read the keys of a machine; a secret that other users can read is not taken."""
        client = _read(folder / f"{CLIENT}{SECRET}")
        if client.secret is None:
            raise PychipError(f"{folder / (CLIENT + SECRET)}: holds no secret key; make new keys")
        secret = folder / f"{SERVER}{SECRET}"
        server = _read(secret if secret.exists() else folder / f"{SERVER}{PUBLIC}")
        return cls(server, client, folder / ALLOWED)

    def protect_client(self, socket: "zmq.Socket[bytes]") -> None:
        """Make a socket that connects prove who it is, and check whom it reaches."""
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.server.public)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.client.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.client.secret or b"")

    def protect_server(self, socket: "zmq.Socket[bytes]", domain: bytes) -> None:
        """Make a socket that listens refuse whoever is not allowed."""
        if self.server.secret is None:
            raise PychipError(
                f"{self.allowed.parent / (SERVER + SECRET)}: is missing; copy it from the machine "
                "where the keys were made, services that listen need it"
            )
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.server.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, domain)
        # Without this an unknown key is let in when the authenticator does not run
        # (libzmq 4.3, zeromq/libzmq#2711).
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def make_keys(folder: Path) -> list[Path]:
    """Make the keys of a run: of its services, and of this machine as their client.

    Keys that are there already, or a folder that cannot be written, are errors.
    """
    if (folder / f"{SERVER}{SECRET}").exists() or (folder / f"{SERVER}{PUBLIC}").exists():
        raise UsageError(f"{folder}: holds keys already; choose another folder")
    with _writing(folder):
        _make_private(folder)
        made = _write_pair(folder, SERVER) + _write_pair(folder, CLIENT)
        made.append(_write(folder / ALLOWED / f"{CLIENT}{PUBLIC}", _read(made[-1]).public))
    return made


def make_client(folder: Path, name: str, *, services: bool = False, role: str = ANY) -> list[Path]:
    """Make the keys of another machine, and allow them: FOLDER/NAME/ is to be copied to it.

    Parameters
    ----------
    services
        The machine runs a service that listens (watcher, archiver or hub): it gets the secret
        key of the services and the list of who is allowed.
    role
        What its key may do: one of `ROLES`.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) or name in (ALLOWED, SERVER):
        raise UsageError(f"client {name!r}: use letters, digits, '_' and '-'")
    if services and role != ANY:
        raise UsageError(f"a machine that runs services that listen cannot be {role!r} alone")
    server = folder / f"{SERVER}{PUBLIC}"
    if not server.exists():
        raise UsageError(f"{folder}: holds no keys; make them first with `pychip-stream keys DIR`")
    target = folder / name
    if target.exists():
        raise UsageError(f"{target}: exists already; choose another name")
    with _writing(folder):
        _make_private(target)
        made = _write_pair(target, CLIENT)
        made.append(_write(target / f"{SERVER}{PUBLIC}", _read(server).public))
        public = _read(made[0]).public
        made.append(_write(folder / ALLOWED / f"{name}{PUBLIC}", public, role=role))
        if services:
            pair = _read(folder / f"{SERVER}{SECRET}")
            made.append(_write(target / f"{SERVER}{SECRET}", pair.public, pair.secret))
            for path in sorted((folder / ALLOWED).glob(f"*{PUBLIC}")):
                copy = target / ALLOWED / path.name
                made.append(_write(copy, _read(path).public, role=_read_role(path)))
    return made


class Allowed:
    """Who may do what: the public keys in a folder, read again when one comes or goes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[str, str]] = {}
        self._stamp: object = None
        self._look_at = 0.0

    def role(self, public: str) -> str:
        """Return the role of a public key (Z85); empty if it is not allowed."""
        return self._look_up(public)[0]

    def name(self, public: str) -> str:
        """Return the name under which a public key lies in the folder, likewise."""
        return self._look_up(public)[1]

    def _look_up(self, public: str) -> tuple[str, str]:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_AGAIN_S
            self._look()
        return self._known.get(public, ("", ""))

    def _look(self) -> None:
        try:
            files = sorted(self._folder.glob(f"*{PUBLIC}"))
            stamp = [(path.name, path.stat().st_mtime_ns) for path in files]
        except OSError:
            return
        if stamp == self._stamp:
            return
        self._stamp, known = stamp, {}
        for path in files:
            try:
                known[_read(path).public.decode()] = _read_role(path), path.stem
            except PychipError as error:
                logger.error("%s", error)
        self._known = known


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PychipError(f"{error.filename or folder}: {error.strerror}") from error


def _make_private(folder: Path) -> None:
    (folder / ALLOWED).mkdir(parents=True, exist_ok=True)
    if sys.platform != "win32":
        folder.chmod(0o700)


def _write_pair(folder: Path, name: str) -> list[Path]:
    public, secret = zmq.curve_keypair()
    return [
        _write(folder / f"{name}{SECRET}", public, secret),
        _write(folder / f"{name}{PUBLIC}", public),
    ]


def _write(path: Path, public: bytes, secret: bytes | None = None, *, role: str = ANY) -> Path:
    """Write a certificate; one with a secret can never be read by others, not even briefly."""
    metadata = "" if role == ANY else f'    role = "{role}"\n'
    text = f'metadata\n{metadata}curve\n    public-key = "{public.decode()}"\n'
    if secret is not None:
        text += f'    secret-key = "{secret.decode()}"\n'
    mode = 0o600 if secret is not None else 0o644
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _read(path: Path) -> KeyPair:
    try:
        mode = path.stat().st_mode
        public, secret = load_certificate(path)
    except (OSError, ValueError) as error:
        raise PychipError(
            f"{path}: no key can be read ({error}); see `pychip-stream keys`"
        ) from error
    if secret is not None and sys.platform != "win32" and mode & 0o077:
        raise PychipError(f"{path}: other users can read this secret key; chmod 600 {path}")
    return KeyPair(public, secret)


def _read_role(path: Path) -> str:
    """Read what a key may do; one that says nothing was made before there were roles."""
    try:
        found = re.search(r'^\s*role\s*=\s*"(.*)"', path.read_text("utf-8"), re.MULTILINE)
    except (OSError, ValueError) as error:
        raise PychipError(f"{path}: cannot be read ({error})") from error
    role = found[1] if found else ANY
    if role not in ROLES:
        raise PychipError(f"{path}: there is no role {role!r}; choose among {', '.join(ROLES)}")
    return role
