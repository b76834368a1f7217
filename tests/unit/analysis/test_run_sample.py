"""Frames from all over a run, for whoever chooses examples."""

from dataclasses import replace

import numpy as np
import pytest

from pychip_stream.analysis import run_sample
from pychip_stream.analysis.run_sample import sample_run
from pychip_stream.archive.exclusions import exclude
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.run import open_run
from pychip_stream.domain.normalization import Normalization
from tests.support.simple_encoder import SimpleEncoder
from tests.support.simple_runs import ENCODER, FIRST, archive, picked, pixels


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(archive(tmp_path_factory.mktemp("run"), close=False, count=20))


def numbers(run, support=FIRST, at_hand=lambda _key: True):
    return [one.number for one in sample_run(run, support, at_hand)]


def test_frames_come_from_the_whole_run_with_their_embeddings(run):
    found = sample_run(run, FIRST, lambda _key: True)
    assert [one.number for one in found] == [0, 3, 6, 10, 13, 16, 19]
    for one in found:
        assert one.key == (run.fractions["path"][one.number], 0)
        assert one.time - run.start == pytest.approx(run.fractions["time_s"][one.number])
        np.testing.assert_array_equal(one.embeddings, run.embeddings(one.number))


def test_frames_that_are_gone_or_left_out_are_passed_over(run):
    gone = {str(run.fractions["path"][n]) for n in range(12)}
    assert numbers(run, at_hand=lambda key: key[0] not in gone) == [12, 13, 14, 16, 17, 18, 19]
    places, key = RunPlaces.of(run.path), (str(run.fractions["path"][19]), 0)
    exclude(places, run.run_id, [key], who="x")
    try:
        assert numbers(open_run(run.path))[-1] == 18
    finally:
        exclude(places, run.run_id, [key], who="x", undo=True)
    assert numbers(run, at_hand=lambda _key: False) == []


def test_only_what_can_be_compared_and_clicked(run):
    assert numbers(run, picked(2)) == [0, 3, 6, 10, 13, 16, 19]
    assert numbers(run, picked(2, size=32)) == []
    assert numbers(run, picked(2, encoder=SimpleEncoder("other", seed=9))) == []
    other = replace(FIRST, normalization=Normalization("range", 0.0, 9000.0), note="other")
    assert numbers(run, other) == []


def test_large_frames_are_fewer(run, monkeypatch):
    monkeypatch.setattr(run_sample, "_CHIPS", 3 * 80)
    assert numbers(run) == [0, 10, 19]
    monkeypatch.setattr(run_sample, "_CHIPS", 10)
    assert len(numbers(run)) == 1
    assert ENCODER.embed(pixels(0), 16).shape[:2] == (8, 10)
