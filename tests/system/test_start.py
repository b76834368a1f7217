"""The start of a run ends with the page's address, alone on its line."""

import json
import urllib.request

import pytest

from tests.support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_start_ends_with_the_address_alone(stack, form):
    run = stack(dashboard={"enabled": True}).start("--log-format", form)
    address = f"http://127.0.0.1:{run.resolved.dashboard.port}/"

    def text(line):
        return line if form == "text" else json.loads(line)["message"]

    wait_for(lambda: address in map(text, list(run.log)), "the address")
    with urllib.request.urlopen(address, timeout=30) as page:
        assert page.status == 200
    lines = list(map(text, run.log))
    assert lines.count(address) == 1
    later = lines[lines.index(address) + 1 :]
    assert not [line for line in later if not line.lstrip().startswith(("run ", "seen "))], later
    assert run.stop()[0] == 0
