"""`rescore` on a live run tells the hub, so that the future follows the past."""

import json
import threading

import pytest
import yaml
import zmq

from pychip_stream.analysis import rescoring
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import save_support, support_from_bytes
from pychip_stream.cli import main
from pychip_stream.cli.output import choose_scoring
from pychip_stream.wire import endpoints
from pychip_stream.wire.channel import Channel
from pychip_stream.wire.endpoints import request
from pychip_stream.wire.messages import PublishSupport, Reply
from tests.support.simple_runs import COUNT, archive, picked


class Hub(threading.Thread):
    """Takes support sets and says yes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.context = zmq.Context()
        self.channel = Channel(self.context, zmq.ROUTER, 10)
        self.port = int(self.channel.bind("tcp://127.0.0.1:0").rsplit(":", 1)[1])
        self.taken = []
        self.stop = threading.Event()
        self.start()

    def run(self):
        while not self.stop.is_set():
            received = self.channel.receive(0.02)
            if received is not None and isinstance(received.packet.message, PublishSupport):
                data = received.packet.arrays["data"].tobytes()
                self.taken.append(support_from_bytes(data).version)
                self.channel.send(Reply(ok=True, detail=self.taken[-1]), to=received.sender)

    def close(self):
        self.stop.set()
        self.join()
        self.channel.close()
        self.context.term()


@pytest.fixture
def hub():
    made = Hub()
    yield made
    made.close()


@pytest.fixture
def live(tmp_path, hub):
    path = archive(tmp_path, close=False)
    tree = {
        "watch": {"root": "frames"},
        "archive": {"folder": ".", "segment_s": 0.01},
        "wire": {"tasks": 1, "results": 1, "events": 1, "requests": hub.port},
    }
    (tmp_path / "run.resolved.yaml").write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture
def better(tmp_path):
    support = picked(2, seed=5)
    save_support(support, tmp_path / "better.h5")
    return support


def called(capsys, *words):
    code = main._run([*map(str, words), "--json"], debug=False)
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


def test_the_hub_is_told_and_stragglers_are_caught_up_with(
    live, hub, better, tmp_path, capsys, monkeypatch
):
    looks = iter([2, 0, 0, 0, 0, 0])
    scored = []
    original = rescoring.rescore

    def counted(*args, **options):
        scored.append(options["keep"])
        return original(*args, **options)

    monkeypatch.setattr(rescoring, "uncovered", lambda *_: next(looks, 0))
    monkeypatch.setattr(rescoring, "rescore", counted)
    code, document = called(capsys, "rescore", live, "--support", tmp_path / "better.h5")
    assert code == 0
    assert hub.taken == [better.version]
    assert (document["published"], document["frames"]) == (True, COUNT)
    assert scored == [False, True]
    assert open_run(live).scoring == better.version


def test_without_an_answer_the_past_is_labelled_all_the_same(
    live, hub, better, tmp_path, capsys, monkeypatch
):
    hub.stop.set()
    hub.join()
    monkeypatch.setattr(endpoints, "request", lambda *words: request(*words, timeout_s=0.2))
    code, document = called(capsys, "rescore", live, "--support", tmp_path / "better.h5")
    assert code == 0
    assert (document["published"], document["frames"]) == (False, COUNT)


def test_a_live_run_is_not_merged(live, better, tmp_path, capsys):
    code, _ = called(capsys, "rescore", live, "--support", tmp_path / "better.h5", "--merge")
    assert code == 2
    assert open_run(live).scorings == ("acquired",)


def test_a_scoring_may_be_named_by_its_first_letters(tmp_path, better, capsys):
    path = archive(tmp_path)
    called(capsys, "rescore", path, "--support", tmp_path / "better.h5", "--no-default")
    run = open_run(path)
    assert run.scoring == "acquired"
    assert choose_scoring(run, better.version[:6]).scoring == better.version
