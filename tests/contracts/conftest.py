"""Snapshots: what others rely on, as text; `pytest tests/contracts --renew` writes them anew."""

import difflib
from pathlib import Path

import pytest

SNAPSHOTS = Path(__file__).with_name("snapshots")


@pytest.fixture
def snapshot(request):
    """Compare a folder of snapshots, text by name, with what was found now."""

    def compare(folder, found):
        place = SNAPSHOTS / folder
        found = {name: text.rstrip("\n") + "\n" for name, text in found.items()}
        kept = {path.name: path.read_text("utf-8") for path in sorted(place.glob("*"))}
        if request.config.getoption("--renew"):
            place.mkdir(parents=True, exist_ok=True)
            for name in kept.keys() - found.keys():
                (place / name).unlink()
            for name, text in found.items():
                (place / name).write_text(text, "utf-8", newline="\n")
            return
        changes = [
            line
            for name in sorted(kept.keys() | found.keys())
            for line in difflib.unified_diff(
                kept.get(name, "").splitlines(),
                found.get(name, "").splitlines(),
                f"{folder}/{name}",
                f"{folder}/{name}, now",
                lineterm="",
            )
        ]
        assert not changes, "\n".join(["others rely on this (--renew if it is meant):", *changes])

    return compare
