"""Rules made on the page: kept, taken up, and never more than the configuration allows."""

import json

import pytest

from pychip_stream import config as configuration
from pychip_stream.alert_actions import ACTIONS
from pychip_stream.errors import PychipError
from pychip_stream.operation.edited_rules import EditedRules, reactions
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Status
from services.sentinel import Sentinel
from tests.support.ports import free_wire

OWN = {"name": "beta appears", "quantity": "fraction", "class": "beta", "above": 0.3}
BEAM_OFF = ("/bin/beam-off", "--now")


@pytest.fixture
def config(tmp_path):
    rules = [OWN | {"command": list(BEAM_OFF), "webhook": "http://127.0.0.1/hooks/em"}]
    alerts = {
        "commands": ["/bin/beam-off"],
        "webhooks": ["http://127.0.0.1/hooks/"],
        "rules": rules,
    }
    tree = {"watch": {"root": "frames"}, "wire": free_wire(), "alerts": alerts}
    return configuration.parse(tree, "test", tmp_path)


def limits(rules):
    return {rule.name: rule.limit for rule in rules.current().rules}


def test_a_rule_of_the_page_is_in_force_after_a_restart_and_the_configuration_stays(config):
    rules = EditedRules(config)
    rules.put({"name": "much is unknown", "quantity": "unknown", "above": 0.1}, "ann")
    rules.put(OWN | {"above": 0.5}, "ann")
    again = EditedRules(config)
    assert limits(again) == limits(rules) == {"beta appears": 0.5, "much is unknown": 0.1}
    assert again.edited()["much is unknown"].who == "ann"
    assert config.alerts.rules[0].limit == 0.3
    again.remove("beta appears")
    assert limits(rules) == {"beta appears": 0.3, "much is unknown": 0.1}
    with pytest.raises(PychipError, match="stands in the configuration"):
        rules.remove("beta appears")
    assert rules.current() is rules.current()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"command": ["/bin/rm", "-r"]}, "not listed in alerts.commands"),
        ({"webhook": "http://evil.example/"}, "not listed in alerts.webhooks"),
        ({"above": None}, "either above or below"),
        ({"name": ""}, "name"),
        ({"class": None}, "needs a class"),
    ],
)
def test_what_the_configuration_does_not_allow_is_refused_on_the_page_and_in_the_file(
    config, fields, says
):
    rules = EditedRules(config)
    with pytest.raises(PychipError, match=says):
        rules.put(OWN | fields, "ann")
    assert not rules.path.exists()
    rules.path.parent.mkdir()
    good = {"name": "good", "quantity": "unknown", "below": 0.1}
    told = [{"rule": rule, "who": "eve", "when": 1.0} for rule in (OWN | fields, good)]
    rules.path.write_text(json.dumps(told))
    assert limits(rules) == {"beta appears": 0.3, "good": 0.1}
    assert rules.current().rules[0].command == BEAM_OFF


@pytest.mark.parametrize("data", [b"", b"{", b'[{"rule": 1}]', b"\xff" * 9])
def test_a_damaged_file_leaves_the_configuration_in_force(config, data):
    rules = EditedRules(config)
    rules.path.parent.mkdir()
    rules.path.write_bytes(data)
    assert limits(rules) == {"beta appears": 0.3}


def test_the_page_offers_what_the_configuration_may_set_off_and_nothing_else(config):
    offered = reactions(config.alerts)
    assert offered.pop("run /bin/beam-off --now") == {"command": BEAM_OFF}
    assert offered.pop("run /bin/beam-off") == {"command": ("/bin/beam-off",)}
    assert offered.pop("call http://127.0.0.1/hooks/em") == {"webhook": "http://127.0.0.1/hooks/em"}
    assert offered.keys() <= {a.name for a in ACTIONS if not a.field and not a.immediate}


def test_the_sentinel_takes_rules_up_and_ends_what_a_removed_one_had_raised(config):
    rules, sentinel = EditedRules(config), Sentinel(config)
    try:
        told = {"name": "always", "quantity": "backlog", "above": -1, "level": "critical"}
        rules.put(told, "ann")
        watcher = Status(
            service="watcher", instance="watcher", state="running", time=0.0,
            counters={"behind": 3.0},
        )  # fmt: skip
        sentinel._health.take(Received(Packet(watcher, {}), b"", b""))
        sentinel._look()
        assert sentinel._last["always"].state == "on"
        assert sentinel._last["always"].level == "critical"
        rules.remove("always")
        sentinel._look()
        assert sentinel._last["always"].state == "off"
        assert "removed" in sentinel._last["always"].reason
    finally:
        sentinel._waiting.clear()
        sentinel.close()
