"""`rescore` of several runs: each by itself, and none twice."""

import contextlib
import json
import shutil

import pytest

from pychip_stream.analysis import many_runs
from pychip_stream.analysis.block_scoring import scored_here
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import save_support
from pychip_stream.errors import ClusterError
from tests.support.command import call_here
from tests.support.simple_runs import COUNT, archive, picked

BETTER = picked(2, seed=5)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return archive(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def lab(tmp_path, kept):
    """Two runs, what is none, and a support set among them."""
    folder = tmp_path / "runs"
    folder.mkdir()
    for name in ("a.h5", "b.h5"):
        shutil.copy(kept, folder / name)
    (folder / "damaged.h5").write_text("this is no archive")
    save_support(BETTER, folder / "set.h5")
    return folder


def rescored(lab, *words):
    return call_here("rescore", *words, "--support", lab / "set.h5", "--json")


@pytest.fixture
def scored(monkeypatch):
    """Runs that were really scored."""
    made, original = [], many_runs.rescore

    def counted(path, *words, **options):
        made.append(path.name)
        return original(path, *words, **options)

    monkeypatch.setattr(many_runs, "rescore", counted)
    return made


def test_runs_of_a_folder_are_scored_and_a_damaged_one_costs_itself(lab, scored):
    called = rescored(lab, lab)
    assert called.code == 1
    assert "1 of 3 runs failed" in called.err
    document = json.loads(called.out)
    assert [(row["run"], row["frames"], row["skipped"]) for row in document["runs"]] == [
        (str(lab / name), COUNT, False) for name in ("a.h5", "b.h5")
    ]
    assert [row["run"] for row in document["failed"]] == [str(lab / "damaged.h5")]
    assert scored == ["a.h5", "b.h5"]
    for name in scored:
        assert open_run(lab / name).scoring == BETTER.version


def test_what_is_scored_is_skipped_until_the_settings_are_others(lab, scored):
    (lab / "damaged.h5").unlink()
    first = rescored(lab, lab / "a.h5", lab / "b.h5").document
    assert [row["skipped"] for row in first["runs"]] == [False, False]
    (lab / "b.scorings").rename(lab / "gone")
    again = rescored(lab, lab / "?.h5").document
    assert [row["skipped"] for row in again["runs"]] == [True, False]
    assert [row["frames"] for row in again["runs"]] == [COUNT, COUNT]
    others = rescored(lab, lab / "?.h5", "--no-reject").document
    assert [row["skipped"] for row in others["runs"]] == [False, False]
    assert scored == ["a.h5", "b.h5", "b.h5", "a.h5", "b.h5"]


def test_a_skipped_run_is_merged_and_shows_the_scoring(lab):
    (lab / "damaged.h5").unlink()
    rescored(lab, lab, "--no-default")
    assert open_run(lab / "a.h5").scoring == "acquired"
    document = rescored(lab, lab, "--merge").document
    assert [row["skipped"] for row in document["runs"]] == [True, True]
    assert open_run(lab / "a.h5").scoring == BETTER.version
    assert not (lab / "a.scorings").exists()


def test_ctrl_c_keeps_what_is_done(lab, monkeypatch):
    original = many_runs.rescore

    def stopped(path, *words, **options):
        if path.name == "b.h5":
            raise KeyboardInterrupt
        return original(path, *words, **options)

    monkeypatch.setattr(many_runs, "rescore", stopped)
    called = rescored(lab, lab)
    assert called.code == 130
    assert "1 of 3 runs are done; the same command goes on with the rest" in called.err
    assert len(open_run(lab / "a.h5").scorings) == 2


def test_one_run_keeps_its_document_and_a_folder_without_runs_is_refused(lab, tmp_path):
    document = rescored(lab, lab / "a.h5").document
    assert document["run"] == str(lab / "a.h5")
    empty = tmp_path / "empty"
    empty.mkdir()
    called = rescored(lab, empty)
    assert (called.code, called.out) == (2, "")
    assert "holds no run archive" in called.err


def test_a_cluster_scores_and_where_it_is_lost_the_runs_that_are_done_are_told(lab, monkeypatch):
    from pychip_stream.batch import shared_runs
    from pychip_stream.cli import rescore

    (lab / "damaged.h5").unlink()
    asked = []

    @contextlib.contextmanager
    def opened(*words):
        asked.append(words)
        yield "the cluster"

    def lost(cluster, run, fitted, reject):
        asked.append(cluster)
        if run.path.name == "b.h5":
            raise ClusterError("no worker of the cluster is left")
        return scored_here(run, fitted, reject)

    monkeypatch.setattr(rescore, "open_cluster", opened)
    monkeypatch.setattr(shared_runs, "score_on", lost)
    called = rescored(lab, lab, "--cluster", "tls://lab:8786", "--tls-ca", lab / "ca.pem")
    assert asked == [
        ("tls://lab:8786", lab / "ca.pem", None, None), "the cluster", "the cluster"
    ]  # fmt: skip
    assert called.code == 1
    assert "cluster is left; 1 of 2 runs are done; the same command goes on" in called.err
    assert len(open_run(lab / "a.h5").scorings) == 2
