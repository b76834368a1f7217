"""Who may connect: known keys, and nobody else, whatever happens to the authenticator."""

import asyncio
import stat
import sys

import pytest
import zmq

from pychip_stream.config import WireConfig
from pychip_stream.errors import PychipError, UsageError
from pychip_stream.wire.endpoints import Endpoints, request
from pychip_stream.wire.keys import Keys, make_client, make_keys
from pychip_stream.wire.messages import KeysWanted, Ready, Reply

PATIENCE_S = 20.0
REFUSED_S = 1.0


@pytest.fixture
def folder(tmp_path):
    make_keys(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def served(folder):
    """A listening service with keys, and the configuration to reach it."""
    with Endpoints(WireConfig(keys=folder)) as endpoints:
        channel = endpoints.listen("tasks", zmq.ROUTER, 10)
        port = int(channel.raw.getsockopt_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1])
        yield endpoints, channel, WireConfig(keys=folder, tasks=port, requests=port)


def connects(channel, config, within_s):
    """Whether a message of a client with this configuration arrives."""
    with Endpoints(config) as endpoints:
        endpoints.reach("tasks", zmq.DEALER, 10).send(Ready(worker="w", credit=1))
        received = channel.receive(within_s)
    while channel.receive(0.0) is not None:
        pass
    return received is not None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_secret_keys_are_for_their_owner_alone(folder):
    made = make_client(folder, "microscope")
    secrets = [*folder.rglob("*.key_secret")]
    assert len(secrets) == 3
    assert made[0] in secrets
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secrets[0].chmod(0o640)
    with pytest.raises(PychipError, match="chmod 600"):
        Keys.load(secrets[0].parent)


def test_no_secret_of_the_services_goes_to_clients(folder):
    make_client(folder, "microscope")
    keys = Keys.load(folder / "microscope")
    assert keys.server.secret is None
    assert keys.server.public == Keys.load(folder).server.public
    config = WireConfig(keys=folder / "microscope")
    with Endpoints(config) as endpoints, pytest.raises(PychipError, match=r"server\.key_secret"):
        endpoints.listen("tasks", zmq.ROUTER, 10)


def test_keys_are_never_overwritten(folder):
    with pytest.raises(UsageError, match="already"):
        make_keys(folder)
    make_client(folder, "a")
    with pytest.raises(UsageError, match="exists already"):
        make_client(folder, "a")


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "allowed", "server", "a b", ".hidden"])
def test_a_name_cannot_leave_the_folder(folder, name):
    with pytest.raises(UsageError):
        make_client(folder, name)


def test_damaged_keys_are_one_clear_line(folder):
    (folder / "client.key_secret").write_text("nonsense")
    (folder / "client.key_secret").chmod(0o600)
    with pytest.raises(PychipError, match="no key can be read"):
        Endpoints(WireConfig(keys=folder))


def test_known_keys_are_let_in(served, folder):
    _, channel, config = served
    assert connects(channel, config, PATIENCE_S)


def test_a_key_is_let_in_once_it_is_allowed_and_not_before(served, folder):
    endpoints, channel, config = served
    make_client(folder, "other")
    hidden = (folder / "allowed" / "other.key").rename(folder / "other.key")
    other = config.model_copy(update={"keys": folder / "other"})
    assert not connects(channel, other, REFUSED_S)
    hidden.rename(folder / "allowed" / "other.key")
    endpoints._guard._look_at = 0.0
    endpoints.check()
    assert connects(channel, other, PATIENCE_S)
    (folder / "allowed" / "other.key").unlink()
    endpoints._guard._look_at = 0.0
    endpoints.check()
    assert not connects(channel, other, REFUSED_S)


def test_an_unknown_key_is_refused(served, tmp_path, folder):
    _, channel, config = served
    stranger = tmp_path / "stranger"
    make_keys(stranger)
    # It knows the service's public key, which is no secret.
    (stranger / "server.key_secret").unlink()
    (stranger / "server.key").write_bytes((folder / "server.key").read_bytes())
    unknown = config.model_copy(update={"keys": stranger})
    assert not connects(channel, unknown, REFUSED_S)
    assert not connects(channel, config.model_copy(update={"keys": None}), REFUSED_S)
    assert connects(channel, config, PATIENCE_S)  # the service still lives


def test_nobody_is_let_in_when_the_authenticator_died(served, tmp_path, folder):
    endpoints, channel, config = served
    endpoints._guard._authenticator.stop()
    stranger = tmp_path / "stranger"
    make_keys(stranger)
    (stranger / "server.key_secret").unlink()
    (stranger / "server.key").write_bytes((folder / "server.key").read_bytes())
    assert not connects(channel, config.model_copy(update={"keys": stranger}), REFUSED_S)
    with pytest.raises(PychipError, match="authenticator died"):
        endpoints.check()  # so that the supervisor starts the service again


def test_a_false_service_is_not_believed(tmp_path, served):
    """A client does not talk to a service whose key is another than the one it knows."""
    _, _channel, config = served
    other = tmp_path / "other"
    make_keys(other)
    theirs = other / "allowed" / "us.key"
    theirs.write_bytes((config.keys / "client.key").read_bytes())
    with Endpoints(WireConfig(keys=other)) as endpoints:
        false = endpoints.listen("tasks", zmq.ROUTER, 10)
        port = int(false.raw.getsockopt_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1])
        assert not connects(false, config.model_copy(update={"tasks": port}), REFUSED_S)


def test_requests_work_with_keys(served):
    import threading

    _, channel, config = served

    def answer():
        received = channel.receive(PATIENCE_S)
        channel.send(Reply(ok=True, detail="yes"), to=received.sender)

    thread = threading.Thread(target=answer)
    thread.start()
    assert request(config, KeysWanted(start=0), timeout_s=PATIENCE_S).detail == "yes"
    thread.join()


def test_on_windows_the_authenticator_gets_a_loop_that_can_watch_sockets(folder, monkeypatch):
    order = []

    class Authenticator:
        def __init__(self, _context, log):
            order.append("authenticator")

        def start(self):
            order.append("start")

        def configure_curve(self, **_options):
            pass

        def stop(self):
            pass

    monkeypatch.setattr("zmq.auth.thread.ThreadAuthenticator", Authenticator)
    monkeypatch.setattr(
        asyncio, "WindowsSelectorEventLoopPolicy", lambda: "selector", raising=False
    )
    monkeypatch.setattr(asyncio, "set_event_loop_policy", order.append)
    with Endpoints(WireConfig(keys=folder)) as endpoints:
        monkeypatch.setattr(sys, "platform", "win32")
        endpoints.listen("tasks", zmq.ROUTER, 10)
        monkeypatch.undo()
    assert order == ["selector", "authenticator", "start"]
