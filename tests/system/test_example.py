"""The example script is an example in its manners, too."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
import zmq

from pychip_stream import config as configuration

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "hold_transformation.py"


def start(*words):
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE), *words], stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "usage: "),
        (("tcp://127.0.0.1:5604",), 2, "usage: "),
        (("nonsense", "f.json", "r"), 1, "nonsense: "),
        (("tcp://127.0.0.1:1", "f.json", "r"), 1, "nothing was heard"),
    ],
)
def test_what_is_wrong_is_one_line(words, code, said):
    _, err = (process := start(*words)).communicate(timeout=60)
    assert process.returncode == code
    assert said in err
    assert err.count("\n") == 1


def test_ctrl_c_ends_it_quietly(tmp_path):
    with zmq.Context() as context, context.socket(zmq.XPUB) as hub:
        hub.linger = 0
        port = hub.bind_to_random_port("tcp://127.0.0.1")
        process = start(f"tcp://127.0.0.1:{port}", str(tmp_path / "f.json"), "r")
        assert hub.poll(60_000)  # it has subscribed
        hub.send_multipart([b"status", b"", b""])
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_the_run_that_it_needs_is_described(tmp_path):
    text = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    text = text[text.index("### Closing the loop") :]
    config = configuration.parse(
        yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]), "docs", tmp_path
    )
    lines = re.search(r"```\n(pychip-stream simulate.*?)```", text, re.DOTALL)[1].splitlines()
    simulated, run, example = map(shlex.split, lines)
    assert run == ["pychip-stream", "run", "loop.yaml"]
    assert tmp_path / simulated[2] == config.watch.root
    assert example[2:] == [
        config.wire.endpoint("events"),
        simulated[simulated.index("--control") + 1],
        config.alerts.rules[0].name,
    ]
