"""Runs under other examples, and labels computed once more."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from pychip_stream.analysis import block_scoring
from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.block_scoring import scored_block
from pychip_stream.analysis.classification import Batch, classify
from pychip_stream.analysis.rescoring import encoder_finder, rescore, uncovered
from pychip_stream.analysis.verification import verify
from pychip_stream.archive.blocks import Rows
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.layout import NO_CHIP
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.records import half
from pychip_stream.errors import ArchiveError, EncoderError, SupportError
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.embedding import embed_support
from tests.support.simple_encoder import SimpleEncoder
from tests.support.simple_runs import COUNT, ENCODER, FIRST, archive, picked, pixels


def never(weights_hash):
    raise AssertionError(f"the encoder {weights_hash} is not needed")


def fresh(support, number, norm=None):
    classifier = Classifier.fit(support, sensitivity=0.9)
    embeddings = ENCODER.embed(pixels(number), 16, norm or support.normalization)
    return classifier.score(embeddings).labels


@pytest.mark.parametrize("close", [True, False], ids=["closed", "live"])
def test_it_agrees_with_classifying_afresh(tmp_path, close):
    path = archive(tmp_path, close=close)
    other = picked(2, seed=5, names=("lines", "noise"))
    told = []
    outcome = rescore(path, other, never, progress=lambda *step: told.append(step))
    assert (outcome.scoring, outcome.frames, outcome.notes) == (other.version, COUNT, ())
    assert told[-1] == (COUNT, COUNT)
    run = open_run(path)
    assert (run.scoring, run.names) == (other.version, ("lines", "noise"))
    same = [run.labels(n) == fresh(other, n) for n in range(COUNT)]
    assert np.mean(same) >= 0.999
    assert run.scoring_provenance["classify"]["sensitivity"] == 0.9
    assert run.scoring_provenance["support_set"] == other.version
    wanted = Classifier.fit(other, sensitivity=0.9).score(run.embeddings(1))
    assert np.allclose(run.result(1).intervals, wanted.intervals)
    assert np.allclose(run.probabilities(1), wanted.probabilities, atol=1e-3)


def test_frames_of_several_grids_are_scored_each_in_its_own(monkeypatch):
    monkeypatch.setattr(block_scoring, "_CHIPS_PER_TASK", 12)
    grids = [(2, 3), (2, 3), (2, 3), (3, 2), (4, 4), (1, 1)]
    block = Rows.laid(range(len(grids)), grids, encoder=("x", 6)).allocated()
    values = block.arrays["values"]
    values[...] = np.random.default_rng(0).normal(size=values.shape)
    classifier = Classifier.fit(FIRST)
    found = scored_block(block, FIRST.names, classifier.scorer, reject=False)
    for number, grid in enumerate(grids):
        alone = classifier.score(block.array("values", number), reject=False)
        np.testing.assert_array_equal(found.labels(number), alone.label_map)
        np.testing.assert_array_equal(found.array("distances", number), half(alone.distances))
        np.testing.assert_allclose(found.intervals[number], alone.intervals, atol=1e-6)
        beyond = np.ones(found.grid, bool)
        beyond[: grid[0], : grid[1]] = False
        assert (found.label_map[number][beyond] == NO_CHIP).all()


def test_the_set_of_the_acquisition_changes_nothing(tmp_path):
    path = archive(tmp_path)
    outcome = rescore(path, FIRST, never)
    assert outcome.scoring == "acquired"
    assert open_run(path).scorings == ("acquired",)


def test_another_encoder_is_said_and_the_chips_embedded_again(tmp_path):
    path = archive(tmp_path)
    foreign = picked(2, seed=5, encoder=SimpleEncoder("foreign", seed=9))
    foreign = replace(foreign, reference=None)  # as it comes from its file
    outcome = rescore(path, foreign, lambda _hash: ENCODER)
    assert len(outcome.notes) == 1
    assert "foreign" in outcome.notes[0]
    assert "embedded again" in outcome.notes[0]
    again = embed_support(replace(foreign, embedding=None, reference=None), ENCODER)
    run = open_run(path)
    same = [run.labels(n) == fresh(again, n) for n in range(COUNT)]
    assert np.mean(same) >= 0.999
    # What is stored is the set that was given.
    assert run.support_set().embedding.encoder_name == "foreign"


def test_an_encoder_that_is_not_at_hand(tmp_path):
    path = archive(tmp_path)
    foreign = picked(2, encoder=SimpleEncoder("foreign", seed=9))
    with pytest.raises(EncoderError, match=r"made by encoder 00000000, .*bundled is .*--encoder"):
        rescore(path, foreign, encoder_finder(open_run(path)))
    assert open_run(path).scorings == ("acquired",)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.0, 5000.0, ""), (0.0, 5001.0, ""), (0.0, 5100.0, "may differ"), (0.0, 6000.0, "again")],
)
def test_another_intensity_range(tmp_path, low, high, words):
    path = archive(tmp_path)
    other = picked(2, seed=5, norm=Normalization("range", low, high))
    outcome = rescore(path, other, lambda _hash: ENCODER)
    assert words in " ".join(outcome.notes)
    assert bool(outcome.notes) == bool(words)
    run = open_run(path)
    same = [run.labels(n) == fresh(other, n) for n in range(COUNT)]
    assert np.mean(same) > 0.97


@pytest.mark.parametrize("norm", [Normalization("frame"), Normalization("range", 0, 5000, True)])
def test_what_cannot_be_compared_is_refused(tmp_path, norm):
    path = archive(tmp_path)
    with pytest.raises(SupportError, match="cannot be compared"):
        rescore(path, picked(1, norm=norm), never)


def test_chips_of_another_size_are_refused(tmp_path):
    path = archive(tmp_path)
    with pytest.raises(ArchiveError, match="chips of 16x16 pixels, the support set of 32x32"):
        rescore(path, picked(1, size=32), never)


def test_a_run_without_embeddings_is_refused(tmp_path):
    path = archive(tmp_path, embeddings=False)
    with pytest.raises(ArchiveError, match=r"archive\.embeddings was false"):
        rescore(path, picked(1, seed=3), never)


def test_the_past_is_labelled_again_and_the_future_follows(tmp_path):
    """Frames still on their way under the old set are caught up with."""
    path = archive(tmp_path, close=False)
    other = picked(2, seed=5)
    assert rescore(path, other, never).frames == COUNT
    first = open_run(path).label_map(1)
    settings = {"root": str(tmp_path / "frames"), "config": "classify: {sensitivity: 0.9}"}
    writer = RunWriter(tmp_path, "run", metadata=settings)
    writer.add_support(support_to_bytes(other), other.version)
    settings = ClassifyConfig(sensitivity=0.9)
    for number, support in ((COUNT, FIRST), (COUNT + 1, other)):
        tifffile.imwrite(tmp_path / "frames" / f"{number}.tif", pixels(number))
        analyst = Analyst.of(support, ENCODER, settings)
        batch = Batch.of([tmp_path / "frames" / f"{number}.tif"])
        batch = replace(batch, root=tmp_path / "frames")
        writer.close, close = (lambda: None), writer.close
        classify(batch, analyst, writer)
        writer.close = close
        writer.publish()
    assert uncovered(path, other) == 1
    calls = []
    outcome = rescore(path, other, never, keep=True, progress=lambda *step: calls.append(step))
    assert outcome.frames == COUNT + 2
    assert uncovered(path, other) == 0
    writer.close()
    run = open_run(path)
    assert run.scoring == other.version
    assert run.covered.tolist() == list(range(COUNT + 2))
    assert (run.label_map(1) == first).all()
    assert all((run.labels(n) == fresh(other, n)).mean() > 0.99 for n in range(COUNT + 2))


def test_a_scoring_is_written_into_a_closed_run(tmp_path):
    path = archive(tmp_path)
    other = picked(2, seed=5)
    rescore(path, other, never)
    labels = open_run(path).label_map(3)
    assert merge_scorings(path) == path
    assert not (tmp_path / "run.scorings").exists()
    assert (open_run(path).label_map(3) == labels).all()


class TestVerify:
    def find(self, weights_hash):
        assert weights_hash == ENCODER.weights_hash
        return ENCODER

    @pytest.mark.parametrize("scored", [False, True])
    def test_every_label_is_found_again(self, tmp_path, scored):
        path = archive(tmp_path)
        if scored:
            rescore(path, picked(2, seed=5), never)
        outcome = verify(open_run(path), tmp_path / "frames", self.find)
        assert (outcome.agreement, outcome.compared) == (1.0, COUNT)
        assert outcome.passed

    def test_the_sample_is_random_and_of_its_size(self, tmp_path):
        run = open_run(archive(tmp_path))
        frames = tmp_path / "frames"
        assert len(verify(run, frames, self.find, sample=2).checks) == 2
        assert len(verify(run, frames, self.find, sample=0).checks) == COUNT
        drawn = {
            tuple(c.path for c in verify(run, frames, self.find, sample=1, seed=s).checks)
            for s in range(6)
        }
        assert len(drawn) > 1

    def test_labels_that_are_not_those_of_the_frames(self, tmp_path):
        import h5py

        path = archive(tmp_path)
        with h5py.File(path, "r+") as file:
            maps = file["entry/scorings/acquired/label_map"]
            maps[2] = (maps[2] + 1) % 3
        outcome = verify(open_run(path), tmp_path / "frames", self.find)
        assert outcome.agreement == pytest.approx(1 - 1 / COUNT)
        assert not outcome.passed

    def test_frames_that_changed_or_are_gone(self, tmp_path):
        path = archive(tmp_path)
        frames = tmp_path / "frames"
        tifffile.imwrite(frames / "1.tif", pixels(3))
        (frames / "2.tif").unlink()
        (frames / "4.tif").write_text("no picture")
        outcome = verify(open_run(path), frames, self.find)
        assert [c.path for c in outcome.with_problem("changed")] == ["1.tif"]
        assert [c.path for c in outcome.with_problem("missing")] == ["2.tif"]
        assert (outcome.compared, outcome.agreement) == (2, 1.0)
        assert not outcome.passed
