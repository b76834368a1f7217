"""Bad input: one clear line and the right exit code, or a failed frame while the run goes on."""

import json
import shutil
import socket
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.support.material import hostile_file
from tests.support.stack import call, call_json

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (128, 128)).astype(np.uint16)
    pixels[:, :64] //= 8
    tifffile.imwrite(folder / "good.tif", pixels)
    tifffile.imwrite(folder / "tiny.tif", pixels[:8, :8])
    (folder / "text.png").write_text("not a picture")
    whole = (folder / "good.tif").read_bytes()
    (folder / "half.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "empty").mkdir()
    for name in ("dark", "UNKNOWN"):
        (folder / "folders" / name).mkdir(parents=True)
        tifffile.imwrite(folder / "folders" / name / "chip.tif", pixels[:32, 32:96:2])
        pixels = pixels[::-1]
    picks = ("--pick", "dark=0,0;1,1;2,0", "--pick", "bright=0,3;1,2;3,3")
    call_json(
        "support", "make", folder / "good.tif", "--chip-size", 32, *picks, "-o", folder / "s.h5"
    )
    (folder / "cut.h5").write_bytes((folder / "s.h5").read_bytes()[:3000])
    return folder


def refused(code, *words, cwd, says):
    got, out, err = call(*words, cwd=cwd)
    assert got == code, err
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.strip().splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    assert says in err, err


@pytest.mark.parametrize(
    ("code", "words", "says"),
    [
        (2, "run nothing.yaml", "nothing.yaml"),
        (2, "run bad.yaml", "watch.rot"),
        (2, "classify nowhere --support s.h5 --out r.h5", "nowhere"),
        (2, "classify empty --support s.h5 --out r.h5", "no frames"),
        (2, "classify good.tif --support text.png --out r.h5", "text.png"),
        (2, "classify good.tif --support missing.h5 --out r.h5", "missing.h5"),
        (2, "classify good.tif --support s.h5 --out r.h5 --cluster x", "local:N"),
        (2, "classify good.tif", "--support"),
        (2, "export text.png --csv x.csv", "text.png"),
        (2, "export missing.h5 --csv x.csv", "missing.h5"),
        (2, "export s.h5", "--csv"),
        (2, "export s.h5 --mp4 x.mp4", "is a support set, not a run"),
        (2, "export s.h5 --csv x.csv", "s.h5"),
        (2, "support make good.tif --chip-size 0 --pick a=0,0 -o o.h5", "chip size"),
        (2, "support make good.tif --chip-size 32 --pick a=9,9 --pick b=0,0 -o o.h5", "outside"),
        (2, "support make good.tif --chip-size 32 --pick a -o o.h5", "CLASS=ROW,COL"),
        (2, "support make good.tif --chip-size 32 --pick a=0,0 -o o.h5", "two classes"),
        (2, "support make tiny.tif --chip-size 32 --pick a=0,0 --pick b=0,0 -o o.h5", "smaller"),
        (2, "support make text.png --chip-size 32 --pick a=0,0 --pick b=0,1 -o o.h5", "text.png"),
        (2, "support import empty -o o.h5", "no class folders"),
        (2, "support import nowhere -o o.h5", "nowhere"),
        (2, "support import empty -o o.h5 --range x", "LO,HI"),
        (2, "support show text.png", "text.png"),
        (2, "support publish s.h5 --config good.yaml", "no run"),
        (2, "init .", "exists already"),
        (2, "status good.yaml", "no run"),
        (2, "status nothing.yaml", "nothing.yaml"),
        (2, "keys k --services", "--client"),
        (2, "keys k --client x", "holds no keys"),
        (2, "grid text.png", "text.png: is not an image"),
        (2, "grid missing.tif", "missing.tif: no such file"),
        (2, "grid good.tif --index 3", "no 3"),
        (1, "grid half.tif", "half.tif"),
        (1, "support show cut.h5", "cut.h5: is damaged or was cut short"),
        (2, "support show missing.h5", "missing.h5: no such file"),
        (2, "support make missing.tif --chip-size 9 --pick a=0,0 -o o.h5", "no such file"),
        (2, "support make good.tif --chip-size 999 --pick a=0,0 --pick b=0,0 -o o.h5", "smaller"),
        (
            2,
            "support make good.tif --chip-size 32 --pick a=0,0 --pick Unknown=1,1 -o o.h5",
            "rejected chips",
        ),
        (
            2,
            "support make good.tif --chip-size 32 --pick a=0,0;1,1 --pick b=1,1 -o o.h5",
            "chip 1,1 is an example of 'a' and of 'b'",
        ),
        (
            2,
            "support make good.tif --chip-size 32 --pick a=0,0 --pick b=1,1 --encoder x -o o.h5",
            "encoder 'x': unknown",
        ),
        (
            2,
            "support make good.tif --chip-size 32 --pick a=0,0 --pick b=1,1 -o s.h5",
            "s.h5: exists already",
        ),
        (
            2,
            "support make good.tif --chip-size 32 --pick a=0,0 --pick b=1,1 -o good.tif --force",
            "good.tif: is not an HDF5 file",
        ),
        (2, "support import folders -o o.h5", "rejected chips"),
        (2, "support import folders -o s.h5", "s.h5: exists already"),
        (2, "classify good.tif --support s.h5 --out s.h5", "s.h5: exists already"),
        (2, "classify good.tif --support s.h5 --out s.h5 --force", "support set, not a run"),
        (2, "verify missing.h5", "no such run archive"),
        (2, "export . --csv x.csv", "is a folder"),
        (2, "export empty --csv x.csv", "empty: is a folder"),
        (2, "export missing.h5 --mp4 film.avi", "end in .mp4"),
        (2, "run escape.yaml", "write paths with /"),
        (2, "rescore missing.h5 --support s.h5", "missing.h5"),
        (2, "rescore text.png --support s.h5", "text.png"),
        (2, "verify s.h5 --frames empty", "is a support set, not a run"),
        (2, "spam", "spam"),
        (2, "demo --frames 0", "--frames"),
        (2, "demo --out empty/..", "not an empty folder"),
    ],
)
def test_one_line_and_the_right_exit_code(files, code, words, says):
    (files / "bad.yaml").write_text("watch: {rot: x, quiet_s: -1}\n")
    (files / "good.yaml").write_text("watch: {root: empty}\n")
    (files / "config.yaml").touch()
    (files / "escape.yaml").write_text('watch: {root: "D:\\data"}\n')
    refused(code, *words.split(), cwd=files, says=says)


def test_every_problem_of_a_config_is_listed(files):
    (files / "bad.yaml").write_text("watch: {rot: x, quiet_s: -1}\nspam: 1\n")
    _, _, err = call("run", "bad.yaml", cwd=files)
    for key in ("watch.root", "watch.rot", "watch.quiet_s", "spam"):
        assert key in err


def test_debug_shows_where(files):
    code, _, err = call("--debug", "support", "show", "text.png", cwd=files)
    assert code == 2
    assert "Traceback" in err


def test_bad_frames_among_good_ones_cost_themselves_alone(files, tmp_path):
    names = ("good.tif", "tiny.tif", "text.png", "half.tif")
    document = call_json(
        "classify", *(files / n for n in names), "--support", files / "s.h5",
        "--out", tmp_path / "run.h5",
    )  # fmt: skip
    assert [row["path"] for row in document["fractions"]] == ["good.tif"]
    assert {row["path"] for row in document["failed"]} == set(names[1:])
    assert all(row["reason"] for row in document["failed"])


@pytest.mark.skipif(sys.platform == "win32", reason="there the reader dies of an exception")
def test_a_file_that_crashes_its_reader_costs_itself_alone(files, tmp_path):
    crash = hostile_file("crash.emd", tmp_path)
    document = call_json(
        "classify", crash, files / "good.tif", "--support", files / "s.h5",
        "--out", tmp_path / "run.h5",
    )  # fmt: skip
    assert [row["path"].split("/")[-1] for row in document["fractions"]] == ["good.tif"]
    assert any("crashed its reader" in row["reason"] for row in document["failed"])


def test_nothing_but_bad_frames_is_a_failure(files, tmp_path):
    words = (
        "classify",
        files / "text.png",
        "--support",
        files / "s.h5",
        "--out",
        tmp_path / "r.h5",
    )
    code, out, err = call(*words, "--json")
    assert code == 1
    document = json.loads(out)
    assert document["run"] is None
    assert document["failed"][0]["path"] == "text.png"
    assert "none of the frames" in err
    assert list(tmp_path.iterdir()) == []  # and the name is free


def test_work_is_replaced_only_by_force(files, tmp_path):
    run, made = tmp_path / "r.h5", tmp_path / "s.h5"
    make = ("support", "make", files / "good.tif", "--chip-size", 16, "-o", made)
    first = call_json(*make, "--pick", "a=0,0", "--pick", "b=0,7")["version"]
    assert call(*make, "--pick", "c=0,0", "--pick", "d=0,7")[0] == 2
    assert call_json("support", "show", made)["version"] == first
    assert call_json(*make, "--pick", "c=0,0", "--pick", "d=0,7", "--force")["version"] != first

    classify = ("classify", files / "good.tif", "--out", run, "--support")
    call_json(*classify, files / "s.h5")
    assert call(*classify, made)[0] == 2
    assert "dark" in call_json("export", run)["fractions"][0]
    assert "c" in call_json(*classify, made, "--force")["fractions"][0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.h5", "s.h5"]


@pytest.mark.slow
def test_bad_hanging_and_crashing_frames_do_not_stop_a_run(files, shared_data, stack):
    watch = {"incomplete_s": 2.0, "quiet_s": 0.3, "patience_s": 3.0}
    run = stack(files / "s.h5", watch=watch, inference={"attempts": 2}).start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    (run.root / "text.png").write_text("not a picture")
    shutil.copy(files / "tiny.tif", run.root)
    shutil.copy(shared_data / "dm" / "DMReader_EELS_STO.dm4", run.root)  # a spectrum
    shutil.copy(files / "half.tif", run.root)
    shutil.copy(files / "good.tif", run.root)
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(run.root / "black.jpg")
    bad = {"text.png", "tiny.tif", "DMReader_EELS_STO.dm4"}
    run.listen_for(lambda: run.monitor.counter("failed") >= 4, "the half file is reported")
    run.wait_archived(6)
    with (run.root / "half.tif").open("wb") as file:  # it is completed after all
        file.write((files / "good.tif").read_bytes())
    run.wait_archived(7)  # another revision of the same frame
    workers = run.service("services.inference"), run.service("services.watcher")
    give_hanging_and_crashing(run, files, archived=7)
    assert all(one.is_running() for one in workers)
    code, document = run.stop()
    assert code == 0
    hostile = [row for row in document["failed"] if row["path"] not in bad]
    told_of_hanging_and_crashing(hostile)
    assert {row["path"] for row in document["failed"]} == bad | {row["path"] for row in hostile}
    assert document["frames"] - len(hostile) == 6 + 5
    reasons = {row["path"]: row["reason"] for row in document["failed"]}
    assert "smaller than one chip" in reasons["tiny.tif"]
    assert "spectrum" in reasons["DMReader_EELS_STO.dm4"].lower()


@pytest.mark.slow
def test_files_that_hang_and_crash_their_readers_cost_themselves_alone_as_pixels(files, stack):
    watch = {"quiet_s": 0.3, "patience_s": 3.0}
    inference = {"frames": "pixels", "attempts": 2}
    run = stack(files / "s.h5", watch=watch, inference=inference).start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    workers = run.service("services.inference"), run.service("services.watcher")
    give_hanging_and_crashing(run, files)
    assert all(one.is_running() for one in workers)
    code, document = run.stop()
    assert code == 0
    told_of_hanging_and_crashing(document["failed"])
    assert document["frames"] - len(document["failed"]) >= 5


def give_hanging_and_crashing(run, files, archived=0):
    for name in ("hang.emd", "crash.emd"):
        hostile_file(name, run.root)
    for number in range(5):
        shutil.copy(files / "good.tif", run.root / f"{number}.tif")
    run.wait_archived(archived + 9)  # one hangs the look at it, of the other each frame its reading


def told_of_hanging_and_crashing(failed):
    reasons = {(row["path"], row["reason"]) for row in failed}
    assert {path for path, _ in reasons} == {"hang.emd", "crash.emd"}
    told = " ".join(reason for _, reason in reasons)
    assert "given up after 2 attempts" in told
    assert "took more than 3 s" in told
    assert "crashed its reader" in told or sys.platform == "win32"


@pytest.mark.slow
def test_a_port_in_use_ends_the_run_with_a_reason(files, stack):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = stack(files / "s.h5", wire={"events": port})
        code, out, err = call("run", run.config_path)
    assert code == 1
    assert out == ""
    assert f"127.0.0.1:{port}" in err
    assert "cannot be had" in err
