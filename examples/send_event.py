"""Mark this moment of a run: python send_event.py CONFIG AUTHOR TEXT [ID].

CONFIG is the configuration of the run with its ports, RUNS/NAME.resolved.yaml; where it names
keys, this machine needs some of the role "instrument" (`pychip-stream keys`). With the ID of an
earlier event of the same author its text is changed.
"""

import secrets
import sys
import time
from pathlib import Path

import zmq

from pychip_stream.config import load
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.messages import Event

config, author, text, *known = sys.argv[1:]
with Endpoints(load(Path(config)).wire) as endpoints:
    archiver = endpoints.reach("results", zmq.DEALER, 10)
    name = known[0] if known else secrets.token_hex(4)
    event = Event(id=name, author=author, text=text, time=time.time())
    archiver.send_waiting(event, None, 5.0)
    answer = archiver.receive(5.0)
sys.stdout.write(f"{answer.packet.message if answer else 'no answer: send it again'}\n")
