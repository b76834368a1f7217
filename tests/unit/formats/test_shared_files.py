"""What Windows is asked, on a kernel of straw: nobody who writes a file may be disturbed.

The calls themselves have been made on no Windows.
"""

import ctypes
import os
import sys
import types
from pathlib import Path

import pytest

from pychip_stream.acquisition import writers
from pychip_stream.formats import shared_files
from pychip_stream.formats.reading import read_frame
from tests.support.material import put

READ_DATA, SHARE_ALL = 0x80000000, 1 | 2 | 4


class Function:
    """A function of a DLL: types can be set on it."""

    def __init__(self, call):
        self.call = call

    def __call__(self, *words):
        return self.call(*words)


class Kernel:
    """Opens real files and notes how; tells who uses them."""

    def __init__(self):
        self.opened, self.closed, self.users, self.status = [], [], [os.getpid()], 0
        self.CreateFileW = Function(self._create)
        self.CloseHandle = Function(self._close)
        self.NtQueryInformationFile = Function(self._query)

    def _create(self, name, access, sharing, _security, how, _flags, _template):
        self.opened.append((access, sharing, how))
        try:
            return os.open(name, os.O_RDONLY)
        except OSError:
            return shared_files._INVALID

    def _close(self, handle):
        self.closed.append(handle)
        os.close(handle)

    def _query(self, _handle, _status, answer, size, kind):
        assert kind == 47
        found = answer._obj
        assert size == ctypes.sizeof(found)
        found.count = len(self.users)
        found.ids[: len(self.users)] = self.users
        return self.status


@pytest.fixture
def kernel(monkeypatch):
    straw = Kernel()
    msvcrt = types.SimpleNamespace(open_osfhandle=lambda handle, _flags: handle)
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    monkeypatch.setattr(shared_files, "_library", lambda _name: straw)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: 2, raising=False)
    monkeypatch.setattr(
        ctypes, "WinError", lambda code: FileNotFoundError(code, "not found"), raising=False
    )
    return straw


def test_frames_are_opened_so_that_others_may_write_rename_and_delete(
    kernel, monkeypatch, tmp_path
):
    path = put(tmp_path / "a.dm4")
    expected = read_frame(path).pixels
    assert kernel.opened == []  # this system needs nothing of it
    monkeypatch.setattr(sys, "platform", "win32")
    assert (read_frame(path).pixels == expected).all()
    assert kernel.opened == [(READ_DATA, SHARE_ALL, 3)]


def test_a_name_that_cannot_be_opened_is_an_error_as_elsewhere(kernel, tmp_path):
    with pytest.raises(FileNotFoundError):
        shared_files.open_shared(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="null"):
        shared_files.open_shared(Path("a\0b"))
    assert len(kernel.opened) == 1


@pytest.mark.parametrize(
    ("users", "status", "answer"),
    [([os.getpid()], 0, False), ([], 0, False), ([os.getpid(), 4], 0, True), ([4], 1, None)],
)
def test_asking_who_uses_a_file_asks_for_no_data(kernel, tmp_path, users, status, answer):
    path = put(tmp_path / "a.dm4")
    kernel.users, kernel.status = users, status
    assert shared_files.used_by_others(path) is answer
    ((access, sharing, _),) = kernel.opened
    assert access == 0x80  # attributes only: no sharing rule of anybody applies
    assert sharing == SHARE_ALL
    assert len(kernel.closed) == 1


def test_nobody_is_known_to_use_what_is_not_there(kernel, tmp_path):
    assert shared_files.used_by_others(tmp_path / "nowhere") is None
    assert kernel.closed == []


def test_only_nobody_counts_as_an_answer(kernel, monkeypatch, tmp_path):
    """The branch of Windows is taken when the module is loaded."""
    source = Path(writers.__file__)
    module = types.ModuleType("writers_of_windows")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source.read_text(encoding="utf-8"), str(source), "exec"), module.__dict__)
    path = put(tmp_path / "a.dm4")
    assert module.being_written(path) is False
    kernel.users = [os.getpid(), 4]
    assert module.being_written(path) is None
    assert {access for access, _, _ in kernel.opened} == {0x80}
