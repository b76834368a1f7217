"""The house: a name says which module is meant, and no file holds more than one can read."""

from collections import Counter

from tests.conftest import ROOT

OURS = ("pychip_stream", "services", "dashboard", "benchmarks", "examples", "training", "tests")
MOST_LINES = 450


def modules(*tops):
    return [path for top in tops for path in (ROOT / top).rglob("*.py")]


def test_no_base_name_occurs_in_two_folders():
    names = Counter(
        path.stem
        for path in modules("pychip_stream", "services", "dashboard")
        if path.stem not in ("__init__", "__main__")
        and path.parent != ROOT / "pychip_stream" / "cli"  # named after their commands
    )
    assert [name for name, times in names.items() if times > 1] == []


def test_no_file_is_too_long():
    lines = {str(p.relative_to(ROOT)): len(p.read_bytes().splitlines()) for p in modules(*OURS)}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}
