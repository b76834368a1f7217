"""Documents and tables of runs whose frames know different classes."""

import json
import shutil

import numpy as np
import pytest

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.classification import Batch, classify
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.classify import _table
from pychip_stream.cli.output import report, run_document
from pychip_stream.config import ClassifyConfig
from tests.support.simple_runs import ENCODER, FIRST, archive, picked


def refuse(name):
    raise AssertionError(f"{name} is not JSON")


def test_what_is_not_finite_becomes_null(capsys):
    report(
        {"a": float("nan"), "b": [np.float32("inf"), (1, np.int64(2))], "c": {"d": 0.5}},
        as_json=True, text="",
    )  # fmt: skip
    document = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert document == {"a": None, "b": [None, [1, 2]], "c": {"d": 0.5}}


@pytest.fixture
def two_class_lists(tmp_path):
    """A run of five frames, two of which were classified with classes of other names."""
    path = archive(tmp_path, FIRST, close=False)
    later = tmp_path / "later"
    later.mkdir()
    for number in range(2):
        shutil.copyfile(tmp_path / "frames" / f"{number}.tif", later / f"late-{number}.tif")
    other = Analyst.of(picked(0, names=("lines", "grains")), ENCODER, ClassifyConfig())
    return classify(Batch.of([later]), other, RunWriter(path.parent, path.stem))


def test_a_run_with_two_class_lists_is_valid_json_and_shows_no_nan(two_class_lists, capsys):
    with open_run(two_class_lists) as run:
        document = run_document(run, two_class_lists)
    report(document, as_json=True, text="")
    rows = json.loads(capsys.readouterr().out, parse_constant=refuse)["fractions"]
    assert {"stripes", "speckle", "lines", "grains", "unknown"} < rows[0].keys()
    assert rows[0]["lines"] is None
    text = _table(document)
    assert "nan" not in text
    assert "lines -" in text
