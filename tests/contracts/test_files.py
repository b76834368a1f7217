"""Files: what is in an archive and a support set, and that those of before are read."""

import json
import re
from dataclasses import replace

import h5py
import numpy as np

from pychip_stream import Classifier, Frame, load_encoder, load_support, open_run
from pychip_stream.analysis.rescoring import encoder_finder
from pychip_stream.archive.exclusions import changes, exclude
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.marks import EVENTS, mark
from pychip_stream.model.embedding import embed_support
from pychip_stream.model.encoders.weights_files import former
from tests.conftest import ROOT
from tests.support.archive_samples import NAMES, failed, make_run, record, result
from tests.support.simple_runs import pixels
from tests.support.stored import ALERTS, CHIP, COUNT, PICKS, store_run, store_support

DATA = ROOT / "tests" / "data"
HASH = r"\b[0-9a-f]{32}\b"
TELLING = ("NX_class", "signal", "axes", "units")


class Outline:
    """Groups, datasets and attributes of a file, as lines; hashes are numbered."""

    def __init__(self, path):
        self.lines, self._hashes = [], {}
        with h5py.File(path) as file:
            self._attributes("/", file)
            self._group(file)

    def text(self):
        return "\n".join(self.lines)

    def _say(self, text):
        self.lines.append(re.sub(HASH, self._number, text))

    def _number(self, match):
        return self._hashes.setdefault(match[0], f"HASH-{len(self._hashes) + 1}")

    def _group(self, group):
        for name in group:
            link = group.get(name, getlink=True)
            place = f"{group.name.rstrip('/')}/{name}"
            if isinstance(link, h5py.SoftLink):
                self._say(f"{place} -> {link.path}")
                continue
            if isinstance(link, h5py.ExternalLink):
                self._say(f"{place} -> {link.filename} {link.path}")
                continue
            one = group[name]
            if isinstance(one, h5py.Dataset):
                kind = "text" if h5py.check_string_dtype(one.dtype) else one.dtype
                virtual = " virtual" if one.is_virtual else ""
                self._say(f"{place}: {kind} {one.shape}{virtual}")
                self._attributes(place, one)
            else:
                self._say(f"{place}/")
                self._attributes(place, one)
                self._group(one)

    def _attributes(self, place, one):
        for name in sorted(one.attrs):
            value = one.attrs[name]
            kind = getattr(value, "dtype", type(value).__name__)
            told = f" = {value}" if name in TELLING else ""
            self._say(f"{place} @{name}: {kind}{told}")


def test_closed_archives_and_support_sets(snapshot, tmp_path):
    paths = {"run": store_run(tmp_path), "support-set": tmp_path / "set.h5"}
    store_support(paths["support-set"])
    snapshot("files", {f"{name}.txt": Outline(path).text() for name, path in paths.items()})


def test_live_archives(snapshot, tmp_path):
    store_run(tmp_path, close=False)
    places = {
        path: re.sub(HASH, "HASH", path.relative_to(tmp_path).as_posix())
        for path in sorted(tmp_path.rglob("*.*"))
        if path.is_file()
    }
    found = {
        f"{place.replace('/', '-')}.txt": Outline(path).text()
        for path, place in places.items()
        if path.suffix == ".h5"
    }
    found["files.txt"] = "\n".join(places.values())
    snapshot("live-files", found)


def test_what_is_left_out(snapshot, tmp_path):
    path = make_run(tmp_path, 3)
    key = open_run(path).columns("path")["path"][1].decode(), 0
    exclude(RunPlaces.of(path), open_run(path).run_id, [key], who="ann")
    (file,) = changes(RunPlaces.of(path))
    name = re.sub("[0-9a-f]{8,}", "N", file.relative_to(tmp_path).as_posix())
    change = json.loads(file.read_text())
    kinds = {name: type(value).__name__ for name, value in change.items()}
    merge_scorings(path)
    lines = [one for one in Outline(path).lines if one.startswith("/entry/exclusions")]
    found = {"change.txt": f"{name}\n{json.dumps(kinds)}", "merged.txt": "\n".join(lines)}
    snapshot("exclusions", found)


def test_marks(snapshot, tmp_path):
    path = make_run(tmp_path, 3)
    run = open_run(path)
    mark(run, run.start + 1, "gas on", who="ann")
    (file,) = EVENTS.files(RunPlaces.of(path))
    name = re.sub("[0-9a-f]{8,}", "N", file.relative_to(tmp_path).as_posix())
    kinds = {name: type(value).__name__ for name, value in json.loads(file.read_text()).items()}
    merge_scorings(path)
    lines = [one for one in Outline(path).lines if one.startswith("/entry/events")]
    found = {"change.txt": f"{name}\n{json.dumps(kinds)}", "merged.txt": "\n".join(lines)}
    snapshot("events", found)


def test_an_archive_of_before_with_two_scorings_and_alerts_is_read():
    with open_run(DATA / "archive-two-scorings.h5") as run:
        assert (run.count, len(run), run.live) == (COUNT, COUNT + 1, False)
        assert run.run_id == "15cb9bc8b67b42f282ea5a0c97e20da6"
        assert len(run.scorings) == 2
        for n in range(COUNT):
            expected = result(n)
            assert np.array_equal(run.label_map(n), expected.label_map)
            assert np.array_equal(run.embeddings(n), record(n).embeddings)
            shares = run.fractions.iloc[n][[*NAMES, "unknown"]].astype(float)
            assert np.allclose(shares, expected.intervals[:, 0])
        other = run.with_scoring(run.scorings[1])
        for n in range(COUNT):
            assert np.array_equal(other.label_map(n), result(500 + n).label_map)
        assert run.failed["reason"].tolist() == [failed(0).reason]
        assert run.alerts["id"].tolist() == [one.id for one in ALERTS]
        assert run.alerts["reason"].tolist() == [one.reason for one in ALERTS]


def test_a_support_set_of_before_is_read_and_classifies(tmp_path):
    support = load_support(DATA / "support-set.h5")
    assert support.version == "407b2128380dd4f4024499faac7232aa"
    assert (support.author, support.note, support.names) == ("somebody", "stored", tuple(PICKS))
    assert (support.chip_size.width, support.chip_size.height) == (CHIP, CHIP)
    places = [(chip.label, chip.source.row, chip.source.column) for chip in support.chips]
    assert places == [(name, *place) for name, where in PICKS.items() for place in where]
    again = store_support(tmp_path / "set.h5")
    for one, other in zip(support.chips, again.chips, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
    # Weights of before are at hand for what was made with them.
    made_by = support.embedding.encoder_hash
    with open_run(DATA / "archive-two-scorings.h5") as run:
        assert encoder_finder(run)(made_by).weights_hash == made_by
    before = load_encoder("bundled", former(made_by), "cpu/bfloat16")
    repeated = embed_support(replace(again, embedding=None), before).embedding
    assert again.embedding.encoder_hash != repeated.encoder_hash == made_by
    assert np.allclose(support.embedding.cells, repeated.cells, atol=0.05)
    encoder = load_encoder("bundled", device="cpu/float32")
    found = Classifier.fit(support, encoder=encoder).predict(Frame(pixels(0)), reject=False)
    labels = np.asarray(found.labels)
    assert set(labels[:, 0]) == {"stripes"}
    assert set(labels[:, 4]) == {"speckle"}
