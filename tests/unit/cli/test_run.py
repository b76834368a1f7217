"""What `run` says at its end: the archive as it is, and what went wrong."""

import json
import sys
from dataclasses import replace

import pytest

from pychip_stream import config as configuration
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli import session as sessions
from pychip_stream.cli.output import run_holds
from pychip_stream.errors import PychipError
from tests.support.archive_samples import record
from tests.support.command import call_here


@pytest.fixture
def config(tmp_path):
    return configuration.parse({"watch": {"root": "."}}, "test", tmp_path)


def archive(config, count, *, close):
    writer = RunWriter(config.archive.folder, "run")
    for number in range(count):
        writer.append(record(number))
    writer.publish()
    if close:
        writer.close()
    return writer


def test_a_closed_run_is_named_by_its_file(config):
    archive(config, 3, close=True)
    assert run_holds(config, 3) == {"run": str(config.run_path), "frames": 3, "failed": []}


def test_a_run_that_is_not_merged_is_named_by_what_is_there(config):
    writer = archive(config, 3, close=False)
    found = run_holds(config, 3)
    assert not config.run_path.exists()
    assert found == {
        "run": str(config.run_path.with_suffix(".segments")), "frames": 3, "failed": []
    }  # fmt: skip
    writer.close()


def test_frames_that_are_gone_are_missed(config):
    archive(config, 3, close=True)
    found = run_holds(config, 5)
    assert found["frames"] == 3
    assert "holds 3 of 5 frames that were archived" in found["error"]
    config.run_path.unlink()
    found = run_holds(config, 5)
    assert found["run"] is None
    assert "run" in found["error"]


@pytest.mark.parametrize("close", [True, False], ids=["closed", "live"])
def test_earlier_revisions_are_archived_frames_too(config, close):
    writer = RunWriter(config.archive.folder, "run")
    first = record(0)
    for size in (1000, 2000):
        writer.append(replace(first, frame=replace(first.frame, size=size)))
        writer.publish()
    if close:
        writer.close()
    found = run_holds(config, 2)
    assert found["frames"] == 1
    assert "error" not in found
    writer.release()


def test_a_run_without_frames_has_no_archive(config):
    assert run_holds(config, 0) == {"run": None, "frames": 0, "failed": []}


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """Run the command with a session that ends this way."""

    class Session:
        def __init__(self, *_):
            pass

        def run(self):
            if Session.wrong:
                raise PychipError(Session.wrong)

        def summary(self):
            return Session.found

        def review(self):
            Session.reviews.append(sys.stdout.getvalue())

    def end(wrong, *words, **found):
        end.reviews = Session.reviews = []
        Session.wrong = wrong
        Session.found = {"run": "run.h5", "frames": 3, "failed": [], "behind": 0, **found}
        (tmp_path / "acquisition").mkdir(exist_ok=True)
        (tmp_path / "config.yaml").write_text("watch: {root: acquisition}\n")
        return call_here("run", tmp_path / "config.yaml", "--json", *words)

    monkeypatch.setattr(sessions, "Session", Session)
    return end


def test_what_a_service_said_when_it_died_is_said_last_and_in_the_document(ended):
    why = "archiver cannot run (exit code 1, 8 in a row): run.h5 is damaged; repair it"
    called = ended(why)
    assert called.code == 1
    assert called.err.splitlines()[-1] == f"error: {why}"
    assert json.loads(called.out) == {
        "run": "run.h5", "frames": 3, "failed": [], "behind": 0, "error": why
    }  # fmt: skip


def test_an_archive_that_is_not_whole_is_no_success(ended):
    called = ended("", error="run.h5: holds 3 of 5 frames")
    assert called.code == 1
    assert called.err.splitlines()[-1] == "error: run.h5: holds 3 of 5 frames"
    assert json.loads(called.out)["error"] == "run.h5: holds 3 of 5 frames"
    assert ended("").document == {"run": "run.h5", "frames": 3, "failed": [], "behind": 0}


def test_the_page_stays_for_review_where_that_is_asked_for_and_the_run_went_well(ended):
    """S7: the document comes when the run has ended, not when its page has been closed."""
    called = ended("", "--review")
    assert ended.reviews == [called.out]
    assert called.document["frames"] == 3
    ended("")
    assert ended.reviews == []
    assert ended("archiver cannot run", "--review").code == 1
    assert ended.reviews == []
