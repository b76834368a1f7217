"""The doctor finds what is wrong and says what to do; `status` shows a run."""

import json
import socket

import pytest

from tests.support.stack import call, call_json

pytestmark = pytest.mark.system


def levels(document):
    return {f["check"]: f["level"] for f in document["findings"]}


@pytest.mark.slow
def test_a_healthy_installation_has_nothing_bad(tmp_path):
    (tmp_path / "acquisition").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text("watch: {root: acquisition}\n")
    document = call_json("doctor", config)
    assert document["ok"]
    found = levels(document)
    assert found["events"] == "good"
    assert found["archive.folder"] == found["config"] == found["torch"] == "good"
    assert found["support set"] == "hint"
    assert all(f["do"] for f in document["findings"] if f["level"] != "good")
    assert not list((tmp_path / "acquisition").iterdir())  # it leaves nothing behind
    assert sorted(p.name for p in tmp_path.iterdir()) == ["acquisition", "config.yaml"]


@pytest.mark.slow
def test_everything_wrong_is_found_at_once(tmp_path):
    (tmp_path / "support").mkdir()
    (tmp_path / "support" / "s.h5").write_bytes(b"damaged")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = tmp_path / "config.yaml"
        config.write_text(
            "watch: {root: nowhere}\n"
            "support: {initial: support/s.h5}\n"
            f"wire: {{events: {port}, keys: nokeys}}\n"
        )
        code, out, err = call("doctor", config, "--rate", 1e7, "--json")
    assert code == 1
    assert "checks failed" in err
    found = levels(json.loads(out))
    for name in ("watch.root", "wire.events", "keys", "support set", "space"):
        assert found[name] == "bad", name


def test_a_bad_config_is_a_finding(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("watch: {rot: x}\n")
    code, out, _ = call("doctor", config)
    assert code == 2
    assert "BAD  config" in out
    assert "watch.rot" in out
    assert "->" in out
