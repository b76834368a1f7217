"""Re-scoring from Review: what is on offer, what becomes of the run, and what is refused."""

import pytest

from dashboard.accounts import MAY_LOOK, Viewer
from dashboard.parts.rescore_panel import RescorePanel
from dashboard.work.background import Cancellable
from dashboard.work.opened_run import OpenedRun
from dashboard.work.rescorer import NO_SET, SAVED, THIS_RUN, UPLOADED, Rescorer
from dashboard.work.workbench import Workbench
from pychip_stream import config as configuration
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import SupportFolder, support_to_bytes
from pychip_stream.errors import PychipError
from tests.support.at_once import AtOnce
from tests.support.run_samples import make_run
from tests.support.simple_encoder import SimpleEncoder
from tests.support.simple_runs import COUNT, FIRST, archive, picked

BETTER = picked(2, seed=5)
FOREIGN = picked(2, encoder=SimpleEncoder("foreign", seed=9))


@pytest.fixture
def bench(tmp_path):
    config = configuration.parse({"watch": {"root": "frames"}}, "test", tmp_path)
    made = Workbench(config)
    yield made
    made.close()


def arrive(rescorer, data, name="better.h5", piece=4096):
    rescorer.expect(name, len(data))
    for start in range(0, len(data), piece):
        rescorer.add(data[start : start + piece])
    return rescorer.finish()


def offered(rescorer, support=BETTER):
    """Upload a support set; what `rescore` wants of it."""
    arrive(rescorer, support_to_bytes(support))
    return UPLOADED, support.version


def test_sets_of_this_run_of_others_saved_ones_and_a_file_are_on_offer(bench, tmp_path):
    run, other = archive(tmp_path), make_run(tmp_path / "others", tmp_path / "more", 2, "heating")
    rescorer = Rescorer(bench.sets, run, {"heating": other})
    assert list(rescorer.sources()) == ["this run", "run heating"]
    SupportFolder(bench.sets.folder.path("x").parent).add(BETTER.version, support_to_bytes(BETTER))
    assert arrive(rescorer, support_to_bytes(BETTER)).endswith(BETTER.version[:8])
    sources = rescorer.sources()
    assert sources["saved on Examples"] == SAVED and sources["the file"] == UPLOADED
    found = {told: list(rescorer.sets(source).values()) for told, source in sources.items()}
    assert found == {
        "this run": [FIRST.version],
        "the file": [BETTER.version],
        "saved on Examples": [BETTER.version],
        "run heating": list(open_run(other).support_versions),
    }
    with pytest.raises(PychipError, match="no run '/etc'"):
        rescorer.sets(f"{THIS_RUN}/etc")


@pytest.mark.parametrize("default", [False, True])
def test_the_scoring_stands_beside_the_old_one(bench, tmp_path, default):
    run, steps = archive(tmp_path), []
    rescorer = Rescorer(bench.sets, run, {})
    chosen = offered(rescorer)
    opened = OpenedRun(run, tmp_path)
    text = rescorer.rescore(*chosen, lambda *step: steps.append(step), default=default)
    assert text.startswith(f"{COUNT} frames have labels under ")
    assert steps[-1] == (COUNT, COUNT)
    assert opened.refresh() and set(opened.scorings) == {"acquired", BETTER.version}
    assert open_run(run).scoring == (BETTER.version if default else "acquired")
    shown = open_run(run).with_scoring(BETTER.version)
    assert (shown.labels(1) != "").all() and shown.count == COUNT
    assert "already" in rescorer.rescore(*chosen, lambda *_: None, default=default)


def test_cancelled_the_run_stays_as_it_was(bench, tmp_path):
    run, job = archive(tmp_path), Cancellable()
    rescorer = Rescorer(bench.sets, run, {})
    chosen = offered(rescorer)

    def progress(done, total):
        if done:
            job.cancel()
        job(done, total)

    with pytest.raises(PychipError, match="cancelled"):
        rescorer.rescore(*chosen, progress, default=True)
    assert job.done > 0
    assert open_run(run).scorings == ("acquired",)
    assert [p.name for p in RunPlaces.of(run).scorings.glob("*")] == []


def bare(tmp_path):
    return archive(tmp_path, embeddings=False), BETTER


def foreign(tmp_path):
    return archive(tmp_path), FOREIGN


def coarse(tmp_path):
    return archive(tmp_path), picked(2, size=32)


def live(tmp_path):
    return archive(tmp_path, close=False), BETTER


def locked(tmp_path):
    run = archive(tmp_path)
    RunPlaces.of(run).scorings.write_bytes(b"")  # as little can be written as where one may not
    return run, BETTER


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (bare, "keeps no embeddings.*classify its frames again"),
        (foreign, "made by encoder .*choose that encoder"),
        (coarse, "the support set of 32x32.*make one of the run's chip size"),
        (live, "is live: label its past again on Examples"),
        (locked, "cannot be written.*look at the rights"),
    ],
)
def test_what_is_not_possible_is_said_with_what_to_do(bench, tmp_path, make, words):
    run, support = make(tmp_path)
    rescorer = Rescorer(bench.sets, run, {})
    with pytest.raises(PychipError, match=words) as caught:
        rescorer.rescore(*offered(rescorer, support), lambda *_: None, default=True)
    assert "\n" not in str(caught.value)
    assert open_run(run).scorings == ("acquired",)


def test_a_file_that_is_no_support_set_is_refused(bench, tmp_path):
    rescorer = Rescorer(bench.sets, archive(tmp_path), {})
    with pytest.raises(PychipError, match=rf"{NO_SET}: a\.tif is no \.h5 file"):
        rescorer.expect("a.tif", 4)
    with pytest.raises(PychipError, match=rf"^{NO_SET}: a\.h5: "):
        arrive(rescorer, b"nothing of the kind", "../../a.h5")
    rescorer.expect("a.h5", 9)
    rescorer.add(b"1234")
    with pytest.raises(PychipError, match="whole"):
        rescorer.finish()
    assert "the file" not in rescorer.sources()


class Held(AtOnce):
    """Does on demand what takes minutes."""

    def do(self, work, done, *, failed=None, pool=None, **options):
        if pool is None:
            return super().do(work, done, **options)
        self.held = (work, done, failed)
        return True

    def go_on(self):
        work, done, failed = self.held
        try:
            done(work())
        except PychipError as error:
            failed(str(error))


@pytest.fixture
def panel(bench, tmp_path):
    background, run, scored = Held(), archive(tmp_path), []
    rescorer = Rescorer(bench.sets, run, {})
    offered(rescorer)
    made = RescorePanel(background, Viewer("ann"), rescorer, bench.long, lambda: scored.append(run))
    made.about(OpenedRun(run, tmp_path))
    made.show(True)
    made._source.value = UPLOADED
    return made, background, scored


def test_the_page_tells_how_far_it_is_and_what_came_of_it(panel):
    made, background, scored = panel
    made._start.clicks += 1
    assert made._bar.visible and made._cancel.visible and made._start.disabled
    made._job(2, 5)
    made.pull()
    assert made._bar.value == 40
    held = background.held
    made._start.clicks += 1  # one at a time
    assert background.held is held
    background.go_on()
    assert f"{COUNT} frames have labels" in made._state.object and "Compare" in made._state.object
    assert len(scored) == 1 and not made._cancel.visible and not made._start.disabled


def test_unknown_and_the_encoder_can_be_chosen(panel):
    """Review could not do what `rescore --no-reject --encoder NAME` does."""
    made, background, _ = panel
    for no_unknown in (False, True):
        made._all_known.value = no_unknown
        made._start.clicks += 1
        background.go_on()
        made._run.refresh()
        settings = made._run.run.with_scoring(BETTER.version).scoring_provenance["classify"]
        assert settings["reject"] is not no_unknown
    made._encoder.value = "filters"
    made._rescorer._uploaded = FOREIGN
    made.show(True)
    made._start.clicks += 1
    background.go_on()
    assert made._state.object.index("filters is ") < made._state.object.index("bundled is ")
    made._encoder.value = "/etc/passwd"
    made._start.clicks += 1
    background.go_on()
    assert "is no name" in made._state.object


@pytest.mark.parametrize("by", ["button", "leaving"])
def test_it_is_cancelled_by_the_button_and_by_leaving_the_run(panel, by):
    made, background, scored = panel
    made._start.clicks += 1
    if by == "button":
        made._cancel.clicks += 1
    else:
        made.close()
    background.go_on()
    assert "the run stays as it was" in made._state.object and not scored
    assert made._run.run.scorings == ("acquired",) and not made._run.refresh()


def test_a_piece_that_is_none_costs_itself(panel, caplog):
    made, _background, _scored = panel
    made._drop._handle_msg({"type": "begin", "name": "a.h5", "size": 4})
    for odd in (10**15, -1, "text", None, [300], {}):
        made._drop._handle_msg({"type": "piece", "data": odd, "last": False})
        made._drop._handle_msg({"type": "begin", "name": "a.h5", "size": odd})
    assert "makes no sense" in caplog.text
    assert UPLOADED in made._rescorer.sources().values()


def test_a_viewer_starts_nothing(panel):
    made, background, _ = panel
    made._viewer = Viewer("bob", operator=False)
    made._start.clicks += 1
    assert MAY_LOOK in made._state.object and not hasattr(background, "held")
