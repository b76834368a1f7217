"""Which files may be frames, by patterns."""

import os

import numpy as np
import pytest
from PIL import Image

from pychip_stream.acquisition.tree import Tree
from pychip_stream.errors import FrameUsageError
from pychip_stream.formats.name_patterns import NamePatterns
from pychip_stream.formats.raster import own_mark
from pychip_stream.formats.reading import frame_count, read_frame


@pytest.mark.parametrize(
    ("include", "exclude", "path", "taken"),
    [
        ((), (), "a/b.dm4", True),
        ((), (), "a/b.txt", False),
        ((), (), "a/.b.dm4", False),
        (("*.dm4",), (), "a/b.DM4", True),
        (("*.dm4",), (), "a/b.png", False),
        (("*.dm4", "*.png"), (), "a/b.png", True),
        ((), ("*_preview.*",), "a/b_preview.png", False),
        ((), ("*_preview.*",), "a/b.png", True),
        ((), ("focus",), "focus/b.png", False),
        ((), ("focus",), "a/Focus/c/b.png", False),
        ((), ("focus",), "a/focused/b.png", True),
        ((), ("focus/*",), "focus/c/b.png", False),
        ((), ("focus/*",), "a/focus/b.png", True),
        ((), ("/focus/",), "focus/b.png", True),
        (("run1/*",), ("*.jpg",), "run1/b.png", True),
        (("run1/*",), ("*.jpg",), "run1/b.jpg", False),
        (("run1/*",), ("*.jpg",), "run2/b.png", False),
    ],
)
def test_patterns(include, exclude, path, taken):
    folder, _, name = path.rpartition("/")
    assert NamePatterns(include, exclude).takes(folder, name) is taken


def test_the_tree_holds_only_what_is_selected(tmp_path):
    for name in ("a.dm4", "a.jpg", "focus/b.dm4", "@eaDir/a.dm4", "#recycle/c.dm4", "d/e.dm4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    tree = Tree(tmp_path, selection=NamePatterns(("*.dm4",), ("focus",)))
    for _ in tree.reconcile():
        pass
    assert sorted(tree.take().found) == ["a.dm4", "d/e.dm4"]
    os.utime(tmp_path / "a.jpg")
    for hint in ("a.jpg", "focus/b.dm4", "@eaDir/a.dm4"):
        tree.look_at(hint)
    assert not tree.take().found


def test_pictures_that_this_program_made_are_no_frames(tmp_path):
    pixels = np.arange(100, dtype=np.uint8).reshape(10, 10)
    Image.fromarray(pixels).save(tmp_path / "map.png", pnginfo=own_mark())
    Image.fromarray(pixels).save(tmp_path / "frame.png")
    assert frame_count(tmp_path / "frame.png") == 1
    assert frame_count(tmp_path / "map.png") == 0
    with pytest.raises(FrameUsageError, match="a picture that pychip-stream made"):
        read_frame(tmp_path / "map.png")
