"""What a draft makes of a frame, and how soon."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from dashboard.work.background import Cancellable
from dashboard.work.drafts import Draft, DraftState
from dashboard.work.fitting import Fitting
from dashboard.work.previews import OpenDraft
from dashboard.work.workbench import Workbench
from pychip_stream.analysis.run_sample import SampledFrame
from pychip_stream.config import Config
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.normalization import Normalization
from pychip_stream.model import encoders
from pychip_stream.model.encoders import load_encoder
from tests.support.rehearsal import two_textures
from tests.support.waiting import wait_for

KEY = ("a.tif", 0)


@pytest.fixture
def bench(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", two_textures(256, 0.5, np.random.default_rng(0)))
    config = Config.model_validate({"watch": {"root": tmp_path}, "encoder": {"name": "filters"}})
    one = Workbench(config)
    yield one
    one.close()


def test_a_frame_is_embedded_before_anything_is_chosen_on_it(bench, tmp_path, monkeypatch):
    """S17: the first labels had to wait for the whole frame from the second class on."""
    asked = []
    encoder = load_encoder("filters")
    embed = encoder.embed_cells
    monkeypatch.setattr(encoder, "embed_cells", lambda *a: asked.append(a[1:]) or embed(*a))
    monkeypatch.setattr(encoders, "open_encoder", lambda *_a: encoder)
    draft = OpenDraft(Draft(tmp_path / "draft.json", DraftState()), bench)
    draft.ask(KEY)
    wait_for(lambda: asked and draft.preview, pause_s=0.01)
    assert draft.preview.trouble == "choose chips of at least two classes"
    state = draft.draft.state.choose("feature 1", *KEY, [(0, 0), (2, 1)], add=True)
    draft.draft.change(state.choose("feature 2", *KEY, [(0, 3), (3, 3)], add=True))
    draft.ask(KEY)
    wait_for(lambda: draft.preview.trial is not None, pause_s=0.01)
    assert len(asked) == 1


def test_chips_of_other_frames_of_the_run_are_suggested(bench, tmp_path):
    """A phase that comes later is asked about where it is."""
    encoder, scale = load_encoder("filters"), Normalization("range", 0.0, 4000.0)
    flat = np.full((256, 256), 3500, np.uint16)
    later = encoder.embed(flat, 64, scale).astype(np.float16)
    same = SampledFrame(KEY, 0, 1.0, later)
    asked = []

    def sampling(support):
        asked.append(support.embedding.encoder_hash)
        return [same, SampledFrame(("b.tif", 2), 5, 9.0, later)]

    state = DraftState().choose("feature 1", *KEY, [(0, 0), (2, 1)], add=True)
    state = state.choose("feature 2", *KEY, [(0, 3), (3, 3)], add=True)
    state = state.choose("feature 2", "b.tif", 2, [(1, 1)], add=True)
    tifffile.imwrite(tmp_path / "b.tif", np.stack([flat] * 3), photometric="minisblack")
    draft = OpenDraft(Draft(tmp_path / "draft.json", state), bench, sampling)
    draft.ask(KEY)
    wait_for(lambda: draft.preview and draft.preview.suggestions, pause_s=0.01)
    assert asked == [encoder.weights_hash]
    places = [hint.place for hint in draft.preview.suggestions]
    assert {place[:2] for place in places} == {KEY, ("b.tif", 2)}
    assert not {pick.place for pick in state.picks} & set(places)
    (of_run,) = {(h.number, h.time) for h in draft.preview.suggestions if h.key != KEY}
    assert of_run == (5, 9.0)


def test_what_is_embedded_for_another_grid_is_given_up(tmp_path):
    begun, given_up = threading.Event(), threading.Event()

    def prepare(state, _key, progress):
        if state.chip_size == ChipSize(64, 64):
            begun.set()
            wait_for(lambda: progress.cancelled, timeout_s=20)
            given_up.set()
            progress(1, 9)

    with ThreadPoolExecutor(1) as fits:
        bench = SimpleNamespace(fits=fits, prepare=prepare)
        draft = OpenDraft(Draft(tmp_path / "draft.json", DraftState()), bench)
        draft.ask(KEY)
        assert begun.wait(10)
        draft.draft.change(draft.draft.state.resize(ChipSize(32, 32)))
        draft.ask(KEY)
        assert given_up.wait(10)
        wait_for(lambda: draft.preview.number == draft.draft.number, pause_s=0.01)


@pytest.mark.parametrize("device", ["cpu/bfloat16", "cpu/float32"])
def test_the_page_takes_the_precision_of_the_worker(device, monkeypatch, tmp_path):
    """M21: 41 % in the preview, 42 % of the worker."""
    monkeypatch.setattr("pychip_stream.model.encoders.device.seconds", lambda *_a: 1.0)
    config = {"watch": {"root": tmp_path}, "encoder": {"device": "cpu"}}
    fitting = Fitting(Config.model_validate(config))
    frame = np.zeros((64, 64), np.uint8)
    fitting.prepare(frame, ChipSize(64, 64), Normalization(), Cancellable())
    assert fitting.precision == "float32"
    fitting.worker_device = device
    fitting.prepare(frame, ChipSize(64, 64), Normalization(), Cancellable())
    assert f"cpu/{fitting.precision}" == device


def test_parts_of_a_frame_are_counted():
    encoder, told = load_encoder("filters"), []
    encoder.on_window = lambda done, total: told.append((done, total))
    encoder.embed(np.zeros((16 * 25, 16 * 25), np.uint8), 16)
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4)]
