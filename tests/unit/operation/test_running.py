"""What a start leaves for others, and that nobody but its own end takes it away."""

import contextlib
import socket
import sys

import pytest
import zmq

from pychip_stream import config as configuration
from pychip_stream.errors import UsageError
from pychip_stream.operation.running import Claim, expected, resolved_path, running_config


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("watch: {root: frames}\n")
    return path


def say(_name, _line):
    pass


@pytest.fixture
def claim(path):
    made = Claim(configuration.load(path), say, path)
    yield made
    made.release()


@pytest.mark.parametrize(
    "edited",
    [
        "watch: {root: frames}\narchive: {name: another}\n",
        "watch: {root: frames}\narchive: {folder: elsewhere}\n",
        "watch: {root: frames}\nwire: {tasks: 1, results: 2, requests: 3, events: 4}\n",
        "watch: {root: frames\n",
        "",
    ],
)
def test_a_configuration_that_is_edited_still_leads_to_its_run(claim, path, edited):
    path.write_text(edited)
    assert running_config(path) == claim.config


def test_a_start_that_is_refused_changes_nothing_of_the_first(claim, path, tmp_path):
    files = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    assert len(files) == 4  # the configuration and the note beside it, what was chosen, the lock
    with pytest.raises(UsageError, match="going on already"):
        Claim(configuration.load(path), say, path)
    assert {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()} == files
    assert running_config(path) == claim.config


def test_the_end_of_a_run_leaves_no_note(claim, path, tmp_path):
    claim.release()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["config.yaml", "runs"]


def test_a_configuration_in_a_folder_that_nobody_may_write_is_no_obstacle(path, monkeypatch):
    from pychip_stream.operation import running

    beside = path.parent / "no" / "such" / "folder"
    monkeypatch.setattr(running, "_note_beside", lambda _path: beside)
    made = Claim(configuration.load(path), say, path)
    assert running_config(path) == made.config
    made.release()


@pytest.mark.skipif(sys.platform == "win32", reason="ports cannot be kept and shared there")
def test_chosen_ports_are_kept_for_the_services(claim):
    wire = claim.config.wire
    with contextlib.closing(socket.socket()) as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", wire.tasks))
    for _ in range(2):  # and again after it died
        with zmq.Context() as context, context.socket(zmq.ROUTER) as service:
            service.bind(wire.endpoint("tasks"))
    claim.release()
    with contextlib.closing(socket.socket()) as other:
        other.bind(("127.0.0.1", wire.tasks))


def test_who_must_be_there_follows_from_the_configuration(tmp_path):
    tree = {"watch": {"root": "."}, "inference": {"workers": 2}, "health": {"prometheus": 9}}
    config = configuration.parse(tree, "test", tmp_path)
    everybody = {"hub", "archiver", "watcher", "worker-1", "worker-2", "dashboard", "sentinel"}
    assert expected(config) == everybody
    tree["machine"] = {"services": ["inference"], "name": "left"}
    tree["dashboard"] = {"enabled": False}
    config = configuration.parse(tree, "test", tmp_path)
    assert expected(config) == {"hub", "archiver", "watcher", "worker-left-1", "worker-left-2"}


def test_what_was_resolved_is_what_the_services_read(claim, path):
    assert configuration.load(resolved_path(configuration.load(path))) == claim.config


@pytest.mark.parametrize("shown", [True, False])
def test_rules_are_judged_wherever_they_can_be_made(tmp_path, shown):
    """A page says that a rule is in force; without rules in the configuration nobody judged it."""
    tree = {"watch": {"root": "."}, "dashboard": {"enabled": shown}}
    assert ("sentinel" in expected(configuration.parse(tree, "test", tmp_path))) == shown
