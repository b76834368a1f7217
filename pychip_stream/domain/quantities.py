"""Quantities: what is measured, and in which units."""

from typing import Literal

Quantity = Literal[
    "fraction",
    "unknown",
    "drift",
    "backlog",
    "latency",
    "silence",
    "failed",
    "missing",
    "troubled",
]
"""What rules can watch."""

UNITS: dict[Quantity, str] = {"latency": " s", "silence": " s"}
PERCENT: frozenset[Quantity] = frozenset({"fraction", "unknown"})
