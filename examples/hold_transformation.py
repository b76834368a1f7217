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
PATIENCE_MS = 10_000
"""The hub says how its services are every second; nothing for this long: nobody is there."""


def set_temperature(control: Path, temperature_c: float) -> None:
    """Replace the control file in one step."""
    draft = control.with_name(control.name + ".new")
    draft.write_text(json.dumps({"temperature_c": temperature_c}), encoding="utf-8")
    draft.replace(control)
    sys.stderr.write(f"{time.strftime('%X')} furnace to {temperature_c:g} C\n")


def follow(socket: "zmq.Socket[bytes]", control: Path, rule: str) -> None:
    """Follow the alerts of one rule until the run falls silent."""
    state = "off"
    while socket.poll(PATIENCE_MS):
        topic, _magic, header, *_buffers = socket.recv_multipart()
        if not topic.startswith(b"alert"):
            continue
        alert = msgspec.msgpack.decode(header)
        # Repeats are usual; an alert on trial must not move anything.
        if alert["rule"] != rule or alert.get("dry_run") or alert["state"] == state:
            continue
        state = alert["state"]
        sys.stderr.write(f"{alert['rule']} {state}: {alert['reason']}\n")
        set_temperature(control, COLD_C if state == "on" else HOT_C)


def main(words: list[str]) -> str | int:
    """Connect and follow; returns what to say on the way out."""
    if len(words) != 3:
        sys.stderr.write(
            'usage: python hold_transformation.py tcp://HOST:EVENTS_PORT CONTROL_FILE "RULE"\n'
        )
        return 2
    address, control, rule = words
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        try:
            socket.connect(address)
        except zmq.ZMQError as error:
            return f"{address}: {error}; write tcp://HOST:PORT"
        socket.subscribe(b"alert")
        socket.subscribe(b"status")  # shows that somebody is there
        follow(socket, Path(control), rule)
    return f"{address}: nothing was heard for {PATIENCE_MS // 1000} s; is the run going on?"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(0)
