"""What opens, what does not and why; old layouts keep opening."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from pychip_stream import foreign
from pychip_stream.archive import convert, hdf, layout
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import ArchiveError
from tests.support.archive_samples import make_run, record, result
from tests.support.failing_disks import QuickDisk

FIRST_LAYOUT = Path(__file__).parents[2] / "data" / "archive-layout-1.h5"


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, 6)


def refused(path, *words):
    with pytest.raises(ArchiveError) as caught:
        run = open_run(path)
        _ = run.fractions, run.frames, run.label_map(0), run.embeddings(0)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in (path.name, *words)), message


def test_the_first_layout_opens():
    run = open_run(FIRST_LAYOUT)
    assert (len(run), run.count, run.live) == (6, 5, False)
    assert run.names == ("alpha", "beta")
    assert run.fractions["path"].tolist() == [record(n).frame.path for n in range(5)]
    for n in range(5):
        assert (run.label_map(n) == result(n).label_map).all()
        assert (run.embeddings(n) == record(n).embeddings).all()
    assert run.failed["reason"].tolist() == ["cannot be read: cut short"]
    other = run.with_scoring(run.scorings[1])
    assert other.names == ("alpha", "gamma")
    assert (other.label_map(2) == result(102).label_map).all()
    assert run.support_set(other.scoring).names == other.names
    # Columns that came later are empty.
    assert run.columns("device")["device"].tolist() == [b""] * 5
    assert other.scoring_provenance == {}


def test_an_archive_of_the_first_layout_can_be_continued(tmp_path):
    shutil.copy(FIRST_LAYOUT, tmp_path / "layout1.h5")
    writer = RunWriter(tmp_path, "layout1", disk=QuickDisk())
    assert len(writer.keys) == 6
    assert not writer.append(record(2))
    writer.append(record(9, device="cpu/float32"))
    writer.close()
    run = open_run(tmp_path / "layout1.h5")
    assert len(run) == 7
    assert run.columns("device")["device"].tolist() == [b""] * 5 + [b"cpu/float32"]


def test_a_newer_layout_says_so(run):
    with h5py.File(run, "r+") as file:
        file.attrs[hdf.LAYOUT_ATTRIBUTE] = layout_after = hdf.LAYOUT + 1
    refused(run, f"layout {layout_after}", "update pychip-stream")


def test_foreign_files(tmp_path):
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["entry/data"] = np.zeros(3)
    refused(tmp_path / "foreign.h5", "was not written by pychip-stream")
    (tmp_path / "text.h5").write_text("no archive")
    refused(tmp_path / "text.h5", "is not an HDF5 file")
    (tmp_path / "empty.h5").touch()
    refused(tmp_path / "empty.h5", "is not an HDF5 file")
    refused(tmp_path / "nothing.h5", "there is no such run archive")


def test_a_support_set_is_not_a_run(tmp_path):
    from pychip_stream.archive.support_sets import save_support
    from tests.support.archive_samples import support

    save_support(support(), tmp_path / "set.h5")
    refused(tmp_path / "set.h5", "is a support set, not a run")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_archive(run, share):
    whole = run.read_bytes()
    run.write_bytes(whole[: int(len(whole) * share)])
    refused(run)


def test_flipped_bits_are_noticed(run):
    """Every array that is large is under a checksum."""
    with h5py.File(run) as file:
        values = file["entry/embeddings/encoder_0/values"]
        where = values.id.get_chunk_info(0).byte_offset
    data = bytearray(run.read_bytes())
    data[where + 20] ^= 0xFF
    run.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged"):
        open_run(run).embeddings(0)


def test_hostile_links_are_not_followed(run, tmp_path):
    (tmp_path / "secret.h5").write_bytes(run.read_bytes())
    with h5py.File(run, "r+") as file:
        del file["entry/frames/path"]
        file["entry/frames/path"] = h5py.ExternalLink("secret.h5", "/entry/frames/path")
    refused(run, "lacks", "path")


@pytest.mark.parametrize("name", ["frames/path", "scorings/acquired/class_names"])
def test_a_small_file_cannot_claim_endless_text(run, name, monkeypatch):
    with h5py.File(run, "r+") as file:
        count = file[f"entry/{name}"].size
        del file[f"entry/{name}"]
        file[f"entry/{name}"] = np.array(["x" * 30_000] * count, h5py.string_dtype())
    monkeypatch.setattr(foreign, "MAX_DATASET_BYTES", 50_000)
    refused(run, "impossible size")


@pytest.mark.parametrize("kind", ["run", "segment"])
def test_a_long_frame_table_comes_back(tmp_path, kind):
    count = 2000  # long enough to be packed
    numbers = {c.name: np.arange(count).astype(c.dtype) for c in layout.COLUMNS if c.dtype != "S"}
    words = {c.name: [f"{c.name} {n}" for n in range(count)] for c in layout.COLUMNS}
    table = {c.name: numbers.get(c.name, hdf.texts(words[c.name])) for c in layout.COLUMNS}
    with h5py.File(tmp_path / "x.h5", "w") as file:
        hdf.mark(file, kind)
        group = file.create_group("frames")
        layout.write_table(group, table)
        hdf.name_rows(group, "sequence")
        found = layout.read_table(group)
    assert all((found[name] == values).all() for name, values in table.items())


def test_text_that_hdf5_cannot_hold_in_variable_length_is_kept(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for texts in ([b"a\0b", b"", b"c"], ["\N{GREEK SMALL LETTER ALPHA}".encode(), b"\xff"], []):
            wanted = np.array(texts, "S4")
            file.pop("text", None)
            hdf.write_texts(file, "text", wanted)
            assert hdf.read_texts(file, "text").tolist() == texts


def test_files_say_unknown_first(run):
    with h5py.File(run) as file:
        group = file["entry/scorings/acquired"]
        assert group["class_names"][:].tolist() == [b"unknown", b"alpha", b"beta"]
        wanted = result(0)
        stored = np.where(wanted.label_map == 2, 0, wanted.label_map + 1)
        assert (group["label_map"][0] == stored).all()
        assert np.array_equal(group["intervals"][0], np.roll(wanted.intervals, 1, axis=0))


def test_every_column_is_documented_and_has_its_unit(run):
    page = (Path(__file__).parents[3] / "docs" / "archive.md").read_text(encoding="utf-8")
    with h5py.File(run) as file:
        for column in layout.COLUMNS:
            stored = file["entry/frames"][column.name]
            assert stored.attrs["long_name"] == column.meaning
            assert stored.attrs.get("units", "") == column.unit
            assert f"`{column.name}`" in page


def test_pixels_that_are_not_square_have_two_edges(tmp_path):
    writer = RunWriter(tmp_path, "tall", disk=QuickDisk())
    for number, changes in enumerate(({"pixel_ratio": 2.0}, {"pixel_size": None, "unit": None})):
        writer.append(record(number, **changes))
    run = open_run(writer.close())
    np.testing.assert_array_equal(run.frames["pixel_size"], [0.04, np.nan])
    np.testing.assert_array_equal(run.frames["pixel_height"], [0.08, np.nan])
    chip = convert._chip_edges(run)
    assert chip == ((16 * 0.08, 16 * 0.04), "nm")


def test_texts_are_kept_and_archives_of_before_have_none(tmp_path, run):
    assert open_run(run).frames["detector"].tolist() == ["HAADF"] * 6
    before = open_run(FIRST_LAYOUT).frames
    assert set(before["detector"]) == set(before["pixel_size_from"]) == {""}
    assert convert._chip_edges(open_run(FIRST_LAYOUT))[0] == (16 * 0.04, 16 * 0.04)


@pytest.mark.parametrize("texts", [{"detector": "x" * 2000}, {"detector": 5}, {"detector": "\0"}])
def test_texts_that_are_none_cost_their_frame(tmp_path, texts):
    writer = RunWriter(tmp_path, "odd", disk=QuickDisk())
    writer.append(record(0, texts=texts))
    assert "its detector is no text" in open_run(writer.close()).failed["reason"][0]
