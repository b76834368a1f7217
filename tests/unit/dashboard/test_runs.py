"""The list of runs: what is there, what is live, what cannot be opened."""

import io

import numpy as np
from PIL import Image

from dashboard.parts.review_tables import card_message
from dashboard.work.runs import RunShelf
from dashboard.work.words import duration, size
from pychip_stream.archive.support_sets import save_support
from tests.support.archive_samples import failed, support
from tests.support.run_samples import make_run


def test_shelf_shows_closed_live_and_unreadable_runs_newest_first(tmp_path):
    make_run(tmp_path / "runs", tmp_path / "a", 6, "old", extra=[failed(90)])
    make_run(tmp_path / "runs", tmp_path / "b", 2, "growing", close=False)
    (tmp_path / "runs" / "notes.h5").write_bytes(b"no archive")
    (tmp_path / "runs" / "old.resolved.yaml").write_text("x: 1")
    cards = {card.name: card for card in RunShelf([tmp_path / "runs"], tmp_path).look()}
    assert set(cards) == {"old", "growing", "notes"}
    assert (cards["old"].frames, cards["old"].failed, cards["old"].live) == (6, 1, False)
    assert cards["old"].duration_s == 5.0
    assert [name for name, _ in cards["old"].classes] == ["alpha", "beta"]
    assert cards["growing"].live
    assert "HDF5" in cards["notes"].trouble
    assert not card_message(cards["notes"])["opens"]
    assert card_message(cards["old"])["facts"][1] == "6 frames, 1 failed"


def test_shelf_looks_again_only_at_what_changed(tmp_path):
    make_run(tmp_path / "runs", tmp_path / "a", 2, "one")
    shelf = RunShelf([tmp_path / "runs"], tmp_path)
    (first,) = shelf.look()
    assert shelf.look()[0] is first
    make_run(tmp_path / "runs", tmp_path / "b", 3, "two")
    cards = {card.name: card for card in shelf.look()}
    assert cards["one"] is first
    assert cards["two"].frames == 3


def test_preview_is_a_small_picture_also_without_the_frame(tmp_path):
    make_run(tmp_path / "runs", tmp_path / "a", 3, "with")
    make_run(tmp_path / "runs", tmp_path / "b", 3, "without", missing=(0, 1, 2))
    previews = {c.name: c.preview for c in RunShelf([tmp_path / "runs"], tmp_path).look()}
    for data in previews.values():
        assert max(Image.open(io.BytesIO(data)).size) == 128
    assert previews["with"] != previews["without"]
    assert np.ptp(np.asarray(Image.open(io.BytesIO(previews["without"])))) > 50


def test_missing_folder_is_an_empty_shelf(tmp_path):
    assert RunShelf([tmp_path / "nowhere"], tmp_path).look() == []


def test_words_for_sizes_and_times():
    assert [size(n) for n in (7, 2_300_000)] == ["7 bytes", "2.3 MB"]
    assert [duration(s) for s in (0.25, 2.5, 61, 7260)] == [
        "250 ms",
        "2.5 s",
        "1 min 01 s",
        "2 h 01 min",
    ]


def test_shelf_takes_several_folders_and_single_runs_and_tells_equal_names_apart(tmp_path):
    one = make_run(tmp_path / "one", tmp_path / "a", 1, "run")
    two = make_run(tmp_path / "two", tmp_path / "b", 2, "run")
    make_run(tmp_path / "two", tmp_path / "c", 3, "other")
    save_support(support(), tmp_path / "one" / "set.h5")
    shelf = RunShelf([tmp_path / "one", two, tmp_path / "one"], tmp_path)
    names = {card.name: (card.path, card.frames) for card in shelf.look()}
    assert names == {str(tmp_path / "one/run"): (one, 1), str(tmp_path / "two/run"): (two, 2)}
    renamed = one.rename(tmp_path / "one" / "run.nxs")
    (card,) = RunShelf([renamed], tmp_path).look()
    assert (card.name, card.frames) == ("run", 1)
