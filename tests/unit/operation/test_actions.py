import json
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from pychip_stream import alert_actions as module
from pychip_stream.alert_rules import AlertConfig
from pychip_stream.operation.actions import Actions
from pychip_stream.wire.messages import Alert
from tests.support.waiting import wait_for

ALERT = Alert(id="x-1", rule="r", level="warning", state="on", reason="too <much>", time=1.0)


@pytest.fixture
def make():
    made = []

    def build(**changes):
        rule = {"name": "r", "quantity": "unknown", "above": 0.1} | changes.pop("rule", {})
        made.append(Actions(AlertConfig.model_validate({"rules": [rule], **changes})))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.bodies.append(json.loads(body))
            code = self.server.codes.pop(0) if self.server.codes else 200
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.bodies, server.codes = [], []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_webhook_gets_the_alert_as_json(make, server):
    address = f"http://127.0.0.1:{server.server_port}/hook"
    actions = make(rule={"webhook": address}, webhooks=[address])
    actions.take(ALERT)
    wait_for(lambda: actions.done)
    (body,) = server.bodies
    assert body["rule"] == "r"
    assert body["reason"] == "too <much>"
    assert body["value"] is None  # NaN is no JSON


def test_a_webhook_is_tried_again_and_follows_no_redirection(make, server):
    address = f"http://127.0.0.1:{server.server_port}/hook"
    actions = make(rule={"webhook": address}, webhooks=[address])
    actions._chosen["r"] = [(replace(act, tries=2), said) for act, said in actions._chosen["r"]]
    server.codes[:] = [500, 200]
    actions.take(ALERT)
    wait_for(lambda: actions.done)
    server.codes[:] = [302, 302]
    actions.take(ALERT)
    wait_for(lambda: actions.failed)
    assert len(server.bodies) == 4


def test_a_command_gets_the_alert_on_its_input_and_no_shell(make, tmp_path):
    target = tmp_path / "got"
    code = f"import sys; open({str(target)!r}, 'w').write(sys.argv[1] + sys.stdin.read())"
    command = [sys.executable, "-c", code, "$(echo no shell)"]
    actions = make(rule={"command": command}, commands=[sys.executable])
    actions.take(ALERT)
    wait_for(lambda: actions.done)
    text = target.read_text()
    assert text.startswith("$(echo no shell){")
    assert json.loads(text.removeprefix("$(echo no shell)"))["id"] == "x-1"


def test_what_fails_is_counted_and_said(make, caplog):
    command = [sys.executable, "-c", "import sys; sys.exit('no microscope')"]
    actions = make(rule={"command": command}, commands=[sys.executable])
    actions.take(ALERT)
    wait_for(lambda: actions.failed)
    assert "no microscope" in caplog.text


def test_a_rule_on_trial_does_nothing(make, tmp_path, caplog):
    caplog.set_level("INFO", logger="pychip_stream")
    target = tmp_path / "got"
    command = [sys.executable, "-c", f"open({str(target)!r}, 'w')"]
    actions = make(rule={"command": command}, commands=[sys.executable])
    trial = Alert(id="x-2", rule="r", level="info", state="on", reason="y", time=1.0, dry_run=True)
    actions.take(trial)
    actions.close()
    assert not target.exists()
    assert "on trial" in caplog.text


def test_a_storm_is_bounded(make, monkeypatch):
    release = threading.Event()
    started = SimpleNamespace(returncode=0)
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: release.wait(30) and started)
    actions = make(rule={"command": [sys.executable]}, commands=[sys.executable])
    for _ in range(500):
        actions.take(ALERT)
    assert actions.failed >= 390
    release.set()
