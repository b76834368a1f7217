import re
from pathlib import Path

import pytest
import yaml

from pychip_stream import config as configuration
from pychip_stream.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = [*sorted((ROOT / "configs").glob("*.yaml")), ROOT / "pychip_stream/cli/template.yaml"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_every_example_can_be_loaded(path):
    assert configuration.load(path).watch.root.is_absolute()


def test_the_template_shows_every_key_with_its_default():
    template = yaml.safe_load(EXAMPLES[-1].read_text(encoding="utf-8"))
    defaults = configuration.Config(watch={"root": "acquisition"}).model_dump(mode="json")
    assert template == defaults


def test_every_problem_is_listed_with_its_key(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("watch: {quiet_s: -1, rot: x}\nwire: {tasks: 99999}\nspam: 1\n")
    with pytest.raises(ConfigError) as caught:
        configuration.load(path)
    keys = {problem.split(":")[0] for problem in caught.value.problems}
    assert keys == {"watch.root", "watch.quiet_s", "watch.rot", "wire.tasks", "spam"}
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["", "just words", "a: [", "- 1\n- 2", "\xff"])
def test_what_is_no_config_is_an_error(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError):
        configuration.load(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (r'watch: {root: "D:\temp\new"}', "single quotes"),
        (r'{watch: {root: x}, dashboard: {users: "C:\new"}}', "single quotes"),
        ("{watch: {root: x}, archive: {name: 2026-11-26}}", "put it in 'quotes'"),
        ("{watch: {root: x, pixel_size: 5 px}}", "pixel_size.*write a number and a length"),
        ("{watch: {root: x, pixel_size: 1e-9 nm}}", "pixel_size.*no pixel is that size"),
    ],
)
def test_what_yaml_makes_of_paths_and_dates_is_said_with_its_cure(tmp_path, text, told):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        configuration.load(path)


def test_a_missing_config_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        configuration.load(tmp_path / "none.yaml")


def test_what_is_dumped_can_be_loaded(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("watch: {root: acquisition}\narchive: {name: abc}\n")
    config = configuration.load(path)
    copy = tmp_path / "elsewhere" / "copy.yaml"
    copy.parent.mkdir()
    copy.write_text(configuration.dump(config))
    assert configuration.load(copy) == config
    assert config.watch.root == tmp_path / "acquisition"


RULE = {"name": "r", "quantity": "unknown", "above": 0.1}


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"rules": [RULE | {"command": ["/bin/rm", "-r"]}]}, "not listed in alerts.commands"),
        ({"rules": [RULE | {"command": ["rm"]}], "commands": ["/bin/rm"]}, "not listed"),
        ({"rules": [RULE | {"webhook": "http://x/y"}]}, "not listed in alerts.webhooks"),
        (
            {"rules": [RULE | {"webhook": "http://good.evil/"}], "webhooks": ["http://good"]},
            "no http",
        ),
        ({"webhooks": ["file:///etc/passwd"]}, "no http"),
        ({"rules": [RULE, RULE]}, "same name"),
        ({"rules": [RULE | {"below": 0.1}]}, "either above or below"),
        ({"rules": [RULE | {"quantity": "fraction"}]}, "needs a class"),
        ({"rules": [RULE | {"class": "a"}]}, "takes no class"),
        ({"rules": [RULE | {"clear": 0.2}]}, "wrong side"),
        ({"rules": [RULE | {"quantity": "spam"}]}, "quantity"),
    ],
)
def test_impossible_or_dangerous_alert_rules_are_refused(tmp_path, section, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        configuration.parse({"watch": {"root": "."}, "alerts": section}, "test", tmp_path)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "microscope", "::"])
def test_beyond_this_machine_keys_are_needed(tmp_path, host):
    for key in ("host", "hub_host"):
        tree = {"watch": {"root": "."}, "wire": {key: host}}
        with pytest.raises(ConfigError, match="needs keys"):
            configuration.parse(tree, "test", tmp_path)
        tree["wire"]["keys"] = "keys"
        assert configuration.parse(tree, "test", tmp_path).wire.keys == tmp_path / "keys"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_on_this_machine_no_keys_are_needed(tmp_path, host):
    tree = {"watch": {"root": "."}, "wire": {"host": host}}
    assert configuration.parse(tree, "test", tmp_path).wire.host == host


@pytest.mark.parametrize("ending", ["live", "segments", "scorings", "lock", "LIVE", "h5", "tmp"])
def test_a_name_that_means_a_part_of_another_run_is_refused(tmp_path, ending):
    tree = {"watch": {"root": "."}, "archive": {"name": f"exp.{ending}"}}
    with pytest.raises(ConfigError, match=r"archive\.name: .*a part of the run 'exp'"):
        configuration.parse(tree, "test", tmp_path)
    tree["archive"]["name"] = f"exp-{ending}"
    assert configuration.parse(tree, "test", tmp_path).archive.name == f"exp-{ending}"


def test_what_is_kept_of_a_configuration_holds_no_token(tmp_path):
    rule = {
        "name": "hot",
        "quantity": "backlog",
        "above": 5,
        "webhook": "https://h.example/hook/T0ken",
    }
    tree = {
        "watch": {"root": "."},
        "alerts": {"webhooks": ["https://u:s3cret@h.example/hook/"], "rules": []},
    }
    tree["alerts"]["webhooks"].append("https://h.example/hook/T0ken")
    made = configuration.parse(
        tree | {"alerts": tree["alerts"] | {"rules": [rule]}}, "test", tmp_path
    )
    kept = configuration.dump(made, secrets=False)
    assert "T0ken" not in kept
    assert "s3cret" not in kept
    assert kept.count("https://h.example/") == 3
    assert "T0ken" in configuration.dump(made)
    assert configuration.parse(yaml.safe_load(kept), "kept", tmp_path).alerts.rules[0].name == "hot"
