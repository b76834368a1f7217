"""Archives and support sets of others: they lead nowhere, claim little, and end in one line."""

import ast
import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import (
    load_support,
    save_support,
    support_from_bytes,
)
from pychip_stream.errors import ArchiveError, PychipError, SupportError
from tests.conftest import ROOT
from tests.support.archive_samples import make_run, support
from tests.support.run_samples import add_second_scoring
from tests.unit.archive.fuzz import read_everything

SECRET = b"very-secret-password-0" * 64


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A closed run with two scorings and alerts in one file."""
    path = make_run(tmp_path_factory.mktemp("sample"), 4)
    add_second_scoring(path, 4)
    return merge_scorings(path).read_bytes()


@pytest.fixture(scope="module")
def sample_set(tmp_path_factory):
    path = tmp_path_factory.mktemp("set") / "set.h5"
    save_support(support(), path)
    return path.read_bytes()


def datasets(data):
    """Names, shapes and types of everything in a file."""
    found = []
    with h5py.File(h5py.h5f.open_file_image(data)) as file:
        file.visititems(
            lambda name, one: (
                found.append((name, one.shape, one.dtype))
                if isinstance(one, h5py.Dataset)
                else None
            )
        )
    return found


def elsewhere(file, name, shape, dtype, folder, way):
    """Let a dataset lie in another file."""
    secret = folder / "secret"
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    secret.write_bytes((SECRET * (size // len(SECRET) + 1))[:size])
    del file[name]
    if way == "raw":
        external = [(str(secret), 0, size)]
        file.create_dataset(name, shape, dtype, external=external)
    elif way == "virtual":
        with h5py.File(folder / "other.h5", "w") as other:
            other.create_dataset("x", data=np.ones(shape, dtype) if dtype.kind in "iuf" else None,
                                 shape=shape, dtype=dtype)  # fmt: skip
        stack = h5py.VirtualLayout(shape, dtype)
        stack[...] = h5py.VirtualSource(str(folder / "other.h5"), "x", shape, dtype)
        file.create_virtual_dataset(name, stack)
    elif way == "external link":
        with h5py.File(folder / "other.h5", "w") as other:
            other.create_dataset("x", shape, dtype)
        file[name] = h5py.ExternalLink(str(folder / "other.h5"), "x")
    else:
        file.create_dataset("aside", shape, dtype)
        file[name] = h5py.SoftLink("/aside")


WAYS = ("raw", "virtual", "external link", "soft link")
READ = (
    "scorings/acquired/label_map", "scorings/acquired/probabilities", "scorings/acquired/novelty",
    "scorings/acquired/intervals", "scorings/acquired/sequence", "embeddings/encoder_0/values",
    "frames/size", "frames/time", "frames/sequence",
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", READ)
def test_an_archive_leads_nowhere_else(sample, tmp_path, name, way):
    path = tmp_path / "run.h5"
    path.write_bytes(sample)
    with h5py.File(path, "r+") as file:
        shape, dtype = file[f"entry/{name}"].shape, file[f"entry/{name}"].dtype
        elsewhere(file, f"entry/{name}", shape, dtype, tmp_path, way)
    with pytest.raises(ArchiveError, match=r"lacks|not stored in the file"):
        read_everything(path)
    for written in tmp_path.glob("*.csv"):
        assert b"secret" not in written.read_bytes()


@pytest.mark.parametrize("way", WAYS)
def test_a_support_set_leads_nowhere_else(sample_set, tmp_path, way):
    for name, shape, dtype in datasets(sample_set):
        if dtype.hasobject or not shape:
            continue
        path = tmp_path / "set.h5"
        path.write_bytes(sample_set)
        with h5py.File(path, "r+") as file:
            elsewhere(file, name, shape, dtype, tmp_path, way)
        with pytest.raises(SupportError, match=r"lacks|not stored in the file"):
            load_support(path)


def test_groups_lead_nowhere_else(sample, tmp_path):
    """A group in another file would bring along everything in it."""
    other = tmp_path / "other.h5"
    other.write_bytes(sample)
    groups = ("frames", "scorings", "scorings/acquired", "embeddings", "support_sets", "sessions")
    for name in groups:
        path = tmp_path / "run.h5"
        path.write_bytes(sample)
        with h5py.File(path, "r+") as file:
            del file[f"entry/{name}"]
            file[f"entry/{name}"] = h5py.ExternalLink(str(other), f"/entry/{name}")
        with h5py.File(other, "r+") as file:
            file["entry/title"][()] = b"other"
        try:
            run = open_run(path)
        except ArchiveError:
            continue
        assert not (len(run) and run.support_versions and run.sessions and run.embedded), name


def test_what_is_copied_into_the_merged_file_leads_nowhere_else(sample, sample_set, tmp_path):
    path = tmp_path / "run.h5"
    path.write_bytes(sample)
    other = add_second_scoring(path, 4)
    with h5py.File(tmp_path / "run.scorings" / f"{other}.h5", "r+") as file:
        group = file[f"entry/support_sets/{other}"]
        group["more"] = h5py.ExternalLink("/etc/passwd", "/")
    with h5py.File(path, "r+") as file:
        del file[f"entry/support_sets/{other}"]
    with pytest.raises(ArchiveError, match="lacks"):
        merge_scorings(path)


class TestClaims:
    """What a file announces is compared with what it can hold, before anything is allocated."""

    @pytest.fixture(autouse=True)
    def little_memory(self):
        resource = pytest.importorskip("resource")
        psutil = pytest.importorskip("psutil")
        before = resource.getrlimit(resource.RLIMIT_AS)
        now = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (now + (700 << 20), before[1]))
        yield
        resource.setrlimit(resource.RLIMIT_AS, before)

    def test_a_support_set_of_many_large_stacks(self, sample_set, tmp_path):
        path = tmp_path / "set.h5"
        path.write_bytes(sample_set)
        with h5py.File(path, "r+") as file:
            chips = file["support_set/chips"]
            count, shape = len(chips["stack"]), chips["pixels_0"].shape[1:]
            chips["stack"][...] = np.arange(count)
            chips["position"][...] = 0
            del chips["pixels_0"]
            for number in range(count):
                chips.create_dataset(
                    f"pixels_{number}", ((200 << 20) // (2 * shape[0] * shape[1]), *shape), "u2",
                    chunks=(64, *shape), compression="gzip",
                )  # fmt: skip
        assert path.stat().st_size < 1 << 20
        with pytest.raises(SupportError, match="much more than fits"):
            load_support(path)

    def test_an_archive_of_very_many_frames(self, sample, tmp_path):
        path = tmp_path / "run.h5"
        path.write_bytes(sample)
        count = 130_000_000
        with h5py.File(path, "r+") as file:
            frames = file["entry/frames"]
            for name in list(frames):
                dtype = frames[name].dtype
                del frames[name]
                if not dtype.hasobject:
                    frames.create_dataset(name, (count,), dtype, chunks=(65536,))
        with pytest.raises(ArchiveError, match="impossible size"):
            open_run(path)

    def test_one_column_under_many_names(self, sample, tmp_path):
        path = tmp_path / "run.h5"
        path.write_bytes(sample)
        with h5py.File(path, "r+") as file:
            frames = file["entry/frames"]
            names = [n for n in frames if frames[n].dtype == "f8"]
            for name in list(frames):
                del frames[name]
            frames.create_dataset("sequence", (8 << 20,), "i8", chunks=(65536,))
            frames.create_dataset("time", (8 << 20,), "f8", chunks=(65536,))
            for name in [n for n in names if n != "time"] + [f"more_{n}" for n in range(40)]:
                frames[name] = frames["time"]
        with pytest.raises(ArchiveError, match="much more than fits"):
            _ = open_run(path).frames

    def test_a_frame_of_very_many_chips(self, sample, tmp_path):
        path = tmp_path / "run.h5"
        path.write_bytes(sample)
        with h5py.File(path, "r+") as file:
            for name in ("scorings/acquired", "embeddings/encoder_0"):
                file[f"entry/{name}/rows"][0] = 40_000
                file[f"entry/{name}/columns"][0] = 40_000
        with pytest.raises(ArchiveError, match="do not fit"):
            read_everything(path)


VALUES = {
    "f": (np.nan, np.inf, -1e300),
    "i": (-1, np.iinfo("i4").max, 7),
    "u": (255, 1),
}


def changed(rng, shape, dtype):
    """Something else of that name: shape, type or values are others."""
    count = int(rng.integers(0, 4))
    match rng.integers(0, 6):
        case 0:
            return np.zeros(())
        case 1:
            return np.zeros((count, 2, 3, 1)[: int(rng.integers(1, 5))], rng.choice(["f4", "i8"]))
        case 2:
            return np.array(["word"] * count, h5py.string_dtype())
        case 3 if dtype.kind in VALUES and not dtype.hasobject:
            info = np.iinfo(dtype) if dtype.kind in "iu" else None
            value = rng.choice(VALUES[dtype.kind])
            wanted = np.clip(value, info.min, info.max) if info is not None else value
            with np.errstate(over="ignore"):
                return np.full(shape, wanted).astype(dtype)
        case 4:
            return np.zeros(shape, [("a", "i4"), ("b", "f8")])
        case _:
            return np.full((*shape[:-1], 5) if shape else (), 3, "u8")


@pytest.mark.parametrize("seed", range(8))
def test_crafted_tables_end_in_one_line(sample, tmp_path, seed):
    """A wrong type, shape or value anywhere is an error of the archive, or does no harm."""
    rng = np.random.default_rng(seed)
    found = [d for d in datasets(sample) if "/fractions" not in d[0] and "/label_maps" not in d[0]]
    for number, (name, shape, dtype) in enumerate(found):
        if number % 8 != seed:
            continue
        for _ in range(2):
            path = tmp_path / "run.h5"
            path.write_bytes(sample)
            with h5py.File(path, "r+") as file:
                del file[name]
                file[name] = changed(rng, shape, dtype)
            try:
                read_everything(path)
            except PychipError as error:
                assert "\n" not in str(error), name


@pytest.mark.parametrize("seed", range(2))
def test_crafted_support_sets_end_in_one_line(sample_set, seed):
    rng = np.random.default_rng(seed)
    for name, shape, dtype in datasets(sample_set):
        for _ in range(4):
            with h5py.File("x", "w", driver="core", backing_store=False) as file:
                with h5py.File(h5py.h5f.open_file_image(sample_set)) as whole:
                    for key, value in whole.attrs.items():
                        file.attrs[key] = value
                    whole.copy("support_set", file)
                del file[name]
                file[name] = changed(rng, shape, dtype)
                file.flush()
                data = bytes(file.id.get_file_image())
            try:
                found = support_from_bytes(data)
            except SupportError as error:
                assert "\n" not in str(error), name
            else:  # what an encoder made of it is no part of what it says it is
                assert found.version == support().version, name


def test_attributes_of_a_wrong_kind(sample, tmp_path):
    values = (np.zeros(3), "word", -5, 10**12, np.nan, b"\xff", json.dumps({"a": 1}))
    for name in ("first_segment", "last_segment"):
        for value in values:
            path = tmp_path / "run.h5"
            path.write_bytes(sample)
            with h5py.File(path, "r+") as file:
                file["entry"].attrs[name] = value
            with pytest.raises(ArchiveError):
                open_run(path)


READ_SET = "from pychip_stream.archive.support_sets import load_support as read"
READ_ANY = "from pychip_stream.archive.probe import probe as read"
READ_RUN = "from pychip_stream.archive.run import open_run\nread = lambda p: open_run(p).frames"


@pytest.mark.parametrize("kind", ["run", "set"])
def test_a_heap_of_texts_that_leads_nowhere_is_no_endless_loop(sample, sample_set, tmp_path, kind):
    """HDF5 2.0 follows a length of 0 for ever, and lets no other thread run meanwhile."""
    path = tmp_path / "x.h5"
    data = bytearray(sample if kind == "run" else sample_set)
    start = data.find(b"GCOL")
    while start >= 0:
        data[start + 16 : start + 32] = bytes(16)
        start = data.find(b"GCOL", start + 1)
    path.write_bytes(data)
    for reader in (READ_RUN if kind == "run" else READ_SET, READ_ANY):
        code = f"import pathlib, sys\n{reader}\nread(pathlib.Path(sys.argv[1]))"
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
        )
        assert "heap of texts leads nowhere" in done.stderr


FILES = {"file", "group", "entry", "source", "parent", "there", "one", "node"}
OWN = {
    # What the process has just made itself.
    ("hdf.py", "name_rows"), ("hdf.py", "check"), ("alert_journal.py", "merge_alerts"),
    ("joining.py", "_write_scorings"), ("joining.py", "_colors"), ("scorings.py", "_write_views"),
}  # fmt: skip


def test_nothing_is_read_of_a_file_but_through_the_one_door():
    """Subscripts of groups, and `get`, are for writers; readers go through `foreign`."""
    direct = []
    for path in sorted((ROOT / "pychip_stream" / "archive").glob("*.py")):
        if path.name in ("nexus.py", "probe.py"):
            continue  # only writes; only looks, in a process of its own
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                direct += [
                    f"{path.name}:{line} {function.name}"
                    for line in _reads(function)
                    if (path.name, function.name) not in OWN
                ]
    assert direct == []


def _reads(function):
    """Lines that fetch a member of something that is called like a group of HDF5."""
    for node in ast.walk(function):
        fetched = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            fetched = None if isinstance(node.slice, ast.Constant | ast.Slice) else node.value
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                fetched = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            known = {"get", "values", "items", "visititems"}
            fetched = node.func.value if node.func.attr in known else None
        if isinstance(fetched, ast.Name) and fetched.id in FILES:
            if function.name.startswith(("_write", "write")):
                continue
            yield node.lineno
