import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from pychip_stream import config as configuration
from pychip_stream.config import SupervisionConfig
from pychip_stream.errors import ConfigError, PychipError, UsageError
from pychip_stream.operation import running
from pychip_stream.operation import supervisor as module
from pychip_stream.operation.supervisor import Supervisor
from tests.support.children import child
from tests.support.waiting import wait_for


def test_ports_are_chosen_and_the_services_are_told(tmp_path):
    config = configuration.parse({"watch": {"root": "."}}, "test", tmp_path)
    made = Supervisor(config, lambda *_: None)
    wire = made.config.wire
    ports = {wire.tasks, wire.results, wire.requests, wire.events, made.config.dashboard.port}
    assert len(ports) == 5
    assert 0 not in ports
    resolved = configuration.load(tmp_path / "runs" / "run.resolved.yaml")
    assert resolved == made.config
    names = [c.name for c in made.children]
    assert names == ["hub", "archiver", "inference", "watcher", "sentinel", "dashboard"]
    made.stop()


def test_what_dies_is_started_again(supervisor):
    victim = child("victim", "import time; time.sleep(60)")
    supervisor.children.append(victim)
    supervisor.start()
    first = victim.process
    first.kill()
    wait_for(
        lambda: victim.process is not None and victim.process is not first, step=supervisor.step
    )
    assert victim.process.poll() is None


def test_a_second_start_touches_nothing(tmp_path):
    config = configuration.parse({"watch": {"root": "."}}, "test", tmp_path)
    first = Supervisor(config, lambda *_: None)
    files = {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    with pytest.raises(UsageError, match=rf"going on already \(process {os.getpid()} on "):
        Supervisor(config, lambda *_: None)
    assert {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()} == files
    first.stop()
    Supervisor(config, lambda *_: None).stop()
    assert not list(tmp_path.rglob("*.lock"))


def test_shares_of_a_run_may_be_started_side_by_side(tmp_path):
    ports = {"tasks": 0, "results": 0, "requests": 0, "events": 0}
    held = [socket.create_server(("127.0.0.1", 0)) for _ in ports]
    wire = {name: one.getsockname()[1] for name, one in zip(ports, held, strict=True)}
    for one in held:
        one.close()
    made = []
    for share in (["hub"], ["watcher", "inference"]):
        tree = {"watch": {"root": share[0]}, "machine": {"services": share}, "wire": wire}
        made.append(Supervisor(configuration.parse(tree, "test", tmp_path), lambda *_: None))
    for one in made:
        resolved = one.children[0].command[-3]
        assert configuration.load(Path(resolved)) == one.config
    with pytest.raises(UsageError, match="going on already"):
        Supervisor(made[0].config, lambda *_: None)
    for one in made:
        one.stop()


def test_a_supervisor_that_was_killed_is_no_obstacle(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from pychip_stream import config\n"
        "from pychip_stream.operation.supervisor import Supervisor\n"
        "c = config.parse({'watch': {'root': '.'}}, 'test', pathlib.Path(sys.argv[1]))\n"
        "Supervisor(c, print)\n"
        "print('up', flush=True)\n"
        "input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        config = configuration.parse({"watch": {"root": "."}}, "test", tmp_path)
        with pytest.raises(UsageError, match=f"process {process.pid} on"):
            Supervisor(config, lambda *_: None)
        process.kill()
    Supervisor(config, lambda *_: None).stop()


@pytest.fixture
def busy():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_port_in_use_is_found_before_anything_starts(tmp_path, busy, monkeypatch):
    monkeypatch.setattr(running, "_LET_GO_S", 0.0)
    port = busy.getsockname()[1]
    tree = {"watch": {"root": "."}, "wire": {"events": port}}
    config = configuration.parse(tree, "test", tmp_path)
    with pytest.raises(PychipError, match=rf"wire\.events: 127.0.0.1:{port}.*{os.getpid()}"):
        Supervisor(config, lambda *_: None)
    assert not list((tmp_path / "runs").iterdir())


def test_a_port_that_is_let_go_soon_is_waited_for(tmp_path, busy, monkeypatch):
    monkeypatch.setattr(running, "_LET_GO_S", 60.0)
    port = busy.getsockname()[1]
    tree = {"watch": {"root": "."}, "wire": {"events": port}}
    threading.Timer(0.3, busy.close).start()
    made = Supervisor(configuration.parse(tree, "test", tmp_path), lambda *_: None)
    assert made.config.wire.events == port
    made.stop()


def test_the_page_takes_another_port_than_one_in_use(tmp_path, busy, lines, monkeypatch):
    monkeypatch.setattr(running, "_LET_GO_S", 0.0)
    port = busy.getsockname()[1]
    tree = {"watch": {"root": "."}, "dashboard": {"port": port}}
    config = configuration.parse(tree, "test", tmp_path)
    made = Supervisor(config, lambda *words: lines.append(words))
    assert made.config.dashboard.port not in (0, port)
    ((name, line),) = lines
    assert name == "run"
    assert line.startswith(f"dashboard.port: 127.0.0.1:{port} cannot be had")
    made.stop()


def test_a_page_that_cannot_live_ends_nothing(supervisor, lines, monkeypatch):
    quick = SupervisionConfig(longest_pause_s=0.01, give_up_after=2)
    monkeypatch.setattr(supervisor, "_supervision", quick)
    code = "import sys; print('no', file=sys.stderr); sys.exit(2)"
    page, hub = child("dashboard", code), child("hub", "import time; time.sleep(60)")
    supervisor.children += [page, hub]
    supervisor.start()
    process = hub.process
    wait_for(lambda: lines.count(("dashboard", "no")) > 3, step=supervisor.step)
    assert hub.process is process
    assert process.poll() is None
    supervisor.children.remove(hub)  # where there is nothing else, it is what cannot run
    with pytest.raises(PychipError, match="dashboard cannot run"):
        wait_for(lambda: False, step=supervisor.step)
    supervisor.children.append(hub)


def test_what_cannot_live_ends_the_run(supervisor):
    supervisor.children.append(child("doomed", "raise SystemExit(1)"))
    supervisor.start()
    with pytest.raises(PychipError, match="doomed cannot run"):
        wait_for(lambda: False, step=supervisor.step)


def test_a_refused_configuration_is_not_tried_again(supervisor):
    refused = child("refused", "raise SystemExit(2)")
    supervisor.children.append(refused)
    supervisor.start()
    with pytest.raises(PychipError, match="exit code 2, 1 in a row"):
        wait_for(lambda: False, step=supervisor.step)


def test_lines_carry_their_service(supervisor, lines):
    supervisor.children.append(
        child(
            "talker", "import sys,time; print('hello', file=sys.stderr, flush=True); time.sleep(60)"
        )
    )
    supervisor.start()
    wait_for(lambda: lines == [("talker", "hello")])


def test_a_console_that_takes_no_more_stops_no_service(tmp_path):
    """Its output goes to a disk that is full: whoever waits to write a line would hang."""

    def full(_name, _line):
        raise OSError(28, "No space left on device")

    config = configuration.parse({"watch": {"root": "."}}, "test", tmp_path)
    made = Supervisor(config, full)
    many = "import sys; [print('x' * 100, file=sys.stderr) for _ in range(5000)]; print('end', "
    made.children[:] = [child("talker", many + "file=sys.stderr)")]
    made.start()
    talker = made.children[0].process
    wait_for(lambda: talker.poll() is not None)
    assert made.children[0].last_words() == "end"
    made.stop()
    assert (tmp_path / "runs" / "run.log").read_text().endswith("talker     end\n")


def test_a_service_that_cannot_be_started_now_is_started_later(supervisor, monkeypatch):
    popen, failures = subprocess.Popen, iter([OSError(24, "Too many open files")] * 2)

    def failing(*words, **options):
        for error in failures:
            raise error
        return popen(*words, **options)

    monkeypatch.setattr(module.subprocess, "Popen", failing)
    one = child("hub", "import time; time.sleep(60)")
    supervisor.children.append(one)
    supervisor.start()
    wait_for(lambda: one.process is not None, step=supervisor.step)
    assert one.process.poll() is None


def test_services_write_utf8(tmp_path, lines, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # as Windows does it
    config = configuration.parse({"watch": {"root": "."}}, "test", tmp_path)
    made = Supervisor(config, lambda *words: lines.append(words))
    code = "import sys; print('phase \\u03b1', file=sys.stderr)"
    made.children[:] = [child("talker", code)]
    made.start()
    wait_for(lambda: lines)
    made.stop()
    assert lines == [("talker", "phase α")]
    log = (tmp_path / "runs" / "run.log").read_text(encoding="utf-8")
    assert "phase α" in log


def test_services_stop_in_order_and_nothing_is_left(supervisor, lines):
    code = (
        "import signal,sys,time\n"
        "def bye(*_):\n    print('bye', file=sys.stderr, flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye); print('up', file=sys.stderr, flush=True)\n"
        "time.sleep(60)"
    )
    for name in ("hub", "archiver", "inference-1", "inference-2", "watcher"):
        supervisor.children.append(child(name, code))
    supervisor.start()
    wait_for(lambda: len(lines) == 5)
    processes = [psutil.Process(c.process.pid) for c in supervisor.children]
    supervisor.stop()
    byes = [name for name, line in lines if line == "bye"]
    assert (byes[0], *byes[3:]) == ("watcher", "archiver", "hub")
    assert set(byes[1:3]) == {"inference-1", "inference-2"}
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_where_signals_cannot_be_sent_the_lifeline_stops_in_order(supervisor, lines, monkeypatch):
    monkeypatch.setattr(module, "_interrupt", module._ask_by_lifeline)
    code = (
        "import sys\n"
        "from pychip_stream import process as lifecycle\n"
        "stop = lifecycle.stop_event()\n"
        "print('up', file=sys.stderr, flush=True)\n"
        "stop.wait(60) and print('bye', file=sys.stderr, flush=True)"
    )
    for name in ("hub", "archiver", "inference", "watcher"):
        supervisor.children.append(child(name, code))
    supervisor.start()
    wait_for(lambda: sum(line == "up" for _, line in lines) == 4)
    assert supervisor.stop() == []
    byes = [name for name, line in lines if line == "bye"]
    assert byes == ["watcher", "inference", "archiver", "hub"]
    assert all(c.exit_code == 0 for c in supervisor.children)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-Break cannot be ignored this way")
def test_what_does_not_stop_is_killed(supervisor, lines, monkeypatch):
    monkeypatch.setattr(module, "_STOP_S", 0.3)
    deaf = child(
        "deaf",
        "import signal,sys,time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', file=sys.stderr, flush=True); time.sleep(60)",
    )
    supervisor.children.append(deaf)
    supervisor.start()
    wait_for(lambda: lines)
    supervisor.stop()
    assert deaf.exit_code == -9


MERGING = (
    "import signal,sys,time\n"
    "def merge(*_):\n    print('merging', file=sys.stderr, flush=True); time.sleep(60)\n"
    "signal.signal(signal.SIGTERM, merge); print('up', file=sys.stderr, flush=True)\n"
    "time.sleep(60)"
)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-Break cannot be handled this way")
def test_a_long_merge_is_waited_for_until_the_second_stop(supervisor, lines, monkeypatch):
    monkeypatch.setattr(module, "_TELL_S", 0.2)
    monkeypatch.setattr(module, "_STOP_S", 0.1)
    archiver = child("archiver", MERGING)
    supervisor.children.append(archiver)
    supervisor.start()
    wait_for(lambda: lines)
    hurry = threading.Event()
    wrong = []
    stopping = threading.Thread(target=lambda: wrong.extend(supervisor.stop(hurry)))
    stopping.start()
    wait_for(lambda: any(name == "run" and "merged into one" in line for name, line in lines))
    assert stopping.is_alive()
    assert archiver.process.poll() is None
    hurry.set()
    stopping.join(20)
    assert not stopping.is_alive()
    assert wrong == []  # it was interrupted on purpose, and nothing is lost
    assert any("not merged" in line for _, line in lines)


def test_what_fails_while_stopping_is_told(supervisor, lines):
    failing = child(
        "archiver",
        "import signal,sys,time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(1));"
        "print('up', file=sys.stderr, flush=True); time.sleep(60)",
    )
    supervisor.children.append(failing)
    supervisor.start()
    wait_for(lambda: lines)
    assert supervisor.stop() == ["archiver ended with exit code 1 while stopping: up"]


KILLED = (
    "import os,signal,sys,time\n"
    "signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))\n"
    "print('up', file=sys.stderr, flush=True); time.sleep(60)"
)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-Break cannot be handled this way")
def test_what_is_killed_while_stopping_is_told(supervisor, lines):
    """Whoever runs out of memory in the merge ends by a signal, not with a code of its own."""
    supervisor.children += [child("archiver", KILLED), child("dashboard", KILLED)]
    supervisor.start()
    wait_for(lambda: len(lines) == 2)
    wrong = supervisor.stop()  # of the page nothing depends
    assert wrong == ["archiver ended with signal SIGKILL while stopping: up"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM between processes")
def test_what_is_stopped_before_it_listens_ended_as_it_was_asked_to(supervisor, lines):
    supervisor.children.append(
        child(
            "watcher", "import sys,time; print('up', file=sys.stderr, flush=True); time.sleep(60)"
        )
    )
    supervisor.start()
    wait_for(lambda: lines)
    assert supervisor.stop() == []


RECORD = '{"level": "error", "message": "the disk is full; free some space", "service": "hub"}'
TRACE = (
    '{"level": "error", "message": "stopped by an unexpected error", "trace": "T\\nKeyError: 7"}'
)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            ["10:11:12 ERROR port 5 is taken; choose another", "10:11:12 INFO bye"],
            "port 5 is taken",
        ),
        (["10:11:12 ERROR stopped by an unexpected error", "T", "KeyError: 7"], "KeyError: 7$"),
        (["Segmentation fault in libhdf5"], "Segmentation fault in libhdf5$"),
        ([RECORD, "{torn"], "the disk is full; free some space$"),
        ([TRACE], "KeyError: 7$"),
        ([], "it said nothing"),
    ],
)
def test_what_a_service_said_when_it_died_is_the_last_that_is_said(supervisor, said, why):
    code = f"import sys; print({chr(10).join(said)!r}, file=sys.stderr); sys.exit(2)"
    supervisor.children.append(child("archiver", code))
    supervisor.start()
    with pytest.raises(
        PychipError, match=rf"archiver cannot run \(exit code 2, 1 in a row\): {why}"
    ):
        wait_for(lambda: False, step=supervisor.step)


def test_a_run_that_gets_on_is_not_given_up(supervisor, lines, monkeypatch):
    monkeypatch.setattr(supervisor, "_supervision", SupervisionConfig(longest_pause_s=0.01))
    code = "import sys; print('up', file=sys.stderr); sys.exit(1)"
    supervisor.children.append(child("fragile", code))
    supervisor.start()
    wait_for(lambda: len(lines) > 12, step=lambda: supervisor.step(len(lines)))


def test_a_machine_runs_its_own_services_only(tmp_path):
    tree = {
        "watch": {"root": "."},
        "machine": {"services": ["watcher", "inference"], "name": "left"},
        "inference": {"workers": 2},
    }
    with pytest.raises(ConfigError, match=r"wire\.tasks: give a port"):
        Supervisor(configuration.parse(tree, "test", tmp_path), lambda *_: None)
    tree["wire"] = {"tasks": 5601, "results": 5602, "requests": 5603, "events": 5604}
    made = Supervisor(configuration.parse(tree, "test", tmp_path), lambda *_: None)
    assert [c.name for c in made.children] == ["inference-1", "inference-2", "watcher"]
    assert "left-2" in made.children[1].command
    made.stop()


def test_the_sentinel_runs_where_it_is_needed(tmp_path):
    tree = {"watch": {"root": "."}, "health": {"prometheus": 9}}
    made = Supervisor(configuration.parse(tree, "test", tmp_path), lambda *_: None)
    assert "sentinel" in [c.name for c in made.children]
    made.stop()
