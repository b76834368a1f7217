"""Members of a kind are found by their files alone."""

import sys

import pytest

from pychip_stream.formats.source import Format
from pychip_stream.plugins import Registry, members_of

MODULE = """
from pychip_stream.formats.source import Format

def make(name, place):
    return Format(name, (), lambda *_: False, lambda _: None, lambda *_: None, place=place)

"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give a package without modules, and what lays one into it."""
    package = tmp_path / "some_formats"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name, code: (package / f"{name}.py").write_text(MODULE + code)
    for name in [name for name in sys.modules if name.startswith("some_formats")]:
        del sys.modules[name]


def registry():
    return Registry[Format]("pychip_stream.none", members_of("some_formats", Format))


def test_a_file_with_a_member_is_enough(folder):
    folder("a", 'FORMAT = make("a", 0)')
    assert registry().names == ("a",)


def test_members_come_in_the_order_of_their_place_and_then_of_their_files(folder):
    folder("c", 'FORMATS = (make("c2", 0), make("c1", 0))')
    folder("a", 'FORMAT = make("late", 1)')
    folder("b", 'FORMAT = make("b", 0)\nfrom some_formats.c import FORMATS')
    assert registry().names == ("b", "c2", "c1", "late")


def test_other_things_in_the_modules_are_none(folder):
    folder("a", 'ONE = make("a", 0)\nKIND = Format\nNAMES = ("x", 3)')
    assert registry().names == ("a",)
