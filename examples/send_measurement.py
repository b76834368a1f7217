"""Send a reading of a furnace to a run: python send_measurement.py CONFIG NAME VALUE UNIT.

CONFIG is the configuration of the run with its ports, RUNS/NAME.resolved.yaml; where it names
keys, this machine needs some of the role "instrument" (`pychip-stream keys`).
"""

import sys
import time
from pathlib import Path

import zmq

from pychip_stream.config import load
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.messages import Measurement

config, name, value, unit = sys.argv[1:]
with Endpoints(load(Path(config)).wire) as endpoints:
    archiver = endpoints.reach("results", zmq.DEALER, 10)
    now = time.time()
    reading = Measurement(source="furnace", name=name, value=float(value), unit=unit, time=now)
    archiver.send_waiting(reading, None, 5.0)
    answer = archiver.receive(5.0)
sys.stdout.write(f"{answer.packet.message if answer else 'no answer: send it again'}\n")
