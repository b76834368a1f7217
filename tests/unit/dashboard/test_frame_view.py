"""A canvas and what its browser says to it."""

from dataclasses import replace

import pytest

from dashboard.parts.frame_view import FrameView
from dashboard.work.frame_pictures import FramePicture
from tests.support.at_once import AtOnce

PICTURE = FramePicture(key=("a.tif", 0), shape=(50, 70), jpeg=b"jpeg")


@pytest.fixture
def cut():
    return []


@pytest.fixture
def told():
    return []


@pytest.fixture
def view(cut, told, monkeypatch):
    def crop(picture, rect):
        cut.append((picture, rect))
        return b"crop"

    def repaint(picture, contrast):
        return replace(picture, jpeg=f"{contrast.low:g} to {contrast.high:g}".encode())

    one = FrameView(AtOnce(), crop, told.append, repaint)
    one.sent = []
    monkeypatch.setattr(one.canvas, "_send_msg", one.sent.append)
    return one


def say(view, kind, **message):
    view.canvas._handle_msg({"type": kind, **message})


def test_one_picture_is_on_its_way_until_the_browser_has_painted_it(view, told):
    say(view, "ready")
    view.show(PICTURE, note="of now: ")
    sent = view.sent[-1]
    assert sent["caption"] == "of now: a.tif"
    now = view._sent_at
    assert not view.free(now)
    say(view, "painted", seq=sent["seq"] - 1)  # of the one before
    assert not view.free(now)
    assert view.painted is None
    say(view, "painted", seq=sent["seq"])
    assert view.free(now)
    assert view.painted[0] is PICTURE
    assert [m["type"] for m in told] == ["ready", "painted", "painted"]
    view.show(PICTURE)
    assert view.free(view._sent_at + 4.0)  # the browser has forgotten it


def test_a_canvas_that_is_new_gets_its_picture_again(view):
    say(view, "ready")
    view.show(PICTURE, note="of now: ")
    say(view, "ready")
    assert [m["caption"] for m in view.sent] == ["of now: a.tif"] * 2


@pytest.mark.parametrize(
    "rect", [None, "all", [1, 2, 3], [5, 5, 5, 9], [1, 2, "a", 4], {"left": 0}, [0, 0, 1e400, 1]]
)
def test_a_part_that_makes_no_sense_is_not_cut(view, cut, rect):
    say(view, "ready")
    view.show(PICTURE)
    say(view, "crop", seq=view.sent[-1]["seq"], rect=rect)
    say(view, "crop", seq=view.sent[-1]["seq"])
    assert cut == []


def test_a_part_is_cut_inside_the_frame_that_is_shown(view, cut, told):
    say(view, "ready")
    view.show(PICTURE)
    seq = view.sent[-1]["seq"]
    say(view, "crop", seq=seq - 1, rect=[0, 0, 9, 9])
    say(view, "crop", seq=seq, rect=[-5, 2.7, 900, 8])
    assert cut == [(PICTURE, (0, 2, 70, 8))]
    assert view.sent[-1] == {"type": "crop", "seq": seq, "rect": [0, 2, 70, 8], "jpeg": b"crop"}
    assert [m["type"] for m in told] == ["ready"]


def test_of_the_parts_that_are_asked_for_meanwhile_the_newest_is_cut(view, cut, monkeypatch):
    """While one turns the wheel the last part was dropped, and the picture stayed coarse."""
    waiting = []

    def later(work, done, **_options):
        if waiting:
            return False
        waiting.append(lambda: done(work()))
        return True

    monkeypatch.setattr(view._background, "do", later)
    say(view, "ready")
    view.show(PICTURE)
    for edge in (10, 20, 30):
        say(view, "crop", seq=view.sent[-1]["seq"], rect=[0, 0, edge, edge])
    while waiting:
        work = waiting[0]
        waiting.clear()
        work()
    assert [rect[2] for _, rect in cut] == [10, 30]


def test_a_contrast_is_that_of_every_frame_and_crop_from_then_on(view, cut):
    say(view, "ready")
    view.show(PICTURE)
    say(view, "contrast", mode="hand", low=5, high=9)
    sent = view.sent[-1]
    assert (sent["type"], sent["seq"], sent["jpeg"]) == ("picture", view.sent[0]["seq"], b"5 to 9")
    say(view, "crop", seq=sent["seq"], rect=[0, 0, 10, 10])
    assert cut[-1][0].jpeg == b"5 to 9"
    view.show(replace(PICTURE, key=("b.tif", 0)))
    assert (view.sent[-1]["caption"], view.sent[-1]["jpeg"]) == ("b.tif", b"5 to 9")
    assert view.picture.jpeg == PICTURE.jpeg
    say(view, "contrast", mode="auto")
    view.show(PICTURE)
    assert view.sent[-1]["jpeg"] == b"jpeg"
