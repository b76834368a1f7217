"""Who may connect: known keys, and nobody else, whatever happens to the authenticator."""

import asyncio
import re
import stat
import sys
import threading
from typing import get_args

import msgspec
import numpy as np
import pytest
import zmq

from pychip_stream.config import PORTS, WireConfig
from pychip_stream.errors import PychipError, UsageError
from pychip_stream.wire import endpoints as module
from pychip_stream.wire import messages
from pychip_stream.wire.endpoints import Endpoints, request
from pychip_stream.wire.keys import (
    ROLES,
    Allowed,
    Keys,
    make_client,
    make_keys,
    may_connect,
    may_send,
    signed,
)
from pychip_stream.wire.messages import KeysWanted, Ready, Reply
from tests.conftest import ROOT
from tests.support.wire_samples import samples

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
    endpoints._guard._allowed._look_at = 0.0
    assert connects(channel, other, PATIENCE_S)
    (folder / "allowed" / "other.key").unlink()
    endpoints._guard._allowed._look_at = 0.0
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
    with Endpoints(config.model_copy(update={"keys": stranger})) as other:
        other.reach("tasks", zmq.DEALER, 10).send(Ready(worker="w", credit=1))
        assert not channel.raw.poll(int(REFUSED_S * 1000))  # not even to be dropped
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

        def configure_curve_callback(self, **_options):
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


def walked_table():
    """The roles of docs/security.md: {role: (ports, [(message, service)])}."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|([^|]*)\|$", text, re.MULTILINE)
    names = {kind.__name__.lower() for kind in get_args(messages.AnyMessage)}
    found = {}
    for role, ports, sends in rows:
        told = re.findall(r"`(\w+)`(?: of `(\w+)`)?", sends)
        everything = [(name, "") for name in sorted(names)]
        found[role] = (re.findall(r"`(\w+)`", ports), everything if "everything" in sends else told)
    return found


@pytest.mark.parametrize("role", ROLES)
def test_the_table_of_the_documentation_says_who_may_do_what(role):
    assert set(walked_table()) == set(ROLES)
    ports, sends = walked_table()[role]
    assert {port for port in PORTS if may_connect(role, port)} == set(ports)
    services = ("inference", "dashboard", "archiver", "hub")
    for message in (one for one, _ in samples()):
        name = type(message).__name__.lower()
        for service in services if name == "status" else ("",):
            if name == "status":
                message = msgspec.structs.replace(message, service=service)
            expected = any(one == name and of in ("", service) for one, of in sends)
            assert may_send(role, message) == expected, (name, service)


def reach(config, folder, name):
    return config.model_copy(update={"keys": folder / name})


def test_a_workers_key_publishes_no_support_set_and_is_told_so(served, folder):
    _, channel, config = served
    make_client(folder, "gpu", role="worker")
    taken = []
    serving = threading.Thread(target=lambda: taken.append(channel.receive(3 * PATIENCE_S)))
    serving.start()
    data = {"data": np.zeros(3, np.uint8)}
    with pytest.raises(PychipError, match="PublishSupport is not taken from a key of the role 'w"):
        request(reach(config, folder, "gpu"), messages.PublishSupport(), data, PATIENCE_S)
    with Endpoints(reach(config, folder, "gpu")) as client:  # what it may is taken
        client.reach("tasks", zmq.DEALER, 10).send(Ready(worker="w", credit=1))
        serving.join()
    assert taken[0].packet.message == Ready(worker="w", credit=1)
    assert channel.dropped == 1


def test_who_sends_something_cannot_do_so_as_somebody_else(served, folder):
    _, channel, config = served
    make_client(folder, "oven")
    event = messages.Event(id="1", author="ada", text="valve opened", time=1.7e9)
    own = msgspec.structs.replace(event, author="oven")
    told = [event, own, messages.SetPixelSize(author="eve"), messages.SetPixelSize()]
    taken = []
    with Endpoints(reach(config, folder, "oven")) as client:
        sender = client.reach("tasks", zmq.DEALER, 10)
        for message in told:
            sender.send(message)
        while len(taken) < len(told):
            taken.append(channel.receive(PATIENCE_S).packet.message)
    assert [one.author for one in taken] == ["ada (oven)", "oven", "eve (oven)", "oven"]
    assert [msgspec.structs.replace(one, author="") for one in taken] == [
        msgspec.structs.replace(one, author="") for one in told
    ]


def test_every_message_with_an_author_is_bound_to_its_key():
    for message in (one for one, _ in samples()):
        found, author = signed(message, "mill"), getattr(message, "author", None)
        assert found is message if author is None else found.author == f"{author} (mill)"


def test_a_viewers_key_sends_nothing(served, folder):
    _, channel, config = served
    make_client(folder, "screen", role="viewer")
    assert not connects(channel, reach(config, folder, "screen"), REFUSED_S)
    assert connects(channel, config, PATIENCE_S)


def test_a_key_that_is_taken_away_is_heard_no_more(served, folder):
    endpoints, channel, config = served
    make_client(folder, "old")
    with Endpoints(reach(config, folder, "old")) as client:
        worker = client.reach("tasks", zmq.DEALER, 10)
        worker.send(Ready(worker="w", credit=1))
        assert channel.receive(PATIENCE_S) is not None
        (folder / "allowed" / "old.key").unlink()
        endpoints._guard._allowed._look_at = 0.0
        worker.send(Ready(worker="w", credit=1))
        assert channel.receive(REFUSED_S) is None
        assert channel.dropped == 1


def test_roles_are_kept_where_services_are_copied_to(folder):
    make_client(folder, "gpu", role="worker")
    make_client(folder, "microscope", services=True)
    for place in (folder, folder / "microscope"):
        public = Keys.load(folder / "gpu").client.public.decode()
        assert Allowed(place / "allowed").role(public) == "worker"
    with pytest.raises(UsageError, match="cannot be 'viewer' alone"):
        make_client(folder, "third", services=True, role="viewer")


def test_a_role_that_there_is_not_allows_nothing(folder, caplog):
    make_client(folder, "gpu", role="worker")
    path = folder / "allowed" / "gpu.key"
    path.write_text(path.read_text().replace("worker", "king"))
    allowed = Allowed(folder / "allowed")
    assert allowed.role(Keys.load(folder / "gpu").client.public.decode()) == ""
    assert allowed.role(Keys.load(folder).client.public.decode()) == "any"
    assert "there is no role 'king'" in caplog.text


def test_a_key_that_connects_again_and_again_is_refused_for_a_while(served, monkeypatch):
    endpoints, _, config = served
    monkeypatch.setattr(module, "_MOST_KNOCKS", 5)
    guard, key = endpoints._guard, Keys.load(config.keys).client.public
    domain = f"{module.DOMAIN}/tasks"
    assert [guard.callback(domain, key) for _ in range(8)] == [True] * 5 + [False] * 3
