"""Steer the practice microscope by what is seen: stop the furnace when an alert fires.

    python examples/hold_transformation.py HUB_EVENTS_ADDRESS CONTROL_FILE RULE

for example `tcp://127.0.0.1:5604 furnace.json "beta appears"`, beside
`pychip-stream simulate acquisition --control furnace.json` and a run with a rule of that name.
It needs nothing of pychip-stream but the protocol (docs/protocol.md); a real microscope's
interface would take the place of the control file.
"""

import json
import sys
import time
from pathlib import Path

import msgspec
import zmq

HOT_C, COLD_C = 300.0, 150.0


def set_temperature(control: Path, temperature_c: float) -> None:
    """Replace the control file in one step."""
    draft = control.with_name(control.name + ".new")
    draft.write_text(json.dumps({"temperature_c": temperature_c}), encoding="utf-8")
    draft.replace(control)
    sys.stderr.write(f"{time.strftime('%X')} furnace to {temperature_c:g} C\n")


def main(address: str, control: Path, rule: str) -> None:
    """Follow the alerts of one rule for ever."""
    socket = zmq.Context().socket(zmq.SUB)
    socket.connect(address)
    socket.subscribe(b"alert")
    state = "off"
    while True:
        _topic, _magic, header, *_buffers = socket.recv_multipart()
        alert = msgspec.msgpack.decode(header)
        # Repeats are usual; an alert on trial must not move anything.
        if alert["rule"] != rule or alert.get("dry_run") or alert["state"] == state:
            continue
        state = alert["state"]
        sys.stderr.write(f"{alert['rule']} {state}: {alert['reason']}\n")
        set_temperature(control, COLD_C if state == "on" else HOT_C)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
