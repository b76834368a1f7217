"""The arithmetic of the table of scale: which part holds a load, and which saturates next."""

import pytest

from benchmarks.scale import Load, here, limits, scaled

LOAD = Load("a load", 1000, 100.0)
COSTS = {"worker": 0.1, "watcher": 0.002, "archiver": 0.004, "hub": 0.001}


def test_a_part_can_do_what_its_core_allows_and_the_share_what_its_bandwidth_carries():
    assert limits(LOAD, COSTS, 4, 1.0) == pytest.approx(
        {"workers": 40.0, "share": 62.5, "watcher": 500.0, "archiver": 250.0, "hub": 1000.0}
    )


@pytest.mark.parametrize(
    ("workers", "gbit", "rate", "held_by", "following", "following_rate"),
    [
        (4, 10.0, 40.0, "workers", "archiver", 250.0),
        (16, 10.0, 100.0, "", "workers", 160.0),
        (64, 10.0, 100.0, "", "archiver", 250.0),
        (4, 1.0, 40.0, "workers", "share", 62.5),
        (64, 1.0, 62.5, "share", "archiver", 250.0),
    ],
)
def test_more_workers_help_until_another_part_saturates(
    workers, gbit, rate, held_by, following, following_rate
):
    row = scaled(LOAD, COSTS, workers, gbit)
    assert (row.rate, row.held_by, row.following) == (pytest.approx(rate), held_by, following)
    assert row.following_rate == pytest.approx(following_rate)


def test_on_few_cores_the_sum_of_the_work_counts_and_on_many_the_slowest_part():
    costs = {"watcher": 0.002, "archiver": 0.004, "hub": 0.001, "played": 0.003}
    assert here(costs, 1) == pytest.approx(100.0)
    assert here(costs, 2) == pytest.approx(200.0)
    assert here(costs, 8) == pytest.approx(250.0)
