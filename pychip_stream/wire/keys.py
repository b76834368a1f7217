"""Keys: who may connect from other machines (CURVE), as files that only their owner reads."""

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.auth import load_certificate

from pychip_stream.errors import PychipError, UsageError

SERVER = "server"
CLIENT = "client"
ALLOWED = "allowed"
PUBLIC, SECRET = ".key", ".key_secret"


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
        """Read the keys of a machine.

        Raises
        ------
        PychipError
            If one is missing or damaged, or a secret can be read by other users.
        """
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
        """Make a socket that listens refuse whoever is not allowed.

        Raises
        ------
        PychipError
            If this machine does not hold the secret key of the services.
        """
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

    Raises
    ------
    UsageError
        If there are keys already.
    PychipError
        If the folder cannot be written.
    """
    if (folder / f"{SERVER}{SECRET}").exists() or (folder / f"{SERVER}{PUBLIC}").exists():
        raise UsageError(f"{folder}: holds keys already; choose another folder")
    try:
        (folder / ALLOWED).mkdir(parents=True, exist_ok=True)
        if sys.platform != "win32":
            folder.chmod(0o700)
        made = _write_pair(folder, SERVER) + _write_pair(folder, CLIENT)
        made.append(_write(folder / ALLOWED / f"{CLIENT}{PUBLIC}", _read(made[-1]).public))
    except OSError as error:
        raise PychipError(f"{error.filename or folder}: {error.strerror}") from error
    return made


def make_client(folder: Path, name: str, *, services: bool = False) -> list[Path]:
    """Make the keys of another machine, and allow them: FOLDER/NAME/ is to be copied to it.

    Parameters
    ----------
    services
        The machine runs a service that listens (watcher, archiver or hub): it gets the secret
        key of the services and the list of who is allowed.

    Raises
    ------
    UsageError
        If there are no keys in the folder, the name is taken or cannot be a file name.
    PychipError
        If the folder cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) or name in (ALLOWED, SERVER):
        raise UsageError(f"client {name!r}: use letters, digits, '_' and '-'")
    server = folder / f"{SERVER}{PUBLIC}"
    if not server.exists():
        raise UsageError(f"{folder}: holds no keys; make them first with `pychip-stream keys DIR`")
    target = folder / name
    if target.exists():
        raise UsageError(f"{target}: exists already; choose another name")
    try:
        (target / ALLOWED).mkdir(parents=True)
        if sys.platform != "win32":
            target.chmod(0o700)
        made = _write_pair(target, CLIENT)
        made.append(_write(target / f"{SERVER}{PUBLIC}", _read(server).public))
        made.append(_write(folder / ALLOWED / f"{name}{PUBLIC}", _read(made[0]).public))
        if services:
            pair = _read(folder / f"{SERVER}{SECRET}")
            made.append(_write(target / f"{SERVER}{SECRET}", pair.public, pair.secret))
            made += [
                _write(target / ALLOWED / path.name, _read(path).public)
                for path in sorted((folder / ALLOWED).glob(f"*{PUBLIC}"))
            ]
    except OSError as error:
        raise PychipError(f"{error.filename or folder}: {error.strerror}") from error
    return made


def _write_pair(folder: Path, name: str) -> list[Path]:
    public, secret = zmq.curve_keypair()
    return [
        _write(folder / f"{name}{SECRET}", public, secret),
        _write(folder / f"{name}{PUBLIC}", public),
    ]


def _write(path: Path, public: bytes, secret: bytes | None = None) -> Path:
    """Write a certificate; one with a secret can never be read by others, not even briefly."""
    text = f'metadata\ncurve\n    public-key = "{public.decode()}"\n'
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
