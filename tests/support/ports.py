"""Ports of this machine that nobody uses."""

import socket

WIRE = ("tasks", "results", "requests", "events")


def free_ports(count):
    """Different free ports: all are held before the first is let go."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def free_wire():
    """A free port for each of the wire's endpoints."""
    return dict(zip(WIRE, free_ports(len(WIRE)), strict=True))
