"""Looking at archives needs no run."""

import signal
import subprocess
import threading
import urllib.request

import pytest

from pychip_stream import config as configuration
from pychip_stream import logs, process
from pychip_stream.cli.session import Session
from tests.support.ports import free_ports
from tests.support.run_samples import make_run
from tests.support.stack import COMMAND, call
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def review(tmp_path):
    """Start the command; gives the process and the page's address, its last line."""
    started = []

    def start(*words, cwd):
        process = subprocess.Popen(
            [COMMAND, "review", *map(str, words)], cwd=cwd, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        for line in process.stderr:
            if line.startswith("http"):
                return process, line.strip()
        raise AssertionError("it ended without a page")

    yield start
    for one in started:
        one.kill()
        one.wait()
        one.stderr.close()


def test_archives_of_a_folder_are_served_until_ctrl_c(review, tmp_path):
    make_run(tmp_path / "mine/runs", tmp_path / "frames", 2)
    process, address = review(cwd=tmp_path / "mine")
    with urllib.request.urlopen(address, timeout=30) as page:
        assert page.status == 200
        assert b"<title>pychip-stream</title>" in page.read()
    process.send_signal(signal.SIGINT)
    assert process.stderr.read() == ""  # the address was the last line
    assert process.wait(30) == 0
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["runs"]  # nothing is left


def test_what_is_no_archive_is_said_at_once(tmp_path):
    (tmp_path / "notes.txt").write_text("not an archive")
    code, out, err = call("review", tmp_path / "notes.txt")
    assert code in (1, 2)
    assert out == ""
    assert "notes.txt" in err.strip().splitlines()[-1]
    assert call("review", tmp_path / "nowhere")[0] in (1, 2)


def test_the_page_of_a_run_that_has_ended_is_kept_where_it_was_with_its_accounts(
    tmp_path, monkeypatch
):
    """S7."""
    monkeypatch.setattr(process, "stop_event", threading.Event)
    monkeypatch.setattr(logs, "configure", lambda *_args, **_options: None)
    (port,) = free_ports(1)
    (tmp_path / "u.json").write_text('{"ann": "apple"}')
    tree = {"watch": {"root": "."}, "dashboard": {"port": port, "users": "u.json"}}
    session = Session(configuration.parse(tree, "test", tmp_path))
    make_run(tmp_path / "runs", tmp_path / "frames", 2)
    found = []

    def answer():
        try:
            with urllib.request.urlopen(session.address, timeout=30) as page:
                return page.url
        except OSError:
            return None

    def look():
        try:
            found.append(wait_for(answer, "the page answers"))
        finally:
            session.stop.set()

    visitor = threading.Thread(target=look)
    visitor.start()
    session.review()
    visitor.join()
    session.monitor.close()
    assert found[0].startswith(f"http://127.0.0.1:{port}/login")
    assert answer() is None
