"""The example client of docs/protocol.md is run as it stands."""

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import zmq

from pychip_stream.domain.frames import FrameRef
from pychip_stream.wire import messages
from pychip_stream.wire.channel import Channel
from pychip_stream.wire.messages import Live

PAGE = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"


def test_the_example_client_prints_fractions():
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S).group(1)
    live = Live(
        frame=FrameRef(path="a.dm4"),
        names=("alpha", "beta"),
        colors=("#0072b2", "#e69f00"),
        support_version="v",
        chip_size=(32, 32),
        shape=(64, 64),
        status="ok",
    )
    intervals = np.array([[0.25, 0.2, 0.3], [0.75, 0.7, 0.8], [0.0, 0.0, 0.0]])
    context = zmq.Context()
    with closing(Channel(context, zmq.XPUB, 10)) as hub:
        port = hub.bind("tcp://127.0.0.1:0").rsplit(":", 1)[1]
        code = code.replace("5604", port)
        with subprocess.Popen(
            [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True
        ) as client:
            assert hub.raw.recv() == b"\x01live"
            hub.send(
                live,
                {"label_map": np.zeros((2, 2), np.uint8), "intervals": intervals},
                to=messages.LIVE,
            )
            line = client.stdout.readline()
            client.kill()
    context.term()
    assert line.split()[0] == "a.dm4"
    assert "0.25" in line
    assert "beta" in line
