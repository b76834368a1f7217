"""The one way in which tests wait: for a condition, never for a time."""

import threading
import time


def wait_for(condition, what="", *, step=lambda: None, timeout_s=90.0, pause_s=0.01):
    """Wait until a condition holds, and return what it gave; `step` is done between looks.

    `what` is text, or a function that gives it when it is too late.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {timeout_s:g} s: {what() if callable(what) else what}"
            )
        step()
        threading.Event().wait(pause_s)
    return value
