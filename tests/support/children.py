"""Processes for a supervisor."""

import sys

from pychip_stream.operation.supervisor import Child


def child(name, code):
    return Child(name, (sys.executable, "-c", code))
