"""What commands print: one JSON document for machines, everything else to standard error."""

import json
import sys
from typing import Any

from rich.console import Console

console = Console(stderr=True, highlight=False, soft_wrap=True)
"""People's text, progress and logs."""

printed = Console(highlight=False)
"""What a command was asked to show, where that is more than plain text."""


def say(text: str) -> None:
    """Print one line for people; names from files are not markup."""
    console.print(text, markup=False)


def report(document: dict[str, Any], *, as_json: bool, text: str) -> None:
    """Print the outcome: `document` on standard output with --json, otherwise `text`."""
    if as_json:
        sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()
    elif text:
        sys.stdout.write(text.rstrip() + "\n")
