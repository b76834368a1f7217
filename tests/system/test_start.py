"""The start of a run ends with the page's address, alone on its line."""

import json
import socket
import urllib.request

import pytest

from tests.support.ports import free_wire
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_start_ends_with_the_address_alone(stack, form):
    """Text tells besides that a busy port is left to who has it."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        taken = busy.getsockname()[1] if form == "text" else 0
        page = {"enabled": True, "port": taken}
        parts = {"services": ["hub", "dashboard"]}
        run = stack(dashboard=page, machine=parts, wire=free_wire()).start("--log-format", form)
        address = f"http://127.0.0.1:{run.resolved.dashboard.port}/"

        def text(line):
            return line if form == "text" else json.loads(line)["message"]

        wait_for(lambda: address in map(text, list(run.log)), "the address")
    assert run.resolved.dashboard.port not in (0, taken)
    told = any(f"127.0.0.1:{taken} cannot be had" in line for line in run.log)
    assert told == (form == "text")
    with urllib.request.urlopen(address, timeout=30) as page:
        assert page.status == 200
    lines = list(map(text, run.log))
    assert lines.count(address) == 1
    later = lines[lines.index(address) + 1 :]
    assert not [line for line in later if not line.lstrip().startswith(("run ", "seen "))], later
    run.listen_for(lambda: run.monitor.state("dashboard") == "running", "the page is there")
    assert run.stop()[0] == 0
