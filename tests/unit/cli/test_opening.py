"""Files that commands are given: what opens them, and what the worst of them cost."""

import ast
import gzip
import shutil

import pytest

from tests.conftest import ROOT
from tests.support.run_samples import write_frame
from tests.support.stack import call_installed

OPENERS = {
    "h5py", "load_support", "open_run", "own_time", "read_checked", "read_frame", "reading",
    "support_from_bytes",
}  # fmt: skip
"""Imports by which a module can open files of others in its own process."""

PACKAGES = (
    "pychip_stream/acquisition", "pychip_stream/analysis", "pychip_stream/cli",
    "pychip_stream/export", "pychip_stream/operation", "services", "dashboard",
)  # fmt: skip

GUARDED = "what it opens was looked through, or it does so in a process of its own"
OTHERWISE = "a default that no service or command uses"
OWN = "made by this very program or run"
PUBLISHED = "a service that it costs is started again, and has not kept the set"
ALLOWED = {
    "pychip_stream/acquisition/series.py": ({"own_time"}, OTHERWISE),
    "pychip_stream/analysis/analyst.py": ({"read_checked"}, OTHERWISE),
    "pychip_stream/analysis/benchmark.py": ({"read_checked", "read_frame"}, OWN),
    "pychip_stream/analysis/chip_import.py": ({"Image.open"}, GUARDED),
    "pychip_stream/analysis/classification.py": ({"open_run"}, OWN),
    "pychip_stream/analysis/many_runs.py": ({"open_run"}, GUARDED),
    "pychip_stream/analysis/rescoring.py": ({"open_run"}, GUARDED),
    "pychip_stream/cli/classify.py": ({"open_run"}, OWN),
    "pychip_stream/cli/demo.py": ({"open_run"}, OWN),
    "pychip_stream/cli/opening.py": ({"open_run", "support_from_bytes"}, GUARDED),
    "pychip_stream/cli/output.py": ({"open_run"}, OWN),
    "pychip_stream/operation/doctor.py": ({"load_support"}, GUARDED),
    "services/archiver.py": ({"support_from_bytes"}, PUBLISHED),
    "services/inference.py": ({"support_from_bytes"}, PUBLISHED),
    "dashboard/work/feed.py": ({"open_run", "support_from_bytes"}, GUARDED),
    "dashboard/work/opened_run.py": ({"open_run"}, GUARDED),
    "dashboard/work/rescorer.py": ({"load_support", "open_run"}, GUARDED),
    "dashboard/work/runs.py": ({"open_run"}, GUARDED),
    "dashboard/work/saved_sets.py": ({"load_support", "open_run"}, GUARDED),
    "dashboard/work/uploads.py": ({"load_support"}, GUARDED),
}  # fmt: skip


def openers(path):
    """What a module can open files of others with."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            ours = (node.module or "").startswith(
                ("pychip_stream.archive", "pychip_stream.formats")
            )
            yield from (a.name for a in node.names if ours and a.name in OPENERS)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in OPENERS)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in {"Image.open", "hdf.reading"}:
            yield ast.unparse(node)


def test_no_other_place_opens_files_of_others_in_its_own_process():
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if names := set(openers(path)):
                found[path.relative_to(ROOT).as_posix()] = names
    assert found == {place: names for place, (names, _) in ALLOWED.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Good files, and one that ends the process of whoever opens it, under several names."""
    folder = tmp_path_factory.mktemp("files")
    data = gzip.decompress((ROOT / "tests/data/crash.emd.gz").read_bytes())
    for name in ("crash.h5", "crash.emd"):
        (folder / name).write_bytes(data)
    shutil.copy(ROOT / "tests/data/archive-two-scorings.h5", folder / "run.h5")
    shutil.copy(ROOT / "tests/data/support-set.h5", folder / "set.h5")
    write_frame(folder / "good.tif", 1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "audit crash.h5",
        "audit crash.h5 --labels table.csv",
        "classify good.tif --support crash.h5 --out new",
        "export crash.h5 --json",
        "grid crash.emd",
        "rescore crash.h5 --support set.h5",
        "rescore run.h5 --support crash.h5",
        "review crash.h5",
        "suggest crash.emd --support set.h5",
        "suggest good.tif --support crash.h5",
        "support make crash.emd --chip-size 8 --pick a=0,0 --pick b=1,1 -o new.h5",
        "support make good.tif --chip-size 8 --pick a=0,0 --pick b=1,1 -o crash.h5 --force",
        "support show crash.h5",
        "verify crash.h5",
        "verify crash.h5 --repair",
    ],
)
def test_a_file_that_crashes_its_reader_is_one_line(files, words):
    code, out, err = call_installed(*words.split(), cwd=files)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1, err
    assert "crashed its reader" in err
