import csv

import numpy as np
import pytest

from pychip_stream.export.tables import summarise, write_summary


def test_the_mean_of_every_class_with_both_intervals(archived):
    with archived.open() as run:
        entries = {e["class"]: e for e in summarise(run)}
    shares = np.bincount(archived.labels.ravel()) / archived.labels.size
    assert list(entries) == ["alpha", "beta", "unknown"]
    for entry, share in zip(entries.values(), shares, strict=True):
        assert entry["frames"] == 12
        assert entry["mean"] == pytest.approx(share)
        for kind in ("series", "fields"):
            low, high = entry[kind]
            assert 0 <= low < share < high <= 1


def test_it_is_written_as_csv(archived, tmp_path):
    with archived.open() as run:
        write_summary(run, tmp_path / "s.csv")
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["alpha", "beta", "unknown"]
    assert float(rows[0]["series_low"]) < float(rows[0]["mean"]) < float(rows[0]["fields_high"])


def test_the_drift_of_every_frame_is_archived(archived):
    with archived.open() as run:
        np.testing.assert_allclose(run.frames["drift"], 0.25 * np.arange(12))
