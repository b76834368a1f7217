"""Looking at archives needs no run."""

import signal
import subprocess
import urllib.request

import pytest

from tests.support.run_samples import make_run
from tests.support.stack import COMMAND, call

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
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


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
