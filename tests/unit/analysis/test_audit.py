import csv

import numpy as np
import pytest
import tifffile
from PIL import Image

from pychip_stream.analysis.audit import chips_per_class, draw_chips, read_audit, write_audit
from pychip_stream.errors import UsageError

NAMES = ["alpha", "beta", "unknown"]


def pixels_of(archived):
    return lambda path, _index: tifffile.imread(archived.root / path)


def fill(folder, label_of):
    """Fill in the table as an operator would, with an editor's byte-order mark."""
    table = folder / "audit.csv"
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["true_label"] = label_of(row)
    with table.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return table


def truth_of(archived, row):
    number = int(row["path"][1:-4])
    return NAMES[archived.labels[number, int(row["row"]), int(row["column"])]]


def test_chips_are_drawn_from_every_predicted_class(archived):
    with archived.open() as run:
        sizes = chips_per_class(run)
        assert sizes == np.bincount(archived.labels.ravel()).tolist()
        chips = draw_chips(run, 60, seed=3)
        assert len(chips) == len(set(chips)) == 60
        found = np.bincount([archived.labels[c.frame, c.row, c.column] for c in chips])
        assert found.min() >= 5
        assert abs(found[0] / 60 - sizes[0] / sum(sizes)) < 0.1
        assert chips == draw_chips(run, 60, seed=3)
        assert chips != draw_chips(run, 60, seed=4)
        assert chips != sorted(chips, key=lambda c: (c.frame, c.row, c.column))


def test_labels_that_agree_give_the_mapped_fractions(archived, tmp_path):
    with archived.open() as run:
        assert write_audit(run, tmp_path / "a", draw_chips(run, 40), pixels_of(archived)) == 40
        table = fill(tmp_path / "a", lambda row: truth_of(archived, row))
        found = read_audit(run, table)
    shares = np.bincount(archived.labels.ravel()) / archived.labels.size
    for name, share in zip(NAMES, shares, strict=True):
        assert found.fractions[name].value == pytest.approx(share)
    assert found.accuracy.value == 1.0


def test_labels_that_disagree_correct_the_fractions(archived, tmp_path):
    with archived.open() as run:
        write_audit(run, tmp_path / "a", draw_chips(run, 50), pixels_of(archived))
        table = fill(
            tmp_path / "a",
            lambda row: (
                "alpha" if truth_of(archived, row) == "unknown" else truth_of(archived, row)
            ),
        )
        found = read_audit(run, table)
    expected = (archived.labels != 1).mean()
    assert found.fractions["alpha"].value == pytest.approx(expected)
    assert found.fractions["unknown"].value == 0.0


def test_the_table_does_not_tell_what_the_classifier_said(archived, tmp_path):
    with archived.open() as run:
        write_audit(run, tmp_path / "a", draw_chips(run, 10), pixels_of(archived))
    text = (tmp_path / "a" / "audit.csv").read_text()
    assert not any(name in text for name in NAMES)
    assert "true_label" in text


def test_pictures_show_the_chip_with_its_surroundings(archived, tmp_path):
    with archived.open() as run:
        chips = draw_chips(run, 10)
        write_audit(run, tmp_path / "a", chips, pixels_of(archived))
    with Image.open(tmp_path / "a" / "0000.png") as picture:
        assert min(picture.size) >= 288
        assert picture.size[0] * 18 == picture.size[1] * 24


def test_what_was_labelled_is_never_overwritten(archived, tmp_path):
    with archived.open() as run:
        write_audit(run, tmp_path / "a", draw_chips(run, 10), pixels_of(archived))
        with pytest.raises(UsageError, match="is there already"):
            write_audit(run, tmp_path / "a", draw_chips(run, 10), pixels_of(archived))


def test_frames_that_are_gone_leave_no_picture(archived, tmp_path):
    with archived.open() as run:
        assert write_audit(run, tmp_path / "a", draw_chips(run, 10), lambda *_: None) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,index,row,column\n", "true_label"),
        ("path,index,row,column,true_label\nf0.tif,0,1,1,\n", "no chip is labelled"),
        ("path,index,row,column,true_label\nother.tif,0,1,1,alpha\n", "line 2"),
        ("path,index,row,column,true_label\nf0.tif,0,99,1,alpha\n", "line 2"),
        ("path,index,row,column,true_label\nf0.tif,0,-1,1,alpha\n", "line 2"),
        ("path,index,row,column,true_label\nf0.tif,x,1,1,alpha\n", "line 2"),
        ("path,index,row,column,true_label\nf0.tif,0,1,1,alpha\n", "label a few of each"),
    ],
)
def test_tables_that_cannot_be_used_say_why(archived, tmp_path, text, words):
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with archived.open() as run, pytest.raises(UsageError, match=words):
        read_audit(run, table)


def test_a_missing_table_is_one_line(archived, tmp_path):
    with archived.open() as run, pytest.raises(UsageError, match="cannot be read"):
        read_audit(run, tmp_path / "none.csv")
