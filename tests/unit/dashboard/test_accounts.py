"""Who may look and who may change."""

import json

import pytest

from dashboard import accounts, login
from pychip_stream import config as configuration
from pychip_stream.errors import ConfigError


def parsed(tmp_path, **dashboard):
    tree = {"watch": {"root": "."}, "dashboard": dashboard}
    return configuration.parse(tree, "test", tmp_path).dashboard


def test_other_machines_need_a_login_or_an_explicit_word(tmp_path):
    with pytest.raises(ConfigError, match="needs a login"):
        parsed(tmp_path, address="0.0.0.0")
    assert parsed(tmp_path, address="0.0.0.0", users="u.json").users == tmp_path / "u.json"
    assert parsed(tmp_path, address="192.168.0.7", trusted_network=True)
    assert parsed(tmp_path, address="::1")


def test_operators_and_viewers(tmp_path):
    config = parsed(tmp_path, users="u.json", operators=["ann"])
    assert accounts.viewer(config, "ann").operator
    assert not accounts.viewer(config, "bob").operator
    assert accounts.viewer(config, "bob").user == "bob"
    assert accounts.viewer(parsed(tmp_path, users="u.json"), "bob").operator
    assert accounts.viewer(parsed(tmp_path), None).operator


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"ann": ""}', '{"ann": 5}'])
def test_a_bad_file_of_accounts_is_refused(tmp_path, text):
    (tmp_path / "u.json").write_text(text)
    with pytest.raises(ConfigError, match=r"u\.json"):
        login.server_options(parsed(tmp_path, users="u.json"))


def test_a_good_file_makes_the_server_ask(tmp_path):
    (tmp_path / "u.json").write_text(json.dumps({"ann": "secret"}))
    options = login.server_options(parsed(tmp_path, users="u.json"))
    assert options["basic_auth"] == str(tmp_path / "u.json")
    assert len(options["cookie_secret"]) == 64
    assert login.server_options(parsed(tmp_path)) == {}
