"""What every action of an alert must do, and how another package adds one."""

from dataclasses import replace

import pytest
from pydantic import BaseModel, ValidationError

from pychip_stream.alert_actions import ACTIONS
from pychip_stream.alert_rules import AlertConfig, AlertRule
from pychip_stream.operation.actions import Actions, chosen
from pychip_stream.wire.messages import Alert
from tests.contracts.outside import install, tell

RULE = {"name": "r", "quantity": "unknown", "above": 0.1, "actions": []}
ASKED = {
    "webhook": {"webhook": "http://127.0.0.1/x"},
    "command": {"command": ["/bin/true"]},
}
"""How a rule asks for those that are not in its `actions`."""

OUTSIDE = """
from pathlib import Path
from pydantic import BaseModel
from pychip_stream.alert_actions import Action

class PagerSettings(BaseModel, extra="forbid"):
    file: Path

def page(alert, settings):
    settings.file.write_text(alert.reason)

ACTION = Action("pager", page, PagerSettings)
"""


@pytest.fixture(params=list(ACTIONS), ids=lambda action: action.name)
def action(request):
    return request.param


class TestAction:
    def test_a_rule_that_asks_for_it_sets_it_off_alone(self, action):
        asked = RULE | ASKED.get(action.name, {"actions": [action.name]})
        ((found, settings),) = chosen(AlertRule.model_validate(asked))
        assert found is action
        assert isinstance(settings, action.settings)

    def test_settings_that_it_does_not_know_are_refused(self, action):
        assert issubclass(action.settings, BaseModel)
        with pytest.raises(ValidationError):
            action.settings.model_validate({"address": "x", "words": ["x"], "other": 1})

    def test_it_is_tried_at_least_once(self, action):
        assert action.tries >= 1


def test_one_from_outside_is_named_in_a_rule_and_acts(tmp_path):
    there = install(tmp_path / "site", "pychip_stream.actions", "ACTION", OUTSIDE)
    script = """
import json, sys, time
from pathlib import Path
from pychip_stream.config import dump, parse
from pychip_stream.errors import ConfigError
from pychip_stream.operation.actions import Actions
from pychip_stream.wire.messages import Alert

def config(**changes):
    rule = {"name": "r", "quantity": "unknown", "above": 0.1, "actions": ["log", "pager"]}
    tree = {"watch": {"root": "."}, "alerts": {"rules": [rule | changes]}}
    return parse(tree, "x.yaml", Path.cwd())

good = config(settings={"pager": {"file": sys.argv[1]}})
problems = []
for wrong in ({"pager": {"number": 1}}, {}, {"log": {}, "pager": {"file": "x"}}, {"other": {}}):
    try:
        config(settings=wrong)
    except ConfigError as error:
        problems += error.problems
actions, end = Actions(good.alerts), time.monotonic() + 60
actions.take(Alert(id="1", rule="r", level="info", state="on", reason="too much", time=1.0))
while not actions.done and time.monotonic() < end:
    time.sleep(0.01)
actions.close()
print(json.dumps([Path(sys.argv[1]).read_text(), len(problems), problems[0]]))
"""
    text, count, problem = tell(there, script, tmp_path / "page.txt")
    assert (text, count) == ("too much", 4)
    assert "settings of pager" in problem
    assert "file: is missing" in problem


def test_one_that_fails_costs_no_alert(caplog):
    def fail(_alert, _settings):
        raise RuntimeError("no ink")

    (log,) = (action for action in ACTIONS if action.name == "log")
    config = AlertConfig.model_validate({"rules": [RULE | {"actions": ["log"]}]})
    actions = Actions(config)
    actions._chosen = {"r": [(replace(log, act=fail), None)]}
    actions.take(Alert(id="1", rule="r", level="info", state="on", reason="x", time=1.0))
    actions.close()
    assert (actions.done, actions.failed) == (0, 1)
    assert "its log failed: no ink" in caplog.text


def test_one_that_nobody_brings_is_refused():
    with pytest.raises(ValidationError, match="no action 'pager'; choose among banner, log"):
        AlertRule.model_validate(RULE | {"actions": ["pager"]})
