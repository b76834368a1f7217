"""One image from the viewer's machine, through examples to a result."""

import io

import numpy as np
import pytest
from PIL import Image

from dashboard.work import kept_uploads, saved_sets, scratch
from dashboard.work.drafts import DraftState
from dashboard.work.kept_uploads import KeptUploads
from dashboard.work.uploads import NO_FILE, UploadBench
from dashboard.work.workbench import Workbench
from pychip_stream import config as configuration
from pychip_stream.archive.support_sets import load_support
from pychip_stream.domain.chips import ChipSize
from pychip_stream.errors import PychipError
from pychip_stream.wire.messages import Reply


@pytest.fixture
def bench(tmp_path):
    config = configuration.parse({"watch": {"root": "frames"}}, "test", tmp_path)
    one = UploadBench(config)
    yield one
    one.close()


def picture():
    """Fine texture above, coarse below."""
    rng = np.random.default_rng(0)
    fine = rng.normal(90, 25, (64, 128))
    coarse = np.kron(rng.normal(170, 40, (8, 16)), np.ones((8, 8)))
    pixels = np.clip(np.vstack([fine, coarse]), 0, 255).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def send(bench, name, data, piece=1000):
    bench.begin(name, len(data))
    for start in range(0, len(data), piece):
        bench.add(data[start : start + piece])
    return bench.finish()


def picks(state, key):
    state = state.choose("feature 1", *key, [(0, 0), (1, 3)], add=True)
    return state.choose("feature 2", *key, [(2, 0), (3, 3)], add=True)


def test_image_becomes_fractions_and_a_support_set(bench):
    uploaded = send(bench, "two textures.png", picture())
    assert uploaded.shape == (128, 128)
    assert uploaded.jpeg.startswith(b"\xff\xd8")
    assert bench.advice is not None
    state = picks(bench.open.draft.state.resize(ChipSize(32, 32)), uploaded.key)
    opened = bench.classify(state, "somebody")
    result = opened.picture(0)
    assert result.label_map.tolist() == [[0] * 4] * 2 + [[1] * 4] * 2
    assert result.key == ("two textures.png", 0)
    np.testing.assert_allclose(result.intervals[:, 0], [0.5, 0.5, 0.0])
    support = load_support(bench.support_file())
    assert support.counts == {"feature 1": 2, "feature 2": 2}
    assert support.author == "somebody"


def test_second_image_of_the_same_name_is_another_one(bench):
    first = send(bench, "a.png", picture())
    target = io.BytesIO()
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(target, "PNG")
    second = send(bench, "a.png", target.getvalue())
    assert (first.shape, second.shape) == ((128, 128), (40, 50))
    assert bench.open.draft.state.picks == ()


@pytest.mark.parametrize("name", ["notes.txt", "noending", "", "../..", ".png", "a.png.exe"])
def test_file_of_another_kind_is_refused(bench, name):
    with pytest.raises(PychipError, match=NO_FILE):
        bench.begin(name, 10)
    with pytest.raises(PychipError, match=NO_FILE):
        bench.add(b"x")


@pytest.mark.parametrize("name", ["../../evil.png", "C:\\windows\\evil.png", "/etc/evil.png"])
def test_name_leads_nowhere_else(bench, name):
    assert send(bench, name, picture()).key[0].endswith("/evil.png")
    assert bench.uploaded.key[0].count("/") == 1


def test_file_that_is_no_image_is_refused_with_its_reason(bench):
    with pytest.raises(PychipError, match=f"{NO_FILE}: .*fake.png"):
        send(bench, "fake.png", b"GIF89a but not really")
    assert bench.uploaded is None


def test_more_or_less_than_was_announced_is_refused(bench):
    bench.begin("a.png", 10)
    bench.add(b"12345")
    with pytest.raises(PychipError, match="whole"):
        bench.finish()
    bench.begin("a.png", 3)
    with pytest.raises(PychipError, match="announced"):
        bench.add(b"1234")


def test_nothing_is_classified_without_an_image_or_with_an_empty_class(bench):
    with pytest.raises(PychipError, match=NO_FILE):
        bench.classify(DraftState(), "")
    uploaded = send(bench, "a.png", picture())
    state = bench.open.draft.state.choose("feature 1", *uploaded.key, [(0, 0)], add=True)
    with pytest.raises(PychipError, match="'feature 2' has no chip"):
        bench.classify(state, "")


def test_a_support_set_is_what_one_begins_with_and_what_goes_to_the_run(
    bench, tmp_path, monkeypatch
):
    """Upload against pyChip's GUI: sets could be neither loaded nor handed on."""
    uploaded = send(bench, "a.png", picture())
    state = picks(bench.open.draft.state.resize(ChipSize(32, 32)), uploaded.key)
    bench.classify(state.rename("feature 1", "fine"), "somebody")
    data = bench.support_file().read_bytes()
    assert send(bench, "mine.h5", data).key == uploaded.key  # the image stays
    assert bench.open.draft.state.counts == {"fine": 2, "feature 2": 2}
    again = send(bench, "b.png", picture())
    assert bench.open.draft.state.chip_size == ChipSize(32, 32)
    result = bench.classify(bench.open.draft.state, "").picture(0)
    assert again.key[0].endswith("/b.png")
    assert result.names[0] == "fine"

    asked = []
    monkeypatch.setattr(
        saved_sets, "request", lambda _wire, message, _data: asked.append(message) or Reply(ok=True)
    )
    run = Workbench(configuration.parse({"watch": {"root": "frames"}}, "test", tmp_path))
    said = bench.hand_over(run, "ann")
    support = load_support(bench.support_file())
    assert said.startswith(f"published {support.version[:8]}")
    assert [message.author for message in asked] == ["ann"]
    assert run.sets.support(support.version).counts == support.counts
    run.close()


@pytest.mark.parametrize(("name", "data"), [("a.h5", b"no set"), ("a.png", b"no image")])
def test_a_refusal_tells_the_file_and_not_where_it_lies_here(bench, name, data):
    """M18: a path in the temporary folder."""
    with pytest.raises(PychipError, match=NO_FILE) as caught:
        send(bench, name, data)
    assert name in str(caught.value)
    assert str(bench._folder) not in str(caught.value)
    assert "/a" not in str(caught.value)


def test_nothing_is_left_behind(bench):
    send(bench, "a.png", picture())
    folder = bench.support_file().parents[1]
    assert folder.is_dir()
    bench.close()
    assert not folder.exists()


def test_a_pixel_size_by_hand_goes_into_result_and_support_set(bench):
    uploaded = send(bench, "a.png", picture())
    assert (uploaded.pixel_size, uploaded.by_hand) == (None, False)
    measured = bench.measure("0,5 nm")
    assert (measured.pixel_size, measured.unit, measured.by_hand) == (0.5, "nm", True)
    assert measured.message(1)["unit"] == "nm (by hand)"
    state = picks(bench.open.draft.state.resize(ChipSize(32, 32)), measured.key)
    result = bench.classify(state, "somebody")
    shown = result.picture(0)
    assert (shown.pixel_size, shown.unit, shown.by_hand) == (0.5, "nm", True)
    assert {c.source.pixel_size for c in load_support(bench.support_file()).chips} == {0.5}
    with pytest.raises(PychipError, match="write a number and a length"):
        bench.measure("5 pixels")
    assert bench.uploaded.pixel_size == 0.5
    send(bench, "b.png", picture())
    assert bench.uploaded.pixel_size is None


def test_a_page_that_is_stopped_takes_everything_with_it(bench):
    """M19: a stop that was not waited for left the images in the temporary folder."""
    send(bench, "a.png", picture())
    scratch.clear()
    assert not bench._folder.exists()


def test_what_was_classified_is_recalled_by_its_user(tmp_path):
    """The paper's wish: images, parameters and sets saved for recall."""
    config = configuration.parse({"watch": {"root": "frames"}}, "test", tmp_path)
    config.support.folder.mkdir()
    first, other, again = (UploadBench(config, user) for user in ("ann", "bob", "ann"))
    try:
        uploaded = send(first, "two.png", picture())
        first.measure("0.5 nm")
        state = picks(first.open.draft.state.resize(ChipSize(32, 32)), uploaded.key)
        result = first.classify(state, "ann")
        assert other.kept() == []
        (one,) = again.kept()
        assert (one.name, one.about) == ("two.png", "feature 1, feature 2, chips of 32 px")
        recalled = again.recall(one.folder)
        assert (recalled.title, recalled.pixel_size, recalled.unit) == ("two.png", 0.5, "nm")
        draft = again.open.draft.state
        assert (draft.chip_size, draft.counts) == (state.chip_size, state.counts)
        assert {p.place for p in draft.picks} == {p.place for p in state.picks}
        labels = again.classify(draft, "ann").picture(0).label_map
        assert np.array_equal(labels, result.picture(0).label_map)
        assert len(again.kept()) == 1
        with pytest.raises(PychipError, match="not kept any more"):
            other.recall(one.folder)
    finally:
        for bench in (first, other, again):
            bench.close()


def test_of_kept_uploads_the_oldest_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_uploads, "_MOST", 2)
    kept = KeptUploads(tmp_path / "ann")
    for name in ("a", "b", "c"):
        image = tmp_path / name / "image.png"
        image.parent.mkdir()
        image.write_bytes(b"x")
        kept.keep(image, image, "", name)
    assert [one.about for one in kept.list()] == ["c", "b"]
    (tmp_path / "ann" / "b" / "upload.json").write_text("{")
    assert [one.about for one in kept.list()] == ["c"]
    assert not (tmp_path / "ann" / "a").exists()
